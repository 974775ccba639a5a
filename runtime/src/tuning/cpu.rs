//! Choosing the CPU variant of each specification: verify against f64, then time, then select.

use std::time::{Duration, Instant};

use himuon_templates::{KernelSpec, Mode, Tile};

use super::folder::TuningError;
use super::samples::{Gaussian, StepSample};
use super::table::{DeviceFingerprint, Measurement, TuningEntry, TuningTable};
use crate::cpu::{ApplyScale, CpuKernel, CpuVariant, InstructionSet, Pool, Workspace};
use crate::reference::{Matrix, Normalisation, ReferenceMap};
use crate::tensor::TensorRef;

/// Rounds that every candidate is timed for at least.
const FEWEST_ROUNDS: usize = 3;
/// Rounds after which the order no longer changes.
const MOST_ROUNDS: usize = 25;
/// A candidate this many times slower than the best after the first rounds is not timed further.
const HOPELESS: f64 = 1.5;
/// Edge of the largest tile that is computed in f64 to judge a candidate.
const LARGEST_VERIFIED: usize = 384;
/// Relative Frobenius error on a Gaussian matrix against the map in f64; worst measured 2.7e-6 (tiles of 64 to
/// 384, every recurrence).
const ACCURATE_TOLERANCE: f64 = 2e-5;
/// The same where each intermediate matrix is rounded to bf16: another order of summation flips some of the
/// roundings; worst measured 1.3e-2.
const REFERENCE_TOLERANCE: f64 = 4e-2;

/// Where tuning stands.
#[derive(Clone, Copy, Debug)]
pub struct TuneProgress<'a> {
    /// The specification that is being tuned.
    pub spec: &'a KernelSpec,
    /// Specifications done.
    pub done: usize,
    /// Specifications in all.
    pub total: usize,
    /// Time since the start.
    pub elapsed: Duration,
    /// The time that was given.
    pub budget: Duration,
    /// What is being done now, for people.
    pub stage: &'a str,
}

