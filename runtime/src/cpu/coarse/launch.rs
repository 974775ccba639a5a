//! A launch of coupled matrices, and the bare map of one.

use super::step::{Candidate, Coupled, couple, finish_whole, needs, whole_scale};
use crate::coarse::{COLD_START_ITERATIONS, coarse_rank};
use crate::cpu::dispatch;
use crate::cpu::error::CpuError;
use crate::cpu::job::{Counts, Grid, Job, Map, Scale};
use crate::cpu::kernel::{ApplyScale, CpuKernel};
use crate::cpu::launch::{SCALE_FACTOR, job, needs_of, report};
use crate::cpu::load::Source;
use crate::cpu::pool::Pool;
use crate::cpu::simd::Line;
use crate::cpu::storage::Pointer;
use crate::cpu::store::Sink;
use crate::cpu::whole_matrix::{WholeMatrix, WholeSink};
use crate::cpu::workspace::{Parts, Workspace};
use crate::launch::{CoarseFigures, LaunchReport, MatrixDemand, MatrixStep, ScaleRule};
use crate::tensor::TensorRef;
use himuon_templates::StepTable;

/// The coarse computation of all matrices; see [`couple`].
pub(in crate::cpu) fn couple_all(
    kernel: &CpuKernel,
    pool: &Pool,
    matrices: &mut [MatrixStep<'_>],
    parts: &mut Parts<'_>,
) -> Vec<(Option<Coupled>, bool)> {
    let candidates: Vec<Option<Candidate>> = matrices
        .iter_mut()
        .map(|matrix| {
            let Job {
                grid,
                source,
                scale,
                ..
            } = job(kernel, matrix);
            let row_normalised = matrix.row_normalisation.is_some();
            let (factor, captured_decay) =
                (matrix.scalars.coarse_factor, matrix.scalars.captured_decay);
            let basis = matrix.coarse.as_mut()?;
            Some(Candidate {
                grid,
                source,
                scale: whole_scale(scale),
                basis: basis.values.as_mut_ptr(),
                capacity: basis.capacity,
                refresh: basis.refresh,
                factor: f64::from(factor),
                captured_decay,
                row_normalised,
            })
        })
        .collect();
    let coupled = couple(kernel, pool, &candidates, parts);
    for (matrix, (coupled, _)) in matrices.iter_mut().zip(&coupled) {
        let basis = matrix.coarse.as_mut();
        if let Some(figures) = basis.and_then(|basis| basis.figures.as_deref_mut()) {
            *figures = coupled.map_or_else(CoarseFigures::default, |coupled| {
                coupled.figures(kernel.resolved().power)
            });
        }
    }
    coupled
}

/// Runs jobs whose tiles are mapped, and those whose coarse part is all there is without the recurrence.
///
/// # Safety
/// As [`dispatch::run`].
pub(in crate::cpu) unsafe fn run(
    kernel: &CpuKernel,
    pool: &Pool,
    jobs: &[Job],
    scratch: &mut [Line],
) -> Counts {
    let is_mute = |job: &Job| job.coupling.is_some_and(|coupling| coupling.mute);
    let (mute, mapped): (Vec<Job>, Vec<Job>) = jobs.iter().partition(|job| is_mute(job));
    let map = kernel.resolved();
    // SAFETY: the caller's word.
    unsafe {
        let mut counts = dispatch::run(kernel.set(), map, &mapped, pool, scratch);
        if !mute.is_empty() {
            let nothing = Map {
                table: StepTable::Identity,
                ..map.clone()
            };
            counts.merge(dispatch::run(kernel.set(), &nothing, &mute, pool, scratch));
        }
        counts
    }
}

/// A coupled matrix whose fine part must be complete before its weights change.
pub(in crate::cpu) fn step_whole(
    kernel: &CpuKernel,
    pool: &Pool,
    matrix: &mut MatrixStep<'_>,
    (job, coupled): (Job, &Coupled),
    parts: &mut Parts<'_>,
) -> Counts {
    let powered = kernel.resolved().power > 0.0;
    let tiles = Job {
        scale: if powered { Scale::One } else { job.scale },
        coupling: Some(coupled.coupling),
        ..job
    };
    let counts = map_whole(kernel, pool, &tiles, parts);
    if let Some(diagnostics) = &mut matrix.diagnostics {
        report(&parts.outcomes[..job.grid.tiles()], diagnostics);
    }
    let normalised = powered || matrix.row_normalisation.is_some();
    let at_once = (!normalised).then_some(&job.sink);
    let with_scale = (coupled, whole_scale(job.scale));
    finish_whole(kernel, pool, job.grid, with_scale, at_once, parts);
    if normalised {
        WholeMatrix::new(kernel, pool, job.grid, parts).finish(
            WholeSink::Update(job.sink),
            f64::from(matrix.scalars.scale_factor),
            matrix.row_normalisation.as_mut(),
        );
    }
    counts
}

/// Maps every tile of a checked matrix to the workspace, with its outcome.
fn map_whole(kernel: &CpuKernel, pool: &Pool, job: &Job, parts: &mut Parts<'_>) -> Counts {
    let job = Job {
        sink: Sink::Plain {
            output: Pointer::F32(parts.mapped.as_mut_ptr().cast()),
            leading: job.grid.columns,
        },
        outcomes: Some(parts.outcomes.as_mut_ptr()),
        ..*job
    };
    // SAFETY: the tensors were checked and are borrowed for writing; the mapped matrix and the outcomes are this one's.
    unsafe { run(kernel, pool, &[job], parts.scratch) }
}

/// The bare map of a checked matrix from a cold start, where the specification couples its tiles; `None` where it does not,
/// or the matrix is not finite or zero: then `output` is untouched.
///
/// [`COLD_START_ITERATIONS`] power iterations lead from the seeds to the basis. Scales: [`ApplyScale::None`] leaves the coarse
/// part a polar factor and gives each tile sqrt(max(h, w) / max(H, W)), [`ApplyScale::Tile`] multiplies both by
/// 0.2 sqrt(max(H, W)); where the whole is normalised (p > 0, [`ApplyScale::Rms`]) its RMS is that of these two.
pub(in crate::cpu) fn apply(
    kernel: &CpuKernel,
    pool: &Pool,
    input: TensorRef<'_>,
    (rows, columns): (usize, usize),
    output: &mut [f32],
    scale: ApplyScale,
    workspace: &mut Workspace,
) -> Result<Option<LaunchReport>, CpuError> {
    let capacity = coarse_rank(kernel.spec(), rows, columns);
    if capacity == 0 {
        return Ok(None);
    }
    let map = kernel.resolved();
    let grid = Grid::new(map.tile, rows, columns);
    let normalised = map.power > 0.0 || scale == ApplyScale::Rms;
    let demand = MatrixDemand {
        row_normalised: normalised,
        ..MatrixDemand::new(rows, columns)
    };
    let threads = pool.threads();
    let (coarse, whole) = needs(kernel, &demand, threads);
    let mut parts = workspace.parts(needs_of(kernel, &grid, threads, false, whole).max(coarse))?;
    let factor = match scale {
        ApplyScale::None => 1.0 / (rows.max(columns) as f32).sqrt(),
        ApplyScale::Tile | ApplyScale::Rms => SCALE_FACTOR,
    };
    let scale = Scale::Rule {
        rule: ScaleRule::Exact,
        factor,
        tile: map.tile,
    };
    let source = Source::plain(input, columns, false);
    let mut basis = vec![0.0_f32; columns * capacity];
    let mut coupled = None;
    for _ in 0..COLD_START_ITERATIONS {
        let candidate = Candidate {
            grid,
            source,
            scale: whole_scale(scale),
            basis: basis.as_mut_ptr(),
            capacity,
            refresh: true,
            factor: 1.0,
            captured_decay: 0.0,
            row_normalised: normalised,
        };
        coupled = couple(kernel, pool, &[Some(candidate)], &mut parts)
            .pop()
            .and_then(|(coupled, _)| coupled);
    }
    let Some(coupled) = coupled else {
        return Ok(None);
    };
    let sink = Sink::Plain {
        output: Pointer::F32(output.as_mut_ptr()),
        leading: columns,
    };
    let job = Job {
        grid,
        source,
        sink,
        scale: if map.power > 0.0 { Scale::One } else { scale },
        decided: None,
        coupling: Some(coupled.coupling),
        outcomes: None,
    };
    let counts = if coupled.is_whole() {
        let counts = map_whole(kernel, pool, &job, &mut parts);
        let at_once = (!normalised).then_some(&sink);
        let with_scale = (&coupled, whole_scale(scale));
        finish_whole(kernel, pool, grid, with_scale, at_once, &mut parts);
        if normalised {
            let mut whole = WholeMatrix::new(kernel, pool, grid, &mut parts);
            whole.finish(WholeSink::Write(output), f64::from(factor), None);
        }
        counts
    } else {
        // SAFETY: the tensors were checked, and the output is borrowed for writing.
        unsafe { run(kernel, pool, &[job], parts.scratch) }
    };
    Ok(Some(counts.report(grid.tiles())))
}
