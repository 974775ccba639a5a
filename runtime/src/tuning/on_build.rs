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

/// How long a rank waits for an entry of rank 0, beyond the time that tuning may take.
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
        (Some(1..), Some(folder)) => wait(table, &missing, options.budget, folder),
        (_, folder) => tune(&mut *target, options, &missing, folder).map(Some),
    };
    match found {
        Ok(Some(found)) => table.merge(found),
        Ok(None) => {}
        Err(error) => tracing::warn!("{error}; default variants are used"),
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

/// Reads the device's file until rank 0 has written every entry.
fn wait(
    table: &TuningTable,
    jobs: &[TuneJob],
    budget: Duration,
    folder: &Path,
) -> Result<Option<TuningTable>, TuningError> {
    let start = Instant::now();
    let patience = 2 * budget * u32::try_from(jobs.len()).unwrap_or(u32::MAX) + PATIENCE;
    loop {
        if let Some(found) = complete(folder, table, jobs)? {
            return Ok(Some(found));
        }
        if start.elapsed() > patience {
            return Err(TuningError::Measure {
                spec: jobs[0].spec.to_string(),
                reason: format!(
                    "rank 0 has written no entry to {} in {} s",
                    table.path(folder).display(),
                    patience.as_secs()
                ),
            });
        }
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
