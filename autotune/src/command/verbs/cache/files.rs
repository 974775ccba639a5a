//! Tables in the cache folder, and in files that hold several.

use super::super::super::console::Console;
use super::super::super::error::CommandError;
use himuon::tuning::{SCHEMA, TuningError, TuningTable};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A file of the cache folder.
pub(super) type Stored = (PathBuf, Result<TuningTable, TuningError>);

/// Every `.json` file of the cache folder, by name.
pub(super) fn stored(folder: &Path) -> Result<Vec<Stored>, CommandError> {
    let folder = folder.join("tuning");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(CommandError::file(&folder, error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| CommandError::file(&folder, source))?;
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    let mut tables = Vec::with_capacity(files.len());
    for file in files {
        match TuningTable::read(&file) {
            Ok(Some(table)) => tables.push((file, Ok(table))),
            // Gone since the folder was read.
            Ok(None) => {}
            Err(error) => tables.push((file, Err(error))),
        }
    }
    Ok(tables)
}

/// The tables that read; of the other files, and of entries that do not read, a warning says that they stay.
pub(in super::super) fn readable(
    folder: &Path,
    console: &Console,
) -> Result<Vec<(PathBuf, TuningTable)>, CommandError> {
    let mut tables = Vec::new();
    for (file, table) in stored(folder)? {
        match table {
            Ok(table) => {
                for warning in table.warnings() {
                    console.warn(warning);
                }
                tables.push((file, table));
            }
            Err(error) => console.warn(&error.to_string()),
        }
    }
    Ok(tables)
}

/// Several tables as one file's text.
pub(super) fn bundle<'a>(
    tables: impl Iterator<Item = &'a TuningTable>,
) -> Result<String, CommandError> {
    let tables: Result<Vec<Value>, _> = tables.map(TuningTable::to_value).collect();
    let bundle = json!({
        "himuon": "tuning tables",
        "schema": SCHEMA,
        "tables": tables.map_err(CommandError::Tuning)?,
    });
    Ok(format!("{bundle:#}\n"))
}

/// The tables of a file: one, or several as [`bundle`] writes them.
pub(super) fn read_bundle(
    path: &Path,
    console: &Console,
) -> Result<Vec<TuningTable>, CommandError> {
    let text = std::fs::read_to_string(path).map_err(|source| CommandError::file(path, source))?;
    let damaged = |reason: String| CommandError::NoTables {
        path: path.display().to_string(),
        reason,
    };
    let value: Value = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let values = match value.get("tables") {
        None => vec![value],
        Some(Value::Array(tables)) => tables.clone(),
        Some(_) => return Err(damaged("`tables` is no list".to_owned())),
    };
    let mut tables = Vec::with_capacity(values.len());
    for value in values {
        let table = TuningTable::from_value(value, path).map_err(|error| match error {
            TuningError::Damaged { reason, .. } => damaged(reason),
            other => CommandError::Tuning(other),
        })?;
        for warning in table.warnings() {
            console.warn(warning);
        }
        tables.push(table);
    }
    Ok(tables)
}

/// Tables of one device united.
pub(super) fn united(tables: impl Iterator<Item = TuningTable>) -> Vec<TuningTable> {
    let mut united: Vec<TuningTable> = Vec::new();
    for table in tables {
        let same = |known: &&mut TuningTable| {
            known.device == table.device && known.emulated == table.emulated
        };
        match united.iter_mut().find(same) {
            Some(known) => known.merge(table),
            None => united.push(table),
        }
    }
    united
}
