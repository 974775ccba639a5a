//! What needs a whole matrix before its weights change: Muon^p (p > 0, arXiv 2606.13867), whose tiles keep their
//! proportions and are normalised together, and NorMuon's row normalisation (arXiv 2510.05491).
//!
//! 1. Every tile is mapped to `v`, with the momentum on the way.
//! 2. u_t = (f_t / max f)^p v_t. Row normalisation: s_i <- b2 s_i + (1 - b2) mean_j u_ij^2, row i divided by
//!    sqrt(s_i) + eps (for p > 0 the RMS of u is set to 1 first, so that s has a scale).
//! 3. The RMS of u over the matrix is set to the scale factor, and the weights change.
//!
//! Sums run in `f64` in a fixed order. Non-finite tiles and tiles that stay M itself take no part in any
//! norm or mean; the latter are subtracted as they are.

use super::dispatch;
use super::job::{Counts, Grid, Job, Outcome, Scale, State};
use super::kernel::CpuKernel;
use super::load::Rectangle;
use super::pool::Pool;
use super::simd::{LANES, Line, Shared, Simd, WithSimd, leaf};
use super::storage::{Pointer, read};
use super::store::{Sink, store_row};
use super::workspace::Parts;
use crate::launch::RowNormalisation;

/// Where the normalised matrix goes.
#[derive(Debug)]
pub(super) enum WholeSink<'a> {
    /// Into the weight.
    Update(Sink),
    /// To memory, contiguous.
    Write(&'a mut [f32]),
}

/// One matrix, mapped to `v` in the workspace.
pub(super) struct WholeMatrix<'a> {
    kernel: &'a CpuKernel,
    pool: &'a Pool,
    grid: Grid,
    scratch: &'a mut [Line],
    mapped: &'a mut [Line],
    outcomes: &'a mut [Outcome],
    /// Sum of the squares of each row of u.
    squares: &'a mut [f64],
    /// What each row is divided by.
    divisors: &'a mut [f64],
}

impl<'a> WholeMatrix<'a> {
    pub(super) fn new(
        kernel: &'a CpuKernel,
        pool: &'a Pool,
        grid: Grid,
        parts: &'a mut Parts<'_>,
    ) -> Self {
        let (squares, divisors) = parts.rows.split_at_mut(parts.rows.len() / 2);
        WholeMatrix {
            kernel,
            pool,
            grid,
            scratch: &mut *parts.scratch,
            mapped: &mut *parts.mapped,
            outcomes: &mut parts.outcomes[..grid.tiles()],
            squares: &mut squares[..grid.rows],
            divisors: &mut divisors[..grid.rows],
        }
    }

    /// Maps every tile to `v`.
    pub(super) fn map(&mut self, job: Job) -> Counts {
        let job = Job {
            sink: Sink::Plain {
                output: Pointer::F32(self.mapped.as_mut_ptr().cast()),
                leading: self.grid.columns,
            },
            scale: Scale::One,
            outcomes: Some(self.outcomes.as_mut_ptr()),
            ..job
        };
        // SAFETY: the tensors were checked; `v` and the outcomes are this matrix's.
        unsafe {
            dispatch::run(
                self.kernel.set(),
                self.kernel.resolved(),
                &[job],
                self.pool,
                self.scratch,
            )
        }
    }

    /// What became of the tiles.
    pub(super) fn outcomes(&self) -> &[Outcome] {
        self.outcomes
    }

