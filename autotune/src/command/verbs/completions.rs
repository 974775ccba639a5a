//! `himuon completions`

use super::super::console::Outcome;
use super::super::error::CommandError;
use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;

/// Print the completions of a shell
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  himuon completions bash > ~/.local/share/bash-completion/completions/himuon"
)]
pub(in super::super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(in super::super) fn run(
    arguments: &Arguments,
    mut command: Command,
) -> Result<Outcome, CommandError> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "himuon", &mut text);
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    Ok(Outcome {
        json: json!({ "shell": arguments.shell.to_string(), "text": text }),
        text,
    })
}
