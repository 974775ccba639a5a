//! Choosing the kernels for this machine before the runs: what the cache does not know is timed and kept.

use crate::output::say;
use crate::trainer::Trainer;
use anyhow::Result;
use himuon::KernelSpec;
use himuon::tuning::{
    CpuTarget, DeviceFingerprint, TuneJob, TuneOptions, Tuner, TuningTable, cache_folder,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Time for one specification; each variant is timed twice at least.
const BUDGET: Duration = Duration::from_secs(2);

/// The shapes (rows, columns) that a run's launches hold, each once, by specification.
pub(crate) type Workload = BTreeMap<KernelSpec, BTreeSet<(usize, usize)>>;

/// What all steps of a run launch.
pub(crate) fn workload(trainer: &mut Trainer) -> Result<Workload> {
    let mut workload = Workload::new();
    for step in 0..trainer.record.settings.steps {
        for launch in &trainer.optimizer.inner_mut().plan(step)?.launches {
            let shapes = launch
                .matrices
                .iter()
                .map(|matrix| (matrix.rows, matrix.columns));
            workload
                .entry(launch.spec.tiles_alone())
                .or_default()
                .extend(shapes);
        }
    }
    Ok(workload)
}

/// The cached table of this machine, with entries for the whole workload.
///
/// A cache that cannot be written is no reason to stop: the winners hold for this call then.
pub(crate) fn tuned(workload: &Workload) -> Result<TuningTable> {
    let mut table = TuningTable::load_or_empty(DeviceFingerprint::cpu());
    let jobs: Vec<TuneJob> = workload
        .iter()
        .map(|(spec, shapes)| TuneJob {
            spec: spec.clone(),
            shapes: shapes.iter().copied().collect(),
        })
        .filter(|job| table.entry(&job.spec, job.class()).is_none())
        .collect();
    if jobs.is_empty() {
        return Ok(table);
    }
    let start = Instant::now();
    let bar = ProgressBar::new(1000).with_prefix("tuning");
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {wide_bar} {percent} % {msg} {elapsed} ETA {eta}")
    {
        bar.set_style(style);
    }
    let options = TuneOptions {
        budget: BUDGET,
        ..TuneOptions::default()
    };
    let found =
        Tuner::new(&mut CpuTarget::new(None)?, options).tune(&jobs, None, &mut |progress| {
            bar.set_message(format!("tile {}: {}", progress.spec.tile, progress.stage));
            bar.set_position((1000.0 * progress.fraction) as u64);
        })?;
    bar.finish_and_clear();
    let kept = match cache_folder().and_then(|folder| found.table.save(&folder)) {
        Ok(path) => format!("kept in {}", path.display()),
        Err(error) => format!("not kept: {error}"),
    };
    say!(
        "tuned {} kernels in {:.1} s, {kept}",
        jobs.len(),
        start.elapsed().as_secs_f64()
    );
    table.merge(found.table);
    Ok(table)
}
