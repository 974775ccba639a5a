//! `himuon cache export`, `import` and `merge`

use super::super::super::console::{Console, Outcome};
use super::super::super::error::CommandError;
use super::super::super::output::{self, shown};
use super::files::{bundle, read_bundle, readable, united};
use clap::Args;
use himuon::tuning::TuningTable;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(super) struct Export {
    /// File to write
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct Import {
    /// File to read: an export, or a table from another machine's cache
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct Merge {
    /// Files to read
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn export(
    arguments: &Export,
    folder: &Path,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let tables = readable(folder, console)?;
    for (table, _) in &tables {
        output::refuse_input(table, &arguments.file)?;
    }
    let tables: Vec<TuningTable> = tables.into_iter().map(|(_, table)| table).collect();
    write(&arguments.file, &tables)?;
    Ok(counted("exported to", &arguments.file, &tables))
}

pub(super) fn import(
    arguments: &Import,
    folder: &Path,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let tables = read_bundle(&arguments.file, console)?;
    for table in &tables {
        table.save(folder).map_err(CommandError::Tuning)?;
    }
    Ok(counted("imported into", folder, &tables))
}

pub(super) fn merge(arguments: &Merge, console: &Console) -> Result<Outcome, CommandError> {
    let mut tables = Vec::new();
    for file in &arguments.files {
        output::refuse_input(file, &arguments.out)?;
        tables.extend(read_bundle(file, console)?);
    }
    let tables = united(tables.into_iter());
    write(&arguments.out, &tables)?;
    Ok(counted("merged into", &arguments.out, &tables))
}

fn write(path: &Path, tables: &[TuningTable]) -> Result<(), CommandError> {
    let text = bundle(tables.iter())?;
    output::write(path, &text)
}

fn counted(what: &str, place: &Path, tables: &[TuningTable]) -> Outcome {
    let entries: usize = tables.iter().map(|table| table.entries.len()).sum();
    let devices = tables.len();
    Outcome {
        text: format!(
            "{entries} entries of {devices} devices {what} {}",
            place.display()
        ),
        json: json!({ "path": shown(place), "devices": devices, "entries": entries }),
    }
}
