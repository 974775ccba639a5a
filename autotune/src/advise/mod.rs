//! Which tile? Time, workspace and closeness to full Muon, on the user's own momentum.
//!
//! The tile is part of what is computed, so no tuner may choose it. The advisor shows the choice: for every tile the
//! time of a step over the file's matrices, the scratch memory, and the cosine between the tiled update and the update
//! of whole matrices. A tile is on the front if no other is better in one of the three and as good in the rest.

mod front;
mod samples;

pub use front::{Point, front};
pub use samples::{Momentum, momentum};

use crate::apply::ApplyError;
use himuon::KernelSpec;
use himuon::cpu::{ApplyScale, CpuKernel, Pool, Workspace};
use himuon::launch::MatrixDemand;
use himuon::templates::{Power, Tile};
use himuon::tensor::TensorRef;
use himuon::tuning::{CacheState, CpuTarget, TuningTable, TuningTarget, cpu_digest_of};

/// Runs of which the median counts.
const RUNS: usize = 3;

/// Why there is no advice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdviseError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] ApplyError),
    /// The file has no matrix.
    #[error("{path}: found no matrix; name a state file (*.momentum_buffer) or one with matrices")]
    NoMatrix {
        /// The file.
        path: String,
    },
    /// Every matrix of the file is left out.
    #[error(
        "{path} holds no matrix whose update can be compared{}\nname a file with finite matrices that are not zero",
        crate::diagnose::listed(.reasons)
    )]
    NothingToCompare {
        /// The file.
        path: String,
        /// What it holds instead.
        reasons: Vec<crate::diagnose::SkippedMatrix>,
    },
    /// A kernel refuses.
    #[error(transparent)]
    Kernel(#[from] himuon::cpu::CpuError),
    /// A run failed.
    #[error("{0}")]
    Run(String),
}

/// Seconds of a specification on matrices of these shapes (rows, columns); `None`: not known.
pub type Predict<'a> = &'a dyn Fn(&KernelSpec, &[(usize, usize)]) -> Option<f64>;

/// Compares tiles on the matrices of a file. `spec` makes the specification of a tile, `table` chooses variants,
/// `seconds` overrides the measured time.
///
/// # Errors
/// A kernel refuses a specification, or fails.
pub fn advise(
    specs: &[KernelSpec],
    momentum: &Momentum,
    threads: usize,
    table: &TuningTable,
    seconds: Option<Predict<'_>>,
    mut on_tile: impl FnMut(&KernelSpec),
) -> Result<Vec<Point>, AdviseError> {
    let pool = Pool::new(threads)?;
    let mut target = CpuTarget::new(Some(pool.threads()))?;
    let shapes: Vec<(usize, usize)> = momentum
        .matrices
        .iter()
        .map(|matrix| (matrix.rows, matrix.columns))
        .collect();
    let Some(first) = specs.first() else {
        return Ok(Vec::new());
    };
    let whole = KernelSpec {
        tile: Tile::Full,
        ..first.clone()
    };
    let reference = updates(&whole, momentum, &pool)?;
    let mut points = Vec::with_capacity(specs.len());
    for spec in specs {
        on_tile(spec);
        let update = match spec.tile {
            Tile::Full => reference.clone(),
            _ => updates(spec, momentum, &pool)?,
        };
        let kernel = CpuKernel::new(spec)?;
        let demands: Vec<MatrixDemand> = shapes
            .iter()
            .map(|&(rows, columns)| MatrixDemand::new(rows, columns))
            .collect();
        let predicted = seconds.and_then(|seconds| seconds(spec, &shapes));
        points.push(Point {
            spec: spec.clone(),
            seconds: match predicted {
                Some(seconds) => seconds,
                None => {
                    let variant = table
                        .variant_for(spec, &shapes)
                        // What an earlier version called a variant is no choice any more.
                        .filter(|name| cpu_digest_of(name).is_some())
                        .unwrap_or_else(|| kernel.variant().name());
                    measure(&mut target, spec, &variant, &shapes).map_err(AdviseError::Run)?
                }
            },
            workspace_bytes: seconds
                .is_none()
                .then(|| kernel.workspace_bytes(&demands, pool.threads()) as u64),
            closeness: cosine(&update, &reference),
            on_front: false,
        });
    }
    front(&mut points);
    Ok(points)
}

/// The updates of all matrices, one after the other, scaled as a step scales them: tile by tile, or with a power each matrix.
fn updates(spec: &KernelSpec, momentum: &Momentum, pool: &Pool) -> Result<Vec<f32>, AdviseError> {
    let kernel = CpuKernel::new(spec)?;
    let scale = match spec.power == Power::ZERO {
        true => ApplyScale::Tile,
        false => ApplyScale::Rms,
    };
    let mut workspace = Workspace::new();
    let mut all = Vec::new();
    for matrix in &momentum.matrices {
        let (rows, columns) = (matrix.rows, matrix.columns);
        let mut output = vec![0.0; rows * columns];
        kernel.map(
            pool,
            TensorRef::F32(&matrix.values),
            rows,
            columns,
            &mut output,
            scale,
            &mut workspace,
        )?;
        all.append(&mut output);
    }
    Ok(all)
}

fn measure(
    target: &mut CpuTarget,
    spec: &KernelSpec,
    variant: &str,
    shapes: &[(usize, usize)],
) -> Result<f64, String> {
    target.load(spec, shapes)?;
    target.run(spec, variant, CacheState::Warm)?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        times.push(target.run(spec, variant, CacheState::Cold)?);
    }
    times.sort_unstable();
    Ok(1e-9 * times[RUNS / 2] as f64)
}

/// <a, b> / (||a|| ||b||) in f64; 1 for two zero vectors, 0 for one.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter()
            .zip(y)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum()
    };
    match (dot(a, a), dot(b, b)) {
        (0.0, 0.0) => 1.0,
        (0.0, _) | (_, 0.0) => 0.0,
        (aa, bb) => dot(a, b) / (aa.sqrt() * bb.sqrt()),
    }
}

#[cfg(test)]
mod tests {
    use super::cosine;

    #[test]
    fn a_zero_update_is_close_to_nothing_but_another_one() {
        assert_eq!(cosine(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
        assert_eq!(cosine(&[3.0, 4.0], &[0.0, 0.0]), 0.0);
        assert_eq!(cosine(&[0.0, 0.0], &[3.0, 4.0]), 0.0);
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
    }
}
