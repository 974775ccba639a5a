//! `himuon cache`

mod clean;
mod diff;
mod files;
mod list;
mod transfer;

pub(super) use files::readable as tables;

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::output::shown;
use clap::{Args, Subcommand};
use himuon::tuning::cache_folder;
use serde_json::json;

/// Show, move or clear what tuning has kept
///
/// The folder is $HIMUON_CACHE_DIR, else the platform's cache folder. It holds one JSON file for each device. Files
/// and entries that do not read are reported and left alone.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon cache ls --json\n  \
    himuon cache export tuned.json\n  \
    himuon cache diff tuned.json\n  \
    himuon cache gc --older-than 90")]
pub(in super::super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the folder
    Path,
    /// List the tuned specifications of every device
    Ls,
    /// Write all tables into one file
    Export(transfer::Export),
    /// Add the tables of a file to the cache
    Import(transfer::Import),
    /// Unite files of tables into one
    Merge(transfer::Merge),
    /// Compare two files of tables, or one with the cache
    Diff(diff::Diff),
    /// Remove what can no longer be used: candidates of other source, leavings of killed processes
    Gc(clean::Gc),
    /// Remove the tuning tables; files that are no tuning tables stay
    Clear,
}

impl Arguments {
    /// Whether a path is printed.
    pub(in super::super) fn prints_path(&self) -> bool {
        matches!(self.action, Action::Path)
    }
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let folder = || cache_folder().map_err(CommandError::Tuning);
    match &arguments.action {
        Action::Path => {
            let folder = folder()?;
            Ok(Outcome {
                text: folder.display().to_string(),
                json: json!({ "path": shown(&folder) }),
            })
        }
        Action::Ls => list::run(&folder()?, console),
        Action::Export(arguments) => transfer::export(arguments, &folder()?, console),
        Action::Import(arguments) => transfer::import(arguments, &folder()?, console),
        Action::Merge(arguments) => transfer::merge(arguments, console),
        Action::Diff(arguments) => diff::run(arguments, folder, console),
        Action::Gc(arguments) => clean::gc(arguments, &folder()?, console),
        Action::Clear => clean::clear(&folder()?, console),
    }
}
