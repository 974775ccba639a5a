//! The work of a launch, resolved to addresses: what one thread needs to process any range of tiles.

use super::coarse::Coupling;
use super::interleaved;
use super::layout::AnyShape;
use super::load::{Rectangle, Source};
use super::recurrence;
use super::simd::LANES;
use super::store::Sink;
use super::team::is_large;
use super::variant::{CpuVariant, tiles_at_a_time};
use crate::launch::{LaunchReport, ScaleRule, TileDiagnostics};
use himuon_templates::{Criterion, Measure, Mode, Scope, StepTable, Tile};

/// What all tiles of a launch have in common.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) table: StepTable,
    pub(super) power: f64,
    pub(super) tile: Tile,
    pub(super) criterion: Criterion,
    pub(super) mode: Mode,
    pub(super) variant: CpuVariant,
}

impl Map {
    /// Whether a rows x columns tile is turned before it is mapped. A square tile is turned where the
    /// published map distinguishes X X^T from X^T X: by `turbo`'s rescale, or by its rounding points.
    pub(super) fn turns(&self, rows: usize, columns: usize) -> bool {
        if rows == columns {
            matches!(self.table, StepTable::Turbo(_)) || self.mode == Mode::Reference
        } else {
            rows < columns
        }
    }

    /// The size of a tile as it is mapped.
    pub(super) fn oriented(&self, rows: usize, columns: usize) -> AnyShape {
        AnyShape {
            rows: rows.max(columns),
            columns: rows.min(columns),
        }
    }

    /// The measure that is taken of each tile.
    pub(super) fn tile_measure(&self) -> Option<(Measure, f64)> {
        match &self.criterion {
            Criterion::Tested {
                measure,
                threshold,
                scope: Scope::Tile,
                ..
            } => Some((*measure, f64::from(threshold.get()))),
            _ => None,
        }
    }

    /// Whether X must outlive the recurrence.
    pub(super) fn keeps(&self, diagnostics: bool) -> bool {
        diagnostics || matches!(self.tile_measure(), Some((Measure::NuclearRank, _)))
    }

    /// Numbers of scratch that one thread needs for tiles of this size.
    fn scratch(&self, rows: usize, columns: usize, kept: bool) -> usize {
        let shape = self.oriented(rows, columns);
        let batch = self.batch_of(rows, columns);
        let slots = recurrence::slots(&self.table, kept);
        let interleaved = match self.interleaves(rows, columns) {
            true => interleaved::length(shape.rows, shape.columns, batch, slots),
            false => 0,
        };
        slots.length(shape) * batch + interleaved
    }

    /// Lines of scratch that a pool needs for tiles of this size: each thread its own, or all together one tile.
    pub(super) fn lines(&self, rows: usize, columns: usize, kept: bool, threads: usize) -> usize {
        let one = self.scratch(rows, columns, kept).div_ceil(LANES);
        // A pool's threads take equal parts, of whatever the largest need of a launch is.
        if is_large(rows, columns) {
            one
        } else {
            one * threads
        }
    }

    /// How many tiles of this size are worked on at a time.
    pub(super) fn batch_of(&self, rows: usize, columns: usize) -> usize {
        match self.interleaves(rows, columns) {
            true => self.variant.instruction_set.interleaved_tiles(),
            false => tiles_at_a_time(self.variant.batch.into(), rows, columns),
        }
    }

    /// Whether tiles of this size share registers, which they do where every one of them is mapped.
    pub(super) fn interleaves(&self, rows: usize, columns: usize) -> bool {
        self.variant
            .interleaves(&self.table, self.mode, &self.criterion, (rows, columns))
    }
}

/// How a matrix is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Size of a whole tile, at most the matrix.
    pub(super) tile_rows: usize,
    pub(super) tile_columns: usize,
    /// Tiles in a row of tiles.
    pub(super) across: usize,
    /// Rows of tiles.
    pub(super) down: usize,
}

impl Grid {
    pub(super) fn new(tile: Tile, rows: usize, columns: usize) -> Grid {
        let (tile_rows, tile_columns) = tile.effective(rows, columns);
        Grid {
            rows,
            columns,
            tile_rows,
            tile_columns,
            across: columns.div_ceil(tile_columns),
            down: rows.div_ceil(tile_rows),
        }
    }

