//! `himuon cache`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::table::table;
use clap::{Args, Subcommand};
use himuon::tuning::{TuningTable, cache_folder};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Show or clear what tuning has kept
///
/// The folder is $HIMUON_CACHE_DIR, else the platform's cache folder.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  himuon cache path\n  himuon cache ls --json")]
pub(in super::super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Print the folder
    Path,
    /// List the tuned specifications of every device
    Ls,
    /// Remove the tuning tables; files that are no tuning tables stay
    Clear,
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let folder = cache_folder().map_err(CommandError::Tuning)?;
    match arguments.action {
        Action::Path => Ok(Outcome {
            text: folder.display().to_string(),
            json: json!({ "path": folder }),
        }),
        Action::Ls => list(&folder, console),
        Action::Clear => clear(&folder, console),
    }
}

fn list(folder: &Path, console: &Console) -> Result<Outcome, CommandError> {
    let tables = tables(folder, console)?;
    let mut rows = Vec::new();
    for (_, tuned) in &tables {
        for (spec, entry) in &tuned.entries {
            let device = format!("{} {}", tuned.device.kind, tuned.device.name);
            rows.push(vec![device, entry.variant.clone(), spec.clone()]);
        }
    }
    Ok(Outcome {
        text: if rows.is_empty() {
            format!("nothing tuned in {}", folder.display())
        } else {
            table(&["device", "variant", "specification"], &rows)
        },
        json: json!({
            "path": folder,
            "tables": tables.iter().map(|(file, tuned)| json!({
                "file": file,
                "device": tuned.device,
                "entries": tuned.entries,
            })).collect::<Vec<_>>(),
        }),
    })
}

fn clear(folder: &Path, console: &Console) -> Result<Outcome, CommandError> {
    let read_only = std::env::var_os("HIMUON_CACHE_READONLY");
    if read_only.is_some_and(|value| !value.is_empty() && value != "0") {
        return Err(CommandError::Request(format!(
            "{} is not cleared: HIMUON_CACHE_READONLY is set; unset it first",
            folder.display()
        )));
    }
    let tables = tables(folder, console)?;
    for (file, _) in &tables {
        std::fs::remove_file(file).map_err(|source| CommandError::file(file, source))?;
    }
    let removed: Vec<&PathBuf> = tables.iter().map(|(file, _)| file).collect();
    Ok(Outcome {
        text: format!("{} tables removed from {}", removed.len(), folder.display()),
        json: json!({ "path": folder, "removed": removed }),
    })
}

/// The tables that read well; of the other files a warning says that they stay.
fn tables(folder: &Path, console: &Console) -> Result<Vec<(PathBuf, TuningTable)>, CommandError> {
    let folder = folder.join("tuning");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CommandError::file(&folder, error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|source| CommandError::file(&folder, source))?
            .path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    let mut tables = Vec::new();
    for file in files {
        let text = std::fs::read(&file).map_err(|source| CommandError::file(&file, source))?;
        match serde_json::from_slice::<TuningTable>(&text) {
            Ok(tuned) if tuned.schema == himuon::tuning::SCHEMA => tables.push((file, tuned)),
            Ok(tuned) => console.warn(&format!(
                "{}: schema {}, expected {}; left alone",
                file.display(),
                tuned.schema,
                himuon::tuning::SCHEMA
            )),
            Err(error) => {
                console.warn(&format!(
                    "{}: no tuning table ({error}); left alone",
                    file.display()
                ));
            }
        }
    }
    Ok(tables)
}
