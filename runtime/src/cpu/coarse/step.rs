//! Which matrices of a launch are coupled, and what their tiles are told.

use super::buffers::{Buffers, Extent};
use super::capture::{Capture, Crew, capture};
use super::couple::Coupling;
use super::matrix::{Captured, CoarseMatrix};
use super::skinny;
use super::small::SmallMap;
use super::whole_fine::{self, WholeFine};
use crate::coarse::coarse_rank;
use crate::cpu::job::{Grid, Outcome, Scale, State};
use crate::cpu::kernel::CpuKernel;
use crate::cpu::load::{Rectangle, Source};
use crate::cpu::pool::Pool;
use crate::cpu::simd::{LANES, Line, Shared};
use crate::cpu::storage::Pointer;
use crate::cpu::store::Sink;
use crate::cpu::workspace::{Needs, Parts};
use crate::launch::{CoarseFigures, MatrixDemand};
use himuon_templates::{Coarse, Fine, Tile};

/// A matrix whose tiles are coupled at this step.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Coupled {
    /// For the job of its tiles.
    pub(in crate::cpu) coupling: Coupling,
    matrix: CoarseMatrix,
    captured: Captured,
    projected: bool,
    /// Of the coarse part; 1 where it is all there is.
    factor: f64,
}

/// A matrix of a launch, and the basis that it brought.
pub(in crate::cpu) struct Candidate {
    pub(in crate::cpu) grid: Grid,
    pub(in crate::cpu) source: Source,
    /// Scale of a tile that is the whole matrix.
    pub(in crate::cpu) scale: Scale,
    pub(in crate::cpu) basis: *mut f32,
    pub(in crate::cpu) capacity: usize,
    pub(in crate::cpu) refresh: bool,
    /// Of the coarse part beside the fine one.
    pub(in crate::cpu) factor: f64,
    /// What the momentum loses of what is captured.
    pub(in crate::cpu) captured_decay: f32,
    pub(in crate::cpu) row_normalised: bool,
}

/// How the matrix is coupled; `None` where it is not.
fn extent(kernel: &CpuKernel, grid: &Grid, row_normalised: bool) -> Option<Extent> {
    let spec = kernel.spec();
    let rank = coarse_rank(spec, grid.rows, grid.columns);
    let Coarse::Polar { fine, .. } = spec.coarse else {
        return None;
    };
    let mute = is_mute(fine, rank, grid);
    let whole = spec.power.numerator() > 0 || row_normalised || (fine == Fine::Projected && !mute);
    (rank > 0).then_some(Extent {
        rows: grid.rows,
        columns: grid.columns,
        rank,
        cut: match (grid.tile_rows, grid.tile_columns) {
            (1, 1) => LANES,
            (_, columns) => columns,
        },
        whole,
    })
}

/// Whether the coarse part is all there is: as specified, or because nothing is left at full rank.
fn is_mute(fine: Fine, rank: usize, grid: &Grid) -> bool {
    fine == Fine::Nothing || rank == grid.rows.min(grid.columns)
}

/// What the coarse part of a matrix adds to the needs of its launch; whether its fine part is a whole one.
pub(in crate::cpu) fn needs(
    kernel: &CpuKernel,
    demand: &MatrixDemand,
    threads: usize,
) -> (Needs, bool) {
    let grid = Grid::new(kernel.spec().tile, demand.rows, demand.columns);
    let (Some(map), Some(extent)) = (
        kernel.small_map(),
        extent(kernel, &grid, demand.row_normalised),
    ) else {
        return (Needs::default(), false);
    };
    let scratch = skinny::scratch(demand.rows, demand.columns).max(whole_fine::scratch());
    let needs = Needs {
        scratch: threads * scratch.div_ceil(LANES),
        coarse: Buffers::lines(&extent, map),
        ..Needs::default()
    };
    (needs, extent.whole)
}

/// The coarse computation of every candidate that is to be coupled. In the order of the candidates: what couples its
/// tiles, and whether it would have been coupled if it were finite.
pub(in crate::cpu) fn couple(
    kernel: &CpuKernel,
    pool: &Pool,
    candidates: &[Option<Candidate>],
    parts: &mut Parts<'_>,
) -> Vec<(Option<Coupled>, bool)> {
    let nobody = || candidates.iter().map(|_| (None, false)).collect();
    let (Some(map), Coarse::Polar { fine, .. }) = (kernel.small_map(), kernel.spec().coarse) else {
        return nobody();
    };
    let (matrices, numbers) = resolve(kernel, map, candidates, parts.coarse);
    let crew = Crew::new(kernel.set(), pool, parts.scratch);
    let captures = capture(crew, map, &matrices);
    let mut coupled: Vec<(Option<Coupled>, bool)> = nobody();
    for ((matrix, number), capture) in matrices.iter().zip(numbers).zip(captures) {
        let Some(candidate) = &candidates[number] else {
            continue;
        };
        let mute = is_mute(fine, matrix.extent.rank, &candidate.grid);
        coupled[number] = match capture {
            Capture::NonFinite => (None, true),
            Capture::Nothing => (None, false),
            Capture::Captured(captured) => {
                let factor = if mute { 1.0 } else { candidate.factor };
                let scale = candidate
                    .scale
                    .of(&candidate.grid, whole_of(&candidate.grid));
                let [_, captured_left, added] = matrix.buffers.tall;
                let coupling = Coupling {
                    captured: captured_left,
                    added: (!matrix.extent.whole).then_some((added, (factor * scale) as f32)),
                    right: matrix.buffers.packed,
                    rank: matrix.extent.rank,
                    captured_decay: candidate.captured_decay,
                    mute,
                };
                let coupled = Coupled {
                    coupling,
                    matrix: *matrix,
                    captured,
                    projected: fine == Fine::Projected && !mute,
                    factor,
                };
                (Some(coupled), false)
            }
        };
    }
    coupled
}