    /// Normalises `v` and hands it on; `target` is its RMS afterwards.
    pub(super) fn finish(
        &mut self,
        sink: WholeSink<'_>,
        target: f64,
        rows: Option<&mut RowNormalisation<'_>>,
    ) {
        let factors = TileFactors::new(self);
        let count = factors.elements(&self.grid, self.outcomes);
        let mut norm = factors.norm(self.outcomes);
        let unit = if self.kernel.resolved().power > 0.0 && norm > 0.0 {
            (count as f64).sqrt() / norm
        } else {
            1.0
        };
        let has_rows = rows.is_some();
        if let Some(rows) = rows {
            self.sum_rows(&factors, unit);
            norm = self.normalise_rows(&factors, rows);
        } else {
            self.divisors.fill(1.0);
        }
        let base = if has_rows { unit } else { 1.0 };
        let factor = if norm > 0.0 {
            base * target * (count as f64).sqrt() / norm
        } else {
            0.0
        };
        let sink = match sink {
            WholeSink::Update(sink) => sink,
            WholeSink::Write(output) => {
                output.fill(0.0);
                Sink::Plain {
                    output: Pointer::F32(output.as_mut_ptr()),
                    leading: self.grid.columns,
                }
            }
        };
        self.store_rows(&factors, factor, &sink);
    }

    /// The sum of the squares of each row of unit u.
    fn sum_rows(&mut self, factors: &TileFactors, unit: f64) {
        let set = self.kernel.set();
        let rows = Shared(self.squares.as_mut_ptr());
        let view = self.view();
        self.pool.for_each(self.grid.rows, |_, row| {
            let sum = set.with(RowSquares {
                view,
                factors,
                row,
                unit,
            });
            // SAFETY: one number for each row.
            unsafe { *rows.at(row) = sum }
        });
    }

    /// Updates the row second moments; the norm of u divided by them.
    fn normalise_rows(&mut self, factors: &TileFactors, rows: &mut RowNormalisation<'_>) -> f64 {
        let mut total = 0.0;
        for row in 0..self.grid.rows {
            let tiles = row / self.grid.tile_rows * self.grid.across;
            let counted: usize = (tiles..tiles + self.grid.across)
                .filter(|tile| factors.of(*tile, &self.outcomes[*tile]).is_some())
                .map(|tile| self.grid.rectangle(tile).columns)
                .sum();
            self.divisors[row] = 1.0;
            if counted == 0 {
                continue;
            }
            let mean = self.squares[row] / counted as f64;
            let beta2 = f64::from(rows.beta2);
            let moment = &mut rows.second_moment[row];
            *moment = (beta2 * f64::from(*moment) + (1.0 - beta2) * mean) as f32;
            let divisor = f64::from(*moment).sqrt() + f64::from(rows.epsilon);
            if divisor > 0.0 {
                self.divisors[row] = divisor;
            }
            total += self.squares[row] / (self.divisors[row] * self.divisors[row]);
        }
        total.sqrt()
    }

    /// Stores every row.
    fn store_rows(&self, factors: &TileFactors, factor: f64, sink: &Sink) {
        let set = self.kernel.set();
        let view = self.view();
        let divisors = &*self.divisors;
        let outcomes = &*self.outcomes;
        self.pool.for_each(self.grid.rows, |_, row| {
            set.with(StoreRow {
                view,
                factors,
                outcomes,
                row,
                factor: factor / divisors[row],
                sink,
            });
        });
    }

    fn view(&self) -> View<'_> {
        View {
            grid: self.grid,
            numbers: Shared(self.mapped.as_ptr().cast_mut().cast()),
            outcomes: self.outcomes,
        }
    }
}

/// `v`, to be read.
#[derive(Clone, Copy)]
struct View<'a> {
    grid: Grid,
    numbers: Shared<f32>,
    outcomes: &'a [Outcome],
}

impl View<'_> {
    /// The tiles of a row: number, first column and columns.
    fn tiles(&self, row: usize) -> impl Iterator<Item = (usize, Rectangle)> {
        let first = row / self.grid.tile_rows * self.grid.across;
        let grid = self.grid;
        (first..first + grid.across).map(move |tile| (tile, grid.rectangle(tile)))
    }
}

/// What each tile of `v` is multiplied with to give u.
struct TileFactors {
    largest: f64,
    power: f64,
    /// Whether a tile that the criterion left alone is M itself.
    leaves_momentum: bool,
}

