//! `himuon cache ls`

use super::super::super::console::{Console, Outcome};
use super::super::super::error::CommandError;
use super::super::super::output::shown;
use super::super::super::table::table;
use super::files::readable;
use himuon::tuning::CandidateRecord;
use serde_json::json;
use std::path::Path;

pub(super) fn run(folder: &Path, console: &Console) -> Result<Outcome, CommandError> {
    let tables = readable(folder, console)?;
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for (file, tuned) in &tables {
        let clock = if tuned.emulated { " (emulated)" } else { "" };
        for ((spec, class), entry) in &tuned.entries {
            let winner = entry.candidate(&entry.winner);
            rows.push(vec![
                format!("{} {}{clock}", tuned.device.kind, tuned.device.name),
                match entry.has_choice() {
                    true => entry.winner.clone(),
                    false => "none may be used".to_owned(),
                },
                match winner.map(CandidateRecord::seconds) {
                    Some(seconds) if seconds.is_finite() => format!("{:.3} ms", 1e3 * seconds),
                    _ => "-".to_owned(),
                },
                entry.candidates.len().to_string(),
                class.to_string(),
                spec.clone(),
            ]);
        }
        let value = tuned.to_value().map_err(CommandError::Tuning)?;
        values.push(json!({
            "file": shown(file),
            "device": value["device"],
            "emulated": tuned.emulated,
            "entries": value["entries"],
        }));
    }
    let header = [
        "device",
        "winner",
        "cold",
        "candidates",
        "class",
        "specification",
    ];
    Ok(Outcome {
        text: match rows.is_empty() {
            true => format!("nothing tuned in {}", folder.display()),
            false => table(&header, &rows),
        },
        json: json!({ "path": shown(folder), "tables": values }),
    })
}