/// Times the CPU variants of each specification over a launch of matrices of these shapes (rows, columns),
/// on all of `threads` threads (`None`: as many as the system has), and returns the winners.
///
/// Every candidate is first compared with the same map in f64; one that disagrees is recorded as refused
/// and never chosen. Candidates are timed in turns, so that a disturbance meets all of them. `budget` is
/// shared by the specifications; each is timed for at least three rounds.
///
/// The result is not yet kept: [`TuningTable::save`] does that.
///
/// # Errors
/// No candidate agrees with the reference; a kernel refuses; the threads cannot be started.
pub fn tune_cpu(
    specs: &[KernelSpec],
    shapes: &[(usize, usize)],
    budget: Duration,
    threads: Option<usize>,
    progress: &mut dyn FnMut(&TuneProgress<'_>),
) -> Result<TuningTable, TuningError> {
    let start = Instant::now();
    let mut table = TuningTable::new(DeviceFingerprint::cpu());
    for (done, spec) in specs.iter().enumerate() {
        let mut stage = |stage: &str| {
            progress(&TuneProgress {
                spec,
                done,
                total: specs.len(),
                elapsed: start.elapsed(),
                budget,
                stage,
            });
        };
        let left = budget.saturating_sub(start.elapsed());
        let share = left / u32::try_from(specs.len() - done).unwrap_or(u32::MAX);
        let entry = tune_spec(spec, shapes, share, threads, &mut stage)?;
        table.insert(spec, entry);
    }
    Ok(table)
}

struct Candidate {
    variant: CpuVariant,
    kernel: CpuKernel,
    error: f64,
    seconds: Vec<f64>,
}

fn tune_spec(
    spec: &KernelSpec,
    shapes: &[(usize, usize)],
    budget: Duration,
    threads: Option<usize>,
    stage: &mut dyn FnMut(&str),
) -> Result<TuningEntry, TuningError> {
    let failed = |reason: String| TuningError::Measure {
        spec: spec.to_string(),
        reason,
    };
    let pool = Pool::new(threads.unwrap_or(0)).map_err(|error| failed(error.to_string()))?;
    stage("verifying");
    let (mut candidates, mut measurements) = verify(spec, shapes, &pool)?;
    stage("timing");
    time(&mut candidates, shapes, budget, &pool).map_err(failed)?;
    let best = candidates
        .iter()
        .min_by(|a, b| median(&a.seconds).total_cmp(&median(&b.seconds)))
        .map(|candidate| candidate.variant.name());
    measurements.extend(candidates.iter().map(|candidate| Measurement {
        variant: candidate.variant.name(),
        seconds: Some(median(&candidate.seconds)),
        error: candidate.error,
        refused: String::new(),
    }));
    match best {
        Some(variant) => Ok(TuningEntry {
            variant,
            shapes: shapes.to_vec(),
            threads: pool.threads(),
            measurements,
        }),
        None => Err(TuningError::NoCandidate {
            spec: spec.to_string(),
            refusals: measurements
                .iter()
                .map(|measurement| format!("{}: {}", measurement.variant, measurement.refused))
                .collect::<Vec<_>>()
                .join("; "),
        }),
    }
}

/// The candidates that agree with the map in f64, and a record of those that do not.
fn verify(
    spec: &KernelSpec,
    shapes: &[(usize, usize)],
    pool: &Pool,
) -> Result<(Vec<Candidate>, Vec<Measurement>), TuningError> {
    let failed = |reason: String| TuningError::Measure {
        spec: spec.to_string(),
        reason,
    };
    let (rows, columns) = verified_shape(spec.tile, shapes);
    let input = Gaussian::new(1).vector(rows * columns);
    let map = ReferenceMap::new(spec).map_err(|error| failed(error.to_string()))?;
    let matrix = Matrix::from_f32(rows, columns, &input);
    let expected = map.apply(&matrix, Normalisation::None);
    let tolerance = match spec.mode {
        Mode::Accurate => ACCURATE_TOLERANCE,
        Mode::Reference => REFERENCE_TOLERANCE,
    };
    let mut candidates = Vec::new();
    let mut refused = Vec::new();
    let mut output = vec![f32::NAN; rows * columns];
    let mut workspace = Workspace::new();
    for variant in CpuKernel::variants(spec).into_iter().filter(worth_timing) {
        let kernel =
            CpuKernel::with_variant(spec, variant).map_err(|error| failed(error.to_string()))?;
        output.fill(f32::NAN);
        kernel
            .map(
                pool,
                TensorRef::F32(&input),
                rows,
                columns,
                &mut output,
                ApplyScale::None,
                &mut workspace,
            )
            .map_err(|error| failed(error.to_string()))?;
        let found = Matrix::from_f32(rows, columns, &output);
        let error = found.combined(1.0, -1.0, &expected).norm() / expected.norm();
        if error <= tolerance {
            candidates.push(Candidate {
                variant,
                kernel,
                error,
                seconds: Vec::new(),
            });
        } else {
            refused.push(Measurement {
                variant: variant.name(),
                seconds: None,
                error,
                refused: format!("relative error {error:.1e} is above {tolerance:.1e}"),
            });
        }
    }
    Ok((candidates, refused))
}

/// Without vector instructions a launch takes a hundred times longer: never the winner where there are any.
fn worth_timing(variant: &CpuVariant) -> bool {
    variant.instruction_set != InstructionSet::Portable
        || InstructionSet::best() == InstructionSet::Portable
}

/// One whole tile with ragged ones beside it where f64 can afford it; else the largest tile that it can.
fn verified_shape(tile: Tile, shapes: &[(usize, usize)]) -> (usize, usize) {
    let side = |edge: usize| match edge + edge / 3 {
        ragged if ragged <= LARGEST_VERIFIED => ragged,
        _ => edge.min(LARGEST_VERIFIED),
    };
    match tile {
        Tile::Sized { rows, columns } => (side(rows as usize), side(columns as usize)),
        Tile::Full => {
            let smallest = shapes.iter().min_by_key(|(rows, columns)| rows * columns);
            let (rows, columns) = smallest.copied().unwrap_or((128, 96));
            (rows.min(LARGEST_VERIFIED), columns.min(LARGEST_VERIFIED))
        }
    }
}

/// Runs the candidates in turns until the time is up; those that fall far behind stop early.
fn time(
    candidates: &mut [Candidate],
    shapes: &[(usize, usize)],
    budget: Duration,
    pool: &Pool,
) -> Result<(), String> {
    let Some(first) = candidates.first() else {
        return Ok(());
    };
    let mut sample = StepSample::new(first.kernel.spec(), shapes);
    let mut workspace = Workspace::new();
    let start = Instant::now();
    for round in 0..MOST_ROUNDS {
        if round >= FEWEST_ROUNDS && start.elapsed() >= budget {
            break;
        }
        let best = candidates
            .iter()
            .map(|candidate| median(&candidate.seconds))
            .fold(f64::INFINITY, f64::min);
        for candidate in candidates.iter_mut() {
            if round >= FEWEST_ROUNDS && median(&candidate.seconds) > HOPELESS * best {
                continue;
            }
            if round == 0 {
                // Caches, pages and threads wake up outside the measurement.
                let mut matrices = sample.matrices();
                let run = candidate.kernel.step(pool, &mut matrices, &mut workspace);
                run.map_err(|error| error.to_string())?;
            }
            let mut matrices = sample.matrices();
            let begin = Instant::now();
            let run = candidate.kernel.step(pool, &mut matrices, &mut workspace);
            candidate.seconds.push(begin.elapsed().as_secs_f64());
            run.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The middle value; infinite for none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
        .get(sorted.len() / 2)
        .copied()
        .unwrap_or(f64::INFINITY)
}
