//! What an optimizer does about untuned specifications when it is built.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use himuon_templates::KernelSpec;

use super::entry::TuningEntry;
use super::environment::{autotune, deterministic, rank, read_only};
use super::error::TuningError;
use super::folder::cache_folder;
use super::level::{Clock, Level};
use super::table::TuningTable;
use super::target::TuningTarget;
use super::tuner::{TuneJob, TuneOptions, Tuner};
use super::turn::Turn;

/// How long a rank waits for rank 0 to begin.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Tunes what the table lacks, if HIMUON_AUTOTUNE asks for it: rank 0 does, the others read what it has written. With
/// `estimate` nothing runs: the model's choice is taken however small its lead.
/// Tuning is an optimisation: no failure stops a run, each is a warning.
pub(crate) fn tune_missing(
    table: &mut TuningTable,
    target: impl FnOnce() -> Option<Box<dyn TuningTarget>>,
    jobs: &[TuneJob],
) {
    let level = match autotune() {
        Ok(Some(level)) if !deterministic() => level,
        Ok(_) => return,
        Err(error) => return tracing::warn!("{error}; nothing is tuned"),
    };
    if level == Level::Estimate {
        return table.trust_model();
    }
    let missing: Vec<TuneJob> = jobs
        .iter()
        .filter(|job| !is_tuned(table, job))
        .cloned()
        .collect();
    if missing.is_empty() {
        return;
    }
    let options = TuneOptions {
        level,
        ..TuneOptions::default()
    };
    // Times of an emulated device choose nothing: there is nothing to tune or to wait for.
    let Some(mut target) = target().filter(|target| target.clock() != Clock::Emulated) else {
        return;
    };
    let folder = cache_folder().ok().filter(|_| !read_only());
    let found = match (rank(), folder.as_deref()) {
        // Nothing that rank 0 finds would reach the others, and all must run the same kernels.
        (Some(_), None) => {
            return tracing::warn!(
                "nothing is tuned: the ranks of this job share tables through the cache folder, which is not written \
                 here; unset HIMUON_CACHE_READONLY and let HIMUON_CACHE_DIR name a folder, or tune before the job"
            );
        }
        (Some(1..), Some(folder)) => wait(table, &missing, folder),
        (Some(0), Some(folder)) => {
            let turn = Turn::take(&table.path(folder));
            if let Err(error) = &turn {
                tracing::warn!("the other ranks are not told that this one tunes: {error}");
            }
            tune(&mut *target, options, &missing, Some(folder)).map(Some)
        }
        (None, folder) => {
            let savable = |folder: &&Path| match table.check_savable(folder) {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!("{error}; what is tuned is used and not kept");
                    false
                }
            };
            let folder = folder.filter(savable);
            tune(&mut *target, options, &missing, folder).map(Some)
        }
    };
    match found {
        Ok(Some(found)) => table.merge(found),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!("{error}; default variants are used for what is not tuned yet");
            // Specifications that were done before are kept.
            if let Some(Ok(Some(kept))) = folder.map(|folder| table.stored(&folder)) {
                table.merge(kept);
            }
        }
    }
}

fn tune(
    target: &mut dyn TuningTarget,
    options: TuneOptions,
    jobs: &[TuneJob],
    folder: Option<&Path>,
) -> Result<TuningTable, TuningError> {
    tracing::info!("tuning {} specifications", jobs.len());
    let mut quiet = |_: &super::tuner::TuneProgress<'_>| {};
    let mut tuner = Tuner::new(target, options);
    Ok(tuner.tune(jobs, folder, &mut quiet)?.table)
}

/// Reads the device's file until rank 0 has written every entry, or does not tune, or no longer: then what there is.
fn wait(
    table: &TuningTable,
    jobs: &[TuneJob],
    folder: &Path,
) -> Result<Option<TuningTable>, TuningError> {
    let (path, start) = (table.path(folder), Instant::now());
    let mut begun = false;
    loop {
        // Asked first: what is written afterwards is read below.
        let tunes = Turn::is_taken(&path).map_err(TuningError::io(&path))?;
        if let Some(found) = complete(folder, table, jobs)? {
            return Ok(Some(found));
        }
        let waited = start.elapsed();
        if !tunes && (begun || waited > PATIENCE) {
            let found = table.stored(folder)?;
            tracing::warn!(
                "rank 0 {} without all of the {} specifications that are untuned here, as `{}`, in {}; default variants are \
                 used for the rest, whose bits may differ from other ranks'",
                if begun { "has tuned" } else { "does not tune" },
                jobs.len(),
                jobs[0].spec,
                path.display(),
            );
            return Ok(found);
        }
        begun |= tunes;
        std::thread::sleep(POLL);
    }
}

fn complete(
    folder: &Path,
    table: &TuningTable,
    jobs: &[TuneJob],
) -> Result<Option<TuningTable>, TuningError> {
    let found = TuningTable::load(folder, &table.device)?;
    Ok(found.filter(|found| jobs.iter().all(|job| is_tuned(found, job))))
}

fn is_tuned(table: &TuningTable, job: &TuneJob) -> bool {
    let entry = table.entry(&job.spec, job.class());
    entry.is_some_and(TuningEntry::has_choice)
}

/// Says once in a process how to tune what runs untuned, unless estimates were asked for.
pub(crate) fn hint<'a>(table: &TuningTable, specs: impl Iterator<Item = &'a KernelSpec>) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if table.trusts_model {
        return;
    }
    let untuned: Vec<String> = specs
        .filter(|spec| table.lacks(spec))
        .map(|spec| format!("`{}`", table.device.tune_command(spec)))
        .collect();
    // Nothing is held while it is said: whoever is told may wait for another thread that builds.
    if !untuned.is_empty() && !SAID.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "{} of the kernels have not been tuned on this device ({}) and run in the variants that a model chooses; \
             run {}, or set HIMUON_AUTOTUNE=measure",
            untuned.len(),
            table.device.name,
            untuned.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::{DeviceFingerprint, TuningEntry};

    fn job(tile: u32) -> TuneJob {
        TuneJob {
            spec: KernelSpec::new(himuon_templates::Tile::square(tile)),
            shapes: vec![(64, 64)],
        }
    }

    /// Rank 0 tunes something else than this rank needs: it is waited for as long as it tunes, and what it has found is taken.
    #[test]
    fn what_rank_0_has_tuned_is_taken_though_it_is_not_all() {
        let folder = tempfile::tempdir().unwrap();
        let (known, unknown) = (job(16), job(32));
        let mut table = TuningTable::new(DeviceFingerprint::cpu());
        let turn = Turn::take(&table.path(folder.path())).unwrap();
        let held = Duration::from_millis(400);
        let start = Instant::now();
        let found = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(held);
                let mut written = table.clone();
                written.insert(&known.spec, known.class(), TuningEntry::chosen("any"));
                written.save(folder.path()).unwrap();
                drop(turn);
            });
            wait(&table, &[known.clone(), unknown.clone()], folder.path()).unwrap()
        });
        assert!(start.elapsed() >= held && start.elapsed() < PATIENCE);
        table.merge(found.unwrap());
        assert!(is_tuned(&table, &known) && !is_tuned(&table, &unknown));
    }
}