impl TileFactors {
    fn new(whole: &WholeMatrix<'_>) -> TileFactors {
        let map = whole.kernel.resolved();
        let finite = whole
            .outcomes
            .iter()
            .filter(|o| o.state != State::NonFinite);
        TileFactors {
            largest: finite.map(|outcome| outcome.norm).fold(0.0, f64::max),
            power: map.power,
            leaves_momentum: map.criterion.leaves_momentum(),
        }
    }

    /// (f_t / max f)^p; `None` for a tile that takes no part.
    fn of(&self, _tile: usize, outcome: &Outcome) -> Option<f64> {
        match outcome.state {
            State::NonFinite => None,
            State::Unorthogonalised if self.leaves_momentum => None,
            _ if self.power == 0.0 => Some(1.0),
            _ if self.largest > 0.0 => Some((outcome.norm / self.largest).powf(self.power)),
            _ => Some(0.0),
        }
    }

    /// How many elements take part.
    fn elements(&self, grid: &Grid, outcomes: &[Outcome]) -> usize {
        let counted = outcomes
            .iter()
            .enumerate()
            .filter(|(tile, outcome)| self.of(*tile, outcome).is_some());
        counted
            .map(|(tile, _)| {
                let Rectangle { rows, columns, .. } = grid.rectangle(tile);
                rows * columns
            })
            .sum()
    }

    /// ||u||_F.
    fn norm(&self, outcomes: &[Outcome]) -> f64 {
        let mut squares = 0.0;
        for (tile, outcome) in outcomes.iter().enumerate() {
            let factor = self.of(tile, outcome).unwrap_or(0.0);
            squares += factor * factor * outcome.squares;
        }
        squares.sqrt()
    }
}

/// The sum of the squares of one row of unit u.
struct RowSquares<'a> {
    view: View<'a>,
    factors: &'a TileFactors,
    row: usize,
    unit: f64,
}

impl WithSimd for RowSquares<'_> {
    type Output = f64;
    fn with<S: Simd>(self, simd: S) -> f64 {
        let mut total = 0.0;
        for (tile, rectangle) in self.view.tiles(self.row) {
            let Some(factor) = self.factors.of(tile, &self.view.outcomes[tile]) else {
                continue;
            };
            let start = self.row * self.view.grid.columns + rectangle.column;
            // SAFETY: the row of the tile lies in `v`.
            let squares = unsafe {
                row_squares(
                    simd,
                    self.view.numbers.at(start).cast_const(),
                    rectangle.columns,
                )
            };
            total += factor * factor * self.unit * self.unit * f64::from(squares);
        }
        total
    }
}

leaf! {
    /// Sum of the squares of `count` numbers.
    /// # Safety
    /// They are readable.
    unsafe fn row_squares(simd: S, numbers: *const f32, count: usize) -> f32 {
        let mut sum = simd.splat(0.0);
        for panel in 0..count.div_ceil(LANES) {
            // SAFETY: the caller's word.
            let v = unsafe { read(simd, numbers.add(panel * LANES), count - panel * LANES) };
            sum = simd.fused(v, v, sum);
        }
        simd.to_line(sum).sum()
    }
}

/// Stores one row of factor u.
struct StoreRow<'a> {
    view: View<'a>,
    factors: &'a TileFactors,
    outcomes: &'a [Outcome],
    row: usize,
    factor: f64,
    sink: &'a Sink,
}

impl WithSimd for StoreRow<'_> {
    type Output = ();
    fn with<S: Simd>(self, simd: S) {
        for (tile, rectangle) in self.view.tiles(self.row) {
            let outcome = &self.outcomes[tile];
            let factor = match self.factors.of(tile, outcome) {
                Some(factor) => factor * self.factor,
                None if outcome.state == State::Unorthogonalised => 1.0,
                None => continue,
            };
            let start = self.row * self.view.grid.columns + rectangle.column;
            let row = Rectangle {
                row: self.row,
                rows: 1,
                ..rectangle
            };
            // SAFETY: the row of the tile lies in `v` and in the sink's tensor, and is this thread's alone.
            unsafe { store_row(simd, self.sink, &row, self.view.numbers.at(start), factor) }
        }
    }
}
