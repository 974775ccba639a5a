//! `himuon cache gc` and `clear`

use super::super::super::console::{Console, Outcome};
use super::super::super::error::CommandError;
use super::super::super::output::shown;
use super::files::{Stored, readable, stored};
use clap::Args;
use himuon::tuning::{DeviceFingerprint, LockedFolder, cpu_digest_of};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

#[derive(Args, Debug)]
pub(super) struct Gc {
    /// Also entries that were tuned more than so many days ago
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u64>,
    /// Also the tables of other CPUs than this machine's
    #[arg(long)]
    other_cpus: bool,
    /// Also files and entries that do not read
    #[arg(long)]
    damaged: bool,
}

/// What went.
#[derive(Debug, Default)]
struct Removed {
    files: Vec<PathBuf>,
    candidates: usize,
    entries: usize,
}

impl Removed {
    fn names(&self) -> Vec<String> {
        self.files.iter().map(|file| shown(file)).collect()
    }
}

pub(super) fn gc(
    arguments: &Gc,
    folder: &Path,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let locked = LockedFolder::lock(folder).map_err(CommandError::Tuning)?;
    let mut removed = Removed {
        files: locked.sweep().map_err(CommandError::Tuning)?,
        ..Removed::default()
    };
    for (file, table) in stored(folder)? {
        collect(arguments, &locked, (file, table), &mut removed, console)?;
    }
    Ok(Outcome {
        text: format!(
            "{} files, {} entries and {} candidates removed from {}",
            removed.files.len(),
            removed.entries,
            removed.candidates,
            folder.display()
        ),
        json: json!({
            "path": shown(folder),
            "files": removed.names(),
            "entries": removed.entries,
            "candidates": removed.candidates,
        }),
    })
}

fn collect(
    arguments: &Gc,
    locked: &LockedFolder,
    (file, table): Stored,
    removed: &mut Removed,
    console: &Console,
) -> Result<(), CommandError> {
    let mut table = match table {
        Ok(table) => table,
        Err(error) => {
            match arguments.damaged {
                true => remove(file, removed)?,
                false => console.warn(&error.to_string()),
            }
            return Ok(());
        }
    };
    let here = DeviceFingerprint::cpu();
    if arguments.other_cpus && table.device.kind == "cpu" && table.device != here {
        return remove(file, removed);
    }
    let before = table.clone();
    if table.device == here {
        let stale = |_: &str, record: &himuon::tuning::CandidateRecord| {
            // What somebody chose by hand holds for any version of a variant.
            let chosen = record.digest.is_empty();
            cpu_digest_of(&record.variant).is_none_or(|digest| !chosen && digest != record.digest)
        };
        removed.candidates += table.retain_current(stale);
    }
    if let Some(days) = arguments.older_than {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let oldest = now
            .map_or(0, |time| time.as_secs())
            .saturating_sub(days.saturating_mul(DAY));
        table.entries.retain(|_, entry| entry.tuned_at >= oldest);
    }
    if arguments.damaged {
        removed.entries += table.forget_unread();
    } else {
        table.warnings().iter().for_each(|text| console.warn(text));
    }
    removed.entries += before.entries.len() - table.entries.len();
    if table.entries.is_empty() && !table.holds_unread() {
        return remove(file, removed);
    }
    if table != before {
        locked
            .replace(&file, &table)
            .map_err(CommandError::Tuning)?;
    }
    Ok(())
}

fn remove(file: PathBuf, removed: &mut Removed) -> Result<(), CommandError> {
    std::fs::remove_file(&file).map_err(|source| CommandError::file(&file, source))?;
    removed.files.push(file);
    Ok(())
}

pub(super) fn clear(folder: &Path, console: &Console) -> Result<Outcome, CommandError> {
    let mut removed = Removed::default();
    // The lock would leave a folder where there is none.
    if !stored(folder)?.is_empty() {
        let _locked = LockedFolder::lock(folder).map_err(CommandError::Tuning)?;
        for (file, _) in readable(folder, console)? {
            remove(file, &mut removed)?;
        }
    }
    Ok(Outcome {
        text: format!(
            "{} tables removed from {}",
            removed.files.len(),
            folder.display()
        ),
        json: json!({ "path": shown(folder), "removed": removed.names() }),
    })
}
