//! From checked matrices to jobs.

use super::coarse::{self, Coupled, Coupling};
use super::decide::decide;
use super::dispatch;
use super::error::CpuError;
use super::job::{Counts, Grid, Job, Outcome, Scale};
use super::kernel::{ApplyScale, CpuKernel};
use super::load::Source;
use super::pool::Pool;
use super::simd::LANES;
use super::storage::Pointer;
use super::store::Sink;
use super::weights::Weights;
use super::whole_matrix::{WholeMatrix, WholeSink};
use super::workspace::{Needs, Parts, Workspace};
use crate::launch::{LaunchReport, MatrixDemand, MatrixStep, ScaleRule, TileDiagnostics};
use crate::tensor::TensorRef;
use himuon_templates::Mode;

/// 0.2: the RMS of an update (arXiv 2606.27216).
pub(super) const SCALE_FACTOR: f32 = 0.2;

/// One step of checked matrices.
pub(super) fn step(
    kernel: &CpuKernel,
    pool: &Pool,
    matrices: &mut [MatrixStep<'_>],
    workspace: &mut Workspace,
) -> Result<LaunchReport, CpuError> {
    let map = kernel.resolved();
    let is_whole = |matrix: &MatrixStep<'_>| map.power > 0.0 || matrix.row_normalisation.is_some();
    let tiles = matrices
        .iter()
        .map(|matrix| Grid::new(map.tile, matrix.rows, matrix.columns).tiles())
        .sum();
    let demands = matrices.iter().map(|matrix| MatrixDemand::of(matrix));
    let mut parts = workspace.parts(needs(kernel, demands, pool.threads()))?;
    let decisions: Vec<Option<bool>> = matrices
        .iter_mut()
        .map(|matrix| decide(kernel, pool, &job(kernel, matrix), &mut parts))
        .collect();
    let coupled = coarse::couple_all(kernel, pool, matrices, &mut parts);
    let mut counts = Counts::default();
    let mut fused: Vec<Fused<'_, '_>> = Vec::new();
    for ((matrix, decided), (coupled, uncoupled)) in matrices.iter_mut().zip(decisions).zip(coupled)
    {
        counts.uncoupled += usize::from(uncoupled);
        if is_whole(matrix) || coupled.is_some_and(|coupled| coupled.is_whole()) {
            let coupled = coupled.as_ref();
            counts.merge(step_whole(
                kernel, pool, matrix, decided, coupled, &mut parts,
            ));
        } else {
            fused.push(Fused {
                matrix,
                decided,
                coupling: coupled.map(|coupled| coupled.coupling),
            });
        }
    }
    counts.merge(step_fused(kernel, pool, &mut fused, &mut parts));
    Ok(counts.report(tiles))
}

/// A matrix whose tiles are finished one by one.
struct Fused<'m, 'a> {
    matrix: &'m mut MatrixStep<'a>,
    decided: Option<bool>,
    coupling: Option<Coupling>,
}

/// Matrices whose tiles are finished one by one.
fn step_fused(
    kernel: &CpuKernel,
    pool: &Pool,
    matrices: &mut [Fused<'_, '_>],
    parts: &mut Parts<'_>,
) -> Counts {
    let mut free = &mut *parts.outcomes;
    let mut kept: Vec<Option<&mut [Outcome]>> = Vec::with_capacity(matrices.len());
    let mut jobs = Vec::with_capacity(matrices.len());
    for Fused {
        matrix,
        decided,
        coupling,
    } in matrices.iter_mut()
    {
        let mut job = job(kernel, matrix);
        job.decided = *decided;
        job.coupling = *coupling;
        let mut outcomes = None;
        if matrix.diagnostics.is_some() {
            let (own, rest) = free.split_at_mut(job.grid.tiles());
            free = rest;
            job.outcomes = Some(own.as_mut_ptr());
            outcomes = Some(own);
        }
        kept.push(outcomes);
        jobs.push(job);
    }
    // SAFETY: the tensors were checked, and are borrowed for writing; each tile has its outcome.
    let counts = unsafe { coarse::run(kernel, pool, &jobs, parts.scratch) };
    for ((job, outcomes), fused) in jobs.iter().zip(&kept).zip(matrices) {
        if let (Some(outcomes), Some(diagnostics)) = (outcomes, &mut fused.matrix.diagnostics) {
            debug_assert_eq!(outcomes.len(), job.grid.tiles());
            report(outcomes, diagnostics);
        }
    }
    counts
}

/// A matrix whose map must be complete before its weights change.
fn step_whole(
    kernel: &CpuKernel,
    pool: &Pool,
    matrix: &mut MatrixStep<'_>,
    decided: Option<bool>,
    coupled: Option<&Coupled>,
    parts: &mut Parts<'_>,
) -> Counts {
    let mut job = job(kernel, matrix);
    job.decided = decided;
    let sink = job.sink;
    if let Some(coupled) = coupled {
        return coarse::step_whole(kernel, pool, matrix, (job, coupled), parts);
    }
    let mut whole = WholeMatrix::new(kernel, pool, job.grid, parts);
    let counts = whole.map(job);
    whole.finish(
        WholeSink::Update(sink),
        f64::from(matrix.scalars.scale_factor),
        matrix.row_normalisation.as_mut(),
    );
    if let Some(diagnostics) = &mut matrix.diagnostics {
        report(whole.outcomes(), diagnostics);
    }
    counts
}

pub(super) fn report(outcomes: &[Outcome], diagnostics: &mut [TileDiagnostics]) {
    for (outcome, diagnostics) in outcomes.iter().zip(diagnostics) {
        *diagnostics = outcome.diagnostics();
    }
}

/// The bare map of a checked matrix.
pub(super) fn apply(
    kernel: &CpuKernel,
    pool: &Pool,
    input: TensorRef<'_>,
    (rows, columns): (usize, usize),
    output: &mut [f32],
    scale: ApplyScale,
    workspace: &mut Workspace,
) -> Result<LaunchReport, CpuError> {
    if let Some(report) = coarse::apply(
        kernel,
        pool,
        input,
        (rows, columns),
        output,
        scale,
        workspace,
    )? {
        return Ok(report);
    }
    let map = kernel.resolved();
    let grid = Grid::new(map.tile, rows, columns);
    let whole = scale == ApplyScale::Rms;
    let mut parts = workspace.parts(needs_of(kernel, &grid, pool.threads(), false, whole))?;
    let mut job = Job {
        grid,
        source: Source::plain(input, columns, map.mode == Mode::Reference),
        sink: Sink::Plain {
            output: Pointer::F32(output.as_mut_ptr()),
            leading: columns,
        },
        scale: Scale::One,
        decided: None,
        coupling: None,
        outcomes: None,
    };
    job.decided = decide(kernel, pool, &job, &mut parts);
    if scale == ApplyScale::Tile {
        job.scale = Scale::Rule {
            rule: ScaleRule::Exact,
            factor: SCALE_FACTOR,
            tile: map.tile,
        };
    }
    if whole {
        let mut whole = WholeMatrix::new(kernel, pool, grid, &mut parts);
        let counts = whole.map(job);
        whole.finish(WholeSink::Write(output), f64::from(SCALE_FACTOR), None);
        return Ok(counts.report(grid.tiles()));
    }
    // SAFETY: the tensors were checked, and the output is borrowed for writing.
    let counts = unsafe { dispatch::run(kernel.set(), map, &[job], pool, parts.scratch) };
    Ok(counts.report(grid.tiles()))
}

/// The job of one matrix.
pub(super) fn job(kernel: &CpuKernel, matrix: &mut MatrixStep<'_>) -> Job {
    let map = kernel.resolved();
    let scalars = matrix.scalars;
    let decay = f64::from(scalars.learning_rate) * f64::from(scalars.weight_decay);
    Job {
        grid: Grid::new(map.tile, matrix.rows, matrix.columns),
        source: Source {
            gradient: Pointer::to_read(matrix.gradient),
            gradient_leading: matrix.gradient_leading,
            momentum: Some((Pointer::to_write(&mut matrix.momentum), matrix.columns)),
            mu: scalars.mu,
            c: scalars.c,
            alpha: scalars.alpha,
            beta: scalars.beta,
            rounds: map.mode == Mode::Reference,
            advances: true,
        },
        sink: Sink::Weight {
            weight: Weights {
                start: Pointer::to_write(&mut matrix.weight),
                leading: matrix.weight_leading,
                remainder: matrix
                    .remainder
                    .as_mut()
                    .filter(|_| kernel.spec().storage.master_weights)
                    .map(|remainder| (remainder.as_mut_ptr(), matrix.columns)),
            },
            keep: (1.0 - decay) as f32,
            rate: scalars.learning_rate,
        },
        scale: Scale::Rule {
            rule: scalars.scale,
            factor: scalars.scale_factor,
            tile: map.tile,
        },
        decided: None,
        coupling: None,
        outcomes: None,
    }
}

/// What one matrix needs; `whole` where its map must be complete before its weights change.
pub(super) fn needs_of(
    kernel: &CpuKernel,
    grid: &Grid,
    threads: usize,
    diagnosed: bool,
    whole: bool,
) -> Needs {
    let map = kernel.resolved();
    let kept = map.keeps(diagnosed || whole);
    let mut needs = Needs {
        scratch: map.lines(grid.tile_rows, grid.tile_columns, kept, threads),
        ..Needs::default()
    };
    if whole {
        needs.mapped = (grid.rows * grid.columns).div_ceil(LANES);
        needs.outcomes = grid.tiles();
        needs.rows = 2 * grid.rows;
    }
    if kernel.decides_by_matrix() {
        needs = needs.max(super::decide::needs(kernel, grid, threads));
    }
    needs
}

/// What a launch of these matrices needs.
pub(super) fn needs(
    kernel: &CpuKernel,
    demands: impl Iterator<Item = MatrixDemand>,
    threads: usize,
) -> Needs {
    let map = kernel.resolved();
    let mut needs = Needs::default();
    let (mut fused_tiles, mut coarse_lines) = (0, 0);
    for demand in demands.filter(|demand| demand.rows * demand.columns > 0) {
        let grid = Grid::new(map.tile, demand.rows, demand.columns);
        let threads = threads.max(1);
        let (coarse, coarse_whole) = coarse::needs(kernel, &demand, threads);
        coarse_lines += coarse.coarse;
        needs = needs.max(coarse);
        let whole = map.power > 0.0 || demand.row_normalised || coarse_whole;
        needs = needs.max(needs_of(kernel, &grid, threads, demand.diagnosed, whole));
        if demand.diagnosed && !whole {
            fused_tiles += grid.tiles();
        }
    }
    needs.outcomes = needs.outcomes.max(fused_tiles);
    needs.coarse = coarse_lines;
    needs
}

impl Source {
    /// A matrix itself, without momentum.
    pub(super) fn plain(input: TensorRef<'_>, leading: usize, rounds: bool) -> Source {
        Source {
            gradient: Pointer::to_read(input),
            gradient_leading: leading,
            momentum: None,
            mu: 0.0,
            c: 1.0,
            alpha: 1.0,
            beta: 0.0,
            rounds,
            advances: false,
        }
    }
}
