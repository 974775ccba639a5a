//! Criteria whose scope is the matrix: measured as if the matrix were one tile, before any tile is mapped.

use super::dispatch;
use super::job::{Grid, Job, Map, Outcome, Scale, State};
use super::kernel::CpuKernel;
use super::pool::Pool;
use super::simd::LANES;
use super::storage::Pointer;
use super::store::Sink;
use super::workspace::{Needs, Parts};
use crate::cpu::load::Source;
use crate::tensor::TensorRef;
use himuon_templates::{Criterion, Finite, Measure, Mode, Otherwise, Scope, StepTable, Tile};

/// What [`decide`] needs of the workspace.
pub(super) fn needs(kernel: &CpuKernel, grid: &Grid, threads: usize) -> Needs {
    let gather = gathering(kernel.resolved());
    let measure = measuring(kernel.resolved());
    Needs {
        scratch: gather
            .lines(grid.tile_rows, grid.tile_columns, true, threads)
            .max(measure.lines(grid.rows, grid.columns, true, threads)),
        mapped: (grid.rows * grid.columns).div_ceil(LANES),
        outcomes: 1,
        ..Needs::default()
    }
}

/// Whether the criterion holds for the matrix of `job`, if its scope is the matrix. Non-finite tiles count as
/// zero. Writes nothing but the workspace.
pub(super) fn decide(
    kernel: &CpuKernel,
    pool: &Pool,
    job: &Job,
    parts: &mut Parts<'_>,
) -> Option<bool> {
    let map = kernel.resolved();
    if !kernel.decides_by_matrix() {
        return None;
    }
    let (rows, columns) = (job.grid.rows, job.grid.columns);
    let numbers = parts.mapped.as_mut_ptr().cast::<f32>();
    let sink = Sink::Plain {
        output: Pointer::F32(numbers),
        leading: columns,
    };
    let gather = Job {
        source: Source {
            advances: false,
            ..job.source
        },
        sink,
        scale: Scale::One,
        decided: Some(false),
        ..*job
    };
    // SAFETY: the tensors were checked; `mapped` holds the matrix, and nobody else uses it.
    unsafe {
        dispatch::run(
            kernel.set(),
            &gathering(map),
            &[gather],
            pool,
            parts.scratch,
        )
    };
    // SAFETY: the lines hold rows x columns numbers, all written.
    let whole = unsafe { std::slice::from_raw_parts(numbers, rows * columns) };
    let measure = Job {
        grid: Grid::new(Tile::Full, rows, columns),
        source: Source::plain(TensorRef::F32(whole), columns, map.mode == Mode::Reference),
        sink,
        scale: Scale::One,
        decided: None,
        coupling: None,
        outcomes: Some(parts.outcomes.as_mut_ptr()),
    };
    // SAFETY: as above; the matrix is one tile, which is read before it is overwritten.
    unsafe {
        dispatch::run(
            kernel.set(),
            &measuring(map),
            &[measure],
            pool,
            parts.scratch,
        )
    };
    parts
        .outcomes
        .first()
        .map(|outcome: &Outcome| outcome.state == State::Mapped)
}

/// A threshold for a criterion that is decided already.
const ZERO: Finite = match Finite::new(0.0) {
    Some(zero) => zero,
    None => unreachable!(),
};

/// The map that writes M itself.
fn gathering(map: &Map) -> Map {
    Map {
        table: StepTable::Identity,
        criterion: Criterion::Tested {
            measure: Measure::FroNorm,
            threshold: ZERO,
            scope: Scope::Matrix,
            otherwise: Otherwise::Momentum,
        },
        ..map.clone()
    }
}

/// The map that measures the matrix as one tile; only the nuclear rank needs the recurrence for it.
fn measuring(map: &Map) -> Map {
    let mut measuring = Map {
        tile: Tile::Full,
        ..map.clone()
    };
    if let Criterion::Tested { measure, scope, .. } = &mut measuring.criterion {
        *scope = Scope::Tile;
        if *measure != Measure::NuclearRank {
            measuring.table = StepTable::Identity;
        }
    }
    measuring
}