/// The matrices with their buffers, one after the other in `lines`, and their numbers.
fn resolve(
    kernel: &CpuKernel,
    map: &SmallMap,
    candidates: &[Option<Candidate>],
    lines: &mut [Line],
) -> (Vec<CoarseMatrix>, Vec<usize>) {
    let mut base = lines.as_mut_ptr().cast::<f32>();
    let (mut matrices, mut numbers) = (Vec::new(), Vec::new());
    for (number, candidate) in candidates.iter().enumerate() {
        let Some(candidate) = candidate else { continue };
        let Some(extent) = extent(kernel, &candidate.grid, candidate.row_normalised) else {
            continue;
        };
        matrices.push(CoarseMatrix {
            extent,
            source: Source {
                advances: false,
                ..candidate.source
            },
            basis: candidate.basis,
            capacity: candidate.capacity,
            refresh: candidate.refresh,
            buffers: Buffers::at(&extent, map, base),
        });
        numbers.push(number);
        // The launch's needs are the sum of all these lines.
        base = base.wrapping_add(Buffers::lines(&extent, map) * LANES);
    }
    (matrices, numbers)
}

fn whole_of(grid: &Grid) -> Rectangle {
    Rectangle {
        row: 0,
        column: 0,
        rows: grid.rows,
        columns: grid.columns,
    }
}

impl Coupled {
    /// What is reported of the matrix.
    pub(super) fn figures(&self, power: f64) -> CoarseFigures {
        let Captured {
            strength,
            nuclear_norm,
            collapsed,
        } = self.captured;
        CoarseFigures {
            nuclear_norm: if power > 0.0 {
                0.0
            } else {
                nuclear_norm as f32
            },
            norm: strength as f32,
            rank: self.matrix.extent.rank,
            collapsed,
        }
    }

    /// Whether the fine part must be complete before the weights change.
    pub(in crate::cpu) fn is_whole(&self) -> bool {
        self.matrix.extent.whole
    }
}

/// Adds the coarse part of a matrix to its mapped tiles, which lie in the workspace, and hands the sum to `sink`; where the
/// whole is still to be normalised it stays in the workspace, and the outcomes become those of one mapped matrix.
pub(in crate::cpu) fn finish_whole(
    kernel: &CpuKernel,
    pool: &Pool,
    grid: Grid,
    (coupled, scale): (&Coupled, Scale),
    sink: Option<&Sink>,
    parts: &mut Parts<'_>,
) {
    let power = kernel.spec().power.to_f64();
    let numbers = Shared(parts.mapped.as_mut_ptr().cast::<f32>());
    let root = |rows: usize, columns: usize| (rows.max(columns) as f64).powf(0.5 - 0.5 * power);
    let scale = if power > 0.0 {
        root(grid.rows, grid.columns)
    } else {
        scale.of(&grid, whole_of(&grid))
    };
    let whole = WholeFine {
        crew: Crew::new(kernel.set(), pool, parts.scratch),
        matrix: &coupled.matrix,
        grid,
        numbers,
        scale: coupled.factor * scale,
        projected: coupled.projected,
    };
    let outcomes = &mut parts.outcomes[..grid.tiles()];
    if power > 0.0 {
        let (height, width) = kernel.spec().tile.effective(grid.rows, grid.columns);
        let strength = coupled.captured.strength;
        let tile = root(height, width);
        whole.scale_tiles(outcomes, |outcome| {
            tile * (outcome.norm / strength).powf(power)
        });
    }
    let in_place = Sink::Plain {
        output: Pointer::F32(numbers.0),
        leading: grid.columns,
    };
    let squares = whole.finish(sink.unwrap_or(&in_place));
    if sink.is_none() {
        for outcome in outcomes.iter_mut() {
            *outcome = Outcome {
                state: State::Mapped,
                norm: 1.0,
                ..Outcome::default()
            };
        }
        outcomes[0].squares = squares;
    }
}

/// The rule of a tile that is the whole matrix.
pub(in crate::cpu) fn whole_scale(scale: Scale) -> Scale {
    match scale {
        Scale::Rule { rule, factor, .. } => Scale::Rule {
            rule,
            factor,
            tile: Tile::Full,
        },
        one => one,
    }
}
