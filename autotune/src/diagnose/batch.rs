//! Runs of several batch sizes in a table, and the critical batch size that they show.

use himuon::diagnose::{BatchFitError, BatchRun, CriticalBatch};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The columns that are read; others are passed over.
const BATCH: &str = "batch";
const STEPS: &str = "steps";
const VARIANT: &str = "variant";

/// Runs of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchSeries {
    /// The value of the column `variant`; empty where there is none.
    pub variant: String,
    /// Runs that reached their target.
    pub runs: Vec<BatchRun>,
    /// Runs that did not: `steps` is empty.
    pub unreached: usize,
    /// The curve.
    pub fit: Option<CriticalBatch>,
    /// Why there is none.
    pub no_fit: Option<String>,
}

/// Why a table of runs is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchTableError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A column is missing.
    #[error(
        "{path} has no column {missing}: its first line must name the columns batch (samples of a step) and steps \
         (to the target; empty where it was not reached), separated by commas"
    )]
    Column {
        /// Its path.
        path: PathBuf,
        /// The column.
        missing: &'static str,
    },
    /// A column that is read is named twice.
    #[error("{path} names the column {column} more than once: keep the one that is meant")]
    Repeated {
        /// Its path.
        path: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// A line that does not read.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// Its path.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// No runs.
    #[error("{path} holds no run below its first line")]
    Empty {
        /// Its path.
        path: PathBuf,
    },
}

/// Reads a table of runs and fits a curve to each variant.
///
/// # Errors
/// [`BatchTableError`]. A variant without a fit is none: it says why.
pub fn batch_series(path: &Path) -> Result<Vec<BatchSeries>, BatchTableError> {
    let text = std::fs::read_to_string(path).map_err(|source| BatchTableError::Read {
        path: path.to_owned(),
        source,
    })?;
    // Spreadsheets begin a file with the mark of its byte order.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let names = lines.next().map_or_else(Vec::new, |(_, line)| cells(line));
    let column = |name: &'static str| names.iter().position(|found| *found == name);
    for name in [BATCH, STEPS, VARIANT] {
        if names.iter().filter(|found| *found == name).count() > 1 {
            return Err(BatchTableError::Repeated {
                path: path.to_owned(),
                column: name,
            });
        }
    }
    let required = |name| {
        column(name).ok_or_else(|| BatchTableError::Column {
            path: path.to_owned(),
            missing: name,
        })
    };
    let columns = (required(BATCH)?, required(STEPS)?, column(VARIANT));
    let mut series: BTreeMap<String, (Vec<BatchRun>, usize)> = BTreeMap::new();
    for (number, line) in lines {
        let (variant, run) =
            row(&cells(line), columns, names.len()).map_err(|reason| BatchTableError::Line {
                path: path.to_owned(),
                line: number + 1,
                reason,
            })?;
        let (runs, unreached) = series.entry(variant).or_default();
        match run {
            Some(run) => runs.push(run),
            None => *unreached += 1,
        }
    }
    if series.is_empty() {
        return Err(BatchTableError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(series
        .into_iter()
        .map(|(variant, found)| fitted(variant, found))
        .collect())
}

fn fitted(variant: String, (runs, unreached): (Vec<BatchRun>, usize)) -> BatchSeries {
    let fit: Result<CriticalBatch, BatchFitError> = CriticalBatch::fit(&runs);
    BatchSeries {
        no_fit: fit.as_ref().err().map(ToString::to_string),
        fit: fit.ok(),
        variant,
        runs,
        unreached,
    }
}

/// The cells of a line, without the quotes that hold a comma or a quote in them.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let last = cells.len() - 1;
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => cells[last].push('"'),
            '"' if quoted || cells[last].trim().is_empty() => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells[last].push(other),
        }
    }
    cells.iter().map(|cell| cell.trim().to_owned()).collect()
}

/// The variant of a line, and its run if that reached the target.
fn row(
    cells: &[String],
    (batch, steps, variant): (usize, usize, Option<usize>),
    columns: usize,
) -> Result<(String, Option<BatchRun>), String> {
    if cells.len() != columns {
        return Err(format!(
            "{} cells, the first line names {columns}",
            cells.len()
        ));
    }
    let number = |name: &str, text: &str| match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 1.0 => Ok(value),
        _ => Err(format!("{name} is {text}, expected a number of at least 1")),
    };
    let variant = variant.map_or_else(String::new, |place| cells[place].clone());
    let batch = number(BATCH, &cells[batch])?;
    let run = match cells[steps].as_str() {
        "" => None,
        text => Some(BatchRun {
            batch,
            steps: number(STEPS, text)?,
        }),
    };
    Ok((variant, run))
}
