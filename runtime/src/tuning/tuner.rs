//! Tuning: what is known is kept, what is not is verified, timed and chosen.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use himuon_templates::KernelSpec;

use super::attempt::{Attempt, Attempted};
use super::entry::TuningEntry;
use super::error::TuningError;
use super::level::Level;
use super::shape_class::ShapeClass;
use super::table::TuningTable;
use super::target::TuningTarget;

/// How to tune.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TuneOptions {
    /// How much is done.
    pub level: Level,
    /// Time for the runs of one specification; verification comes on top. Every candidate runs at least twice.
    pub budget: Duration,
    /// How many times as fast as the incumbent (the winner so far, else the default) a candidate must be, with 95 %
    /// confidence, to take its place.
    pub least_speedup: f64,
    /// Whether what is known is measured again.
    pub again: bool,
    /// The most candidates that are measured, the default among them; `None`: as many as the level says.
    pub candidates: Option<usize>,
}

impl Default for TuneOptions {
    fn default() -> Self {
        TuneOptions {
            level: Level::Measure,
            budget: Duration::from_secs(5),
            least_speedup: 1.02,
            again: false,
            candidates: None,
        }
    }
}

/// Most elements of a launch that is timed; a larger one is represented by a part of its matrices.
const MOST_ELEMENTS: usize = 1 << 24;

/// A specification and the shapes (rows, columns) of the matrices of a launch.
#[derive(Clone, Debug, PartialEq)]
pub struct TuneJob {
    /// What is computed.
    pub spec: KernelSpec,
    /// The matrices.
    pub shapes: Vec<(usize, usize)>,
}

impl TuneJob {
    /// The class that the entry will be kept under.
    pub fn class(&self) -> ShapeClass {
        ShapeClass::of(self.spec.tile, self.shapes.iter().copied())
    }

    /// The matrices that are timed: all, or of a launch of more than 16 Mi elements one of each shape in turn until
    /// there are so many.
    pub(super) fn timed(&self) -> Vec<(usize, usize)> {
        let size = |shapes: &[(usize, usize)]| shapes.iter().map(|(r, c)| r * c).sum::<usize>();
        if size(&self.shapes) <= MOST_ELEMENTS {
            return self.shapes.clone();
        }
        let mut left: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for shape in &self.shapes {
            *left.entry(*shape).or_default() += 1;
        }
        let mut timed = Vec::new();
        while size(&timed) < MOST_ELEMENTS {
            let before = timed.len();
            for (shape, count) in left.iter_mut().filter(|(_, count)| **count > 0) {
                if timed.is_empty() || size(&timed) + shape.0 * shape.1 <= MOST_ELEMENTS {
                    timed.push(*shape);
                    *count -= 1;
                }
            }
            if timed.len() == before {
                break;
            }
        }
        timed
    }
}

/// Where tuning stands.
#[derive(Clone, Copy, Debug)]
pub struct TuneProgress<'a> {
    /// The specification that is being tuned.
    pub spec: &'a KernelSpec,
    /// Jobs done.
    pub done: usize,
    /// Jobs in all.
    pub total: usize,
    /// Time since the start.
    pub elapsed: Duration,
    /// The most time that the runs may take.
    pub budget: Duration,
    /// How much of everything is done, from 0 to 1.
    pub fraction: f64,
    /// What is being done now, for people.
    pub stage: &'a str,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TuneOutcome {
    /// Everything about it was known already.
    Known,
    /// Verified, timed and chosen.
    Measured,
    /// Not reached, because somebody asked to stop.
    Stopped,
}

/// What tuning found.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// One entry for each job that was reached.
    pub table: TuningTable,
    /// One for each job.
    pub outcomes: Vec<TuneOutcome>,
}

/// Tunes a device.
pub struct Tuner<'a, T: ?Sized> {
    target: &'a mut T,
    options: TuneOptions,
    stop: &'a AtomicBool,
}

