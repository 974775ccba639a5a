//! `himuon man`

use super::super::console::Outcome;
use super::super::error::CommandError;
use super::super::output::shown;
use clap::{Args, Command};
use clap_mangen::Man;
use serde_json::json;
use std::path::PathBuf;

/// Print the manual page, or write one for every verb
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  himuon man | man -l -\n  himuon man --out share/man/man1")]
pub(in super::super) struct Arguments {
    /// Folder for himuon.1 and a page for each verb, instead of the standard output
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

impl Arguments {
    /// Whether the page is printed.
    pub(in super::super) fn prints_page(&self) -> bool {
        self.out.is_none()
    }
}

pub(in super::super) fn run(
    arguments: &Arguments,
    command: Command,
) -> Result<Outcome, CommandError> {
    if let Some(folder) = &arguments.out {
        let failed = |source| CommandError::file(folder, source);
        std::fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(command, folder).map_err(failed)?;
        return Ok(Outcome {
            text: folder.display().to_string(),
            json: json!({ "folder": shown(folder) }),
        });
    }
    let mut page = Vec::new();
    Man::new(command)
        .render(&mut page)
        .map_err(|source| CommandError::File {
            path: "manual page".to_owned(),
            source,
        })?;
    let text = String::from_utf8_lossy(&page).trim_end().to_owned();
    Ok(Outcome {
        json: json!({ "text": text }),
        text,
    })
}
