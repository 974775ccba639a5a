//! `himuon cache diff`

use super::super::super::console::{Console, Outcome};
use super::super::super::error::CommandError;
use super::super::super::table::table;
use super::files::{read_bundle, readable, united};
use clap::Args;
use himuon::tuning::{TuningEntry, TuningTable};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct Diff {
    /// File of tables
    first: PathBuf,
    /// Another one [default: the cache]
    second: Option<PathBuf>,
}

pub(super) fn run(
    arguments: &Diff,
    folder: impl FnOnce() -> Result<PathBuf, CommandError>,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let first = united(read_bundle(&arguments.first, console)?.into_iter());
    let second = match &arguments.second {
        Some(path) => read_bundle(path, console)?,
        None => {
            let tables = readable(&folder()?, console)?;
            tables.into_iter().map(|(_, table)| table).collect()
        }
    };
    let second = united(second.into_iter());
    let keys = keys(&first)
        .union(&keys(&second))
        .cloned()
        .collect::<BTreeSet<_>>();
    let mut rows = Vec::new();
    for (device, spec, class) in keys {
        let a = find(&first, &device, &spec, &class);
        let b = find(&second, &device, &spec, &class);
        if let Some(difference) = difference(a, b) {
            rows.push(vec![difference, device, class, spec]);
        }
    }
    Ok(Outcome {
        text: match rows.is_empty() {
            true => "no difference".to_owned(),
            false => table(&["difference", "device", "class", "specification"], &rows),
        },
        json: json!({
            "differences": rows.iter().map(|row| json!({
                "difference": row[0],
                "device": row[1],
                "class": row[2],
                "spec": row[3],
            })).collect::<Vec<_>>(),
        }),
    })
}

type Key = (String, String, String);

fn keys(tables: &[TuningTable]) -> BTreeSet<Key> {
    tables
        .iter()
        .flat_map(|table| {
            let device = table.device.slug();
            table
                .entries
                .keys()
                .map(move |(spec, class)| (device.clone(), spec.clone(), class.to_string()))
        })
        .collect()
}

fn find<'a>(
    tables: &'a [TuningTable],
    device: &str,
    spec: &str,
    class: &str,
) -> Option<&'a TuningEntry> {
    let table = tables.iter().find(|table| table.device.slug() == device)?;
    let mut entries = table.entries.iter();
    entries
        .find(|((known, known_class), _)| known == spec && known_class.to_string() == class)
        .map(|(_, entry)| entry)
}

/// How two entries differ, in words.
fn difference(first: Option<&TuningEntry>, second: Option<&TuningEntry>) -> Option<String> {
    let (a, b) = match (first, second) {
        (Some(a), Some(b)) => (a, b),
        (Some(_), None) => return Some("only in the first".to_owned()),
        (None, Some(_)) => return Some("only in the second".to_owned()),
        (None, None) => return None,
    };
    let time = |entry: &TuningEntry| {
        let winner = entry.candidate(&entry.winner);
        winner.map_or(f64::INFINITY, himuon::tuning::CandidateRecord::seconds)
    };
    let ratio = time(b) / time(a);
    if a.winner != b.winner {
        return Some(format!("{} -> {} (time x {ratio:.3})", a.winner, b.winner));
    }
    (a != b).then(|| format!("measured again: time x {ratio:.3}"))
}