/// A flag that nobody sets.
static NEVER: AtomicBool = AtomicBool::new(false);

impl<'a, T: TuningTarget + ?Sized> Tuner<'a, T> {
    /// A tuner for a device.
    pub fn new(target: &'a mut T, options: TuneOptions) -> Self {
        Tuner {
            target,
            options,
            stop: &NEVER,
        }
    }

    /// Stops soon after the flag is set; jobs that are done by then are kept.
    pub fn stop_at(mut self, stop: &'a AtomicBool) -> Self {
        self.stop = stop;
        self
    }

    /// Tunes every job. Each is written to the device's table in `folder` as soon as it is done, so that whatever ends
    /// the process loses one job at most; jobs whose entry is complete are not measured again.
    ///
    /// # Errors
    /// No candidate of a specification is right; the device refuses, or a candidate takes it along, which is kept too; the
    /// table cannot be written. Jobs done by then are kept.
    pub fn tune(
        &mut self,
        jobs: &[TuneJob],
        folder: Option<&Path>,
        progress: &mut dyn FnMut(&TuneProgress<'_>),
    ) -> Result<Tuned, TuningError> {
        let start = Instant::now();
        let known = match folder {
            Some(folder) => self.empty_table().stored(folder)?,
            None => None,
        };
        let mut tuned = Tuned {
            table: self.empty_table(),
            outcomes: Vec::with_capacity(jobs.len()),
        };
        let total = jobs.len();
        for (done, job) in jobs.iter().enumerate() {
            // A variant is a way to compute tiles, whatever couples them.
            let job = &TuneJob {
                spec: job.spec.tiles_alone(),
                shapes: job.shapes.clone(),
            };
            let class = job.class();
            let mut stage = |stage: &str, part: f64| {
                progress(&TuneProgress {
                    spec: &job.spec,
                    done,
                    total,
                    elapsed: start.elapsed(),
                    budget: self
                        .options
                        .budget
                        .saturating_mul(u32::try_from(total).unwrap_or(u32::MAX)),
                    fraction: (done as f64 + part.clamp(0.0, 1.0)) / total as f64,
                    stage,
                });
            };
            let before = known
                .as_ref()
                .and_then(|table| table.entry(&job.spec, class))
                .cloned();
            let attempted = Attempt {
                target: &mut *self.target,
                options: self.options,
                stop: self.stop,
                job,
                timed: job.timed(),
                before,
            }
            .run(&mut stage)?;
            let (outcome, entry) = match attempted {
                Attempted::Known(entry) => (TuneOutcome::Known, entry),
                Attempted::Measured(entry) => {
                    self.keep(folder, job, &entry)?;
                    (TuneOutcome::Measured, entry)
                }
                Attempted::Stopped => {
                    tuned.outcomes.push(TuneOutcome::Stopped);
                    continue;
                }
                Attempted::Lost(entry, guilty) => {
                    self.keep(folder, job, &entry)?;
                    return Err(TuningError::Lost {
                        spec: job.spec.to_string(),
                        variant: guilty.variant,
                        reason: guilty.reason,
                    });
                }
            };
            tuned.outcomes.push(outcome);
            tuned.table.insert(&job.spec, class, entry);
        }
        Ok(tuned)
    }

    /// Writes an entry to the device's table, where there is a folder for it.
    fn keep(
        &self,
        folder: Option<&Path>,
        job: &TuneJob,
        entry: &TuningEntry,
    ) -> Result<(), TuningError> {
        let Some(folder) = folder else {
            return Ok(());
        };
        let mut one = self.empty_table();
        one.anew = self.options.again;
        one.insert(&job.spec, job.class(), entry.clone());
        one.save(folder).map(drop)
    }

    fn empty_table(&self) -> TuningTable {
        match self.target.clock() {
            super::level::Clock::Emulated => TuningTable::emulated(self.target.fingerprint()),
            _ => TuningTable::new(self.target.fingerprint()),
        }
    }
}