    pub(super) fn tiles(&self) -> usize {
        self.across * self.down
    }

    /// Tile number `tile`, row by row.
    pub(super) fn rectangle(&self, tile: usize) -> Rectangle {
        let row = tile / self.across * self.tile_rows;
        let column = tile % self.across * self.tile_columns;
        Rectangle {
            row,
            column,
            rows: self.tile_rows.min(self.rows - row),
            columns: self.tile_columns.min(self.columns - column),
        }
    }
}

/// What the mapped tiles are multiplied with before they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    /// 1, whatever the tile.
    One,
    /// The rule of the group.
    Rule {
        rule: ScaleRule,
        factor: f32,
        /// The tile as specified, which may be larger than the matrix.
        tile: Tile,
    },
}

impl Scale {
    pub(super) fn of(self, grid: &Grid, rectangle: Rectangle) -> f64 {
        let root = |a: usize, b: usize| (a.max(b) as f64).sqrt();
        let Scale::Rule { rule, factor, tile } = self else {
            return 1.0;
        };
        let factor = f64::from(factor);
        match rule {
            ScaleRule::Exact => factor * root(rectangle.rows, rectangle.columns),
            ScaleRule::Paper => match tile {
                // A tile that covers the matrix in both dimensions is the matrix.
                Tile::Sized { rows, columns } if grid.tiles() > 1 => {
                    factor * root(rows as usize, columns as usize)
                }
                _ => factor * root(grid.rows, grid.columns),
            },
            ScaleRule::Original => (grid.rows as f64 / grid.columns as f64).max(1.0).sqrt(),
            ScaleRule::MatchRmsAdamW => factor * root(grid.rows, grid.columns),
            ScaleRule::None => 1.0,
        }
    }
}

/// What became of a tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    NonFinite,
    /// The criterion did not hold.
    Unorthogonalised,
    Mapped,
}

/// What became of a tile, with its figures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) state: State,
    /// ||M||_F.
    pub(super) norm: f64,
    /// <X, O>.
    pub(super) inner_product: f64,
    /// ||O||_F^2.
    pub(super) squares: f64,
}

impl Outcome {
    pub(super) fn diagnostics(&self) -> TileDiagnostics {
        TileDiagnostics {
            norm: self.norm as f32,
            inner_product: self.inner_product as f32,
            mapped_norm_squared: self.squares as f32,
            non_finite: self.state == State::NonFinite,
            orthogonalised: self.state == State::Mapped,
        }
    }
}

/// One matrix of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) grid: Grid,
    pub(super) source: Source,
    pub(super) sink: Sink,
    pub(super) scale: Scale,
    /// The decision of a criterion whose scope is the matrix.
    pub(super) decided: Option<bool>,
    /// What the coarse part does to each tile.
    pub(super) coupling: Option<Coupling>,
    /// One for each tile, where somebody wants them; each is written once.
    pub(super) outcomes: Option<*mut Outcome>,
}

// SAFETY: addresses only; the launch hands each tile, and with it its part of every tensor and its outcome,
// to one thread.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

/// Counts that threads add up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) non_finite: usize,
    pub(super) unorthogonalised: usize,
    /// Matrices.
    pub(super) uncoupled: usize,
}

impl Counts {
    pub(super) fn add(&mut self, state: State) {
        match state {
            State::NonFinite => self.non_finite += 1,
            State::Unorthogonalised => self.unorthogonalised += 1,
            State::Mapped => {}
        }
    }

    pub(super) fn merge(&mut self, other: Counts) {
        self.non_finite += other.non_finite;
        self.unorthogonalised += other.unorthogonalised;
        self.uncoupled += other.uncoupled;
    }

    pub(super) fn report(self, tiles: usize) -> LaunchReport {
        LaunchReport {
            kernels: 1,
            pending: false,
            tiles,
            non_finite_tiles: self.non_finite,
            unorthogonalised_tiles: self.unorthogonalised,
            uncoupled_matrices: self.uncoupled,
        }
    }
}
