//! A fine part that is complete before the weights change: taken out of both spans, or normalised with the coarse part
//! as a whole.
//!
//! With F the scaled tiles, Q2 = F V' and Q1 = F^T P, what lies outside of both spans is
//! `F - P Q1^T - (Q2 - P P^T Q2) V'^T`, so that the update is `F + Z V'^T - P Q1^T` with
//! `Z = P (scale S + P^T Q2) - Q2`: two products of r columns to make Q1 and Q2, two to apply them.

use super::capture::Crew;
use super::matrix::CoarseMatrix;
use super::orthonormal::inner_products;
use super::skinny::{ColumnBlock, RowBlock, Whole, block_edge};
use super::small::fill_panels;
use crate::cpu::ahead::Asked;
use crate::cpu::elementwise as pass;
use crate::cpu::job::{Grid, Outcome, State};
use crate::cpu::layout::Panels;
use crate::cpu::load::{Rectangle, Source, load};
use crate::cpu::product::{Affine, Finish, SUM_BLOCK, UpdatePart, update};
use crate::cpu::simd::{LANES, Shared, Simd, WithSimd};
use crate::cpu::storage::Pointer;
use crate::cpu::store::{Sink, store};

/// Rows and columns of a block of the last pass.
const BLOCK: (usize, usize) = (32, 256);

/// Numbers of scratch for the last pass.
pub(super) fn scratch() -> usize {
    2 * BLOCK.0 * BLOCK.1
}

/// The mapped tiles of one matrix, contiguous, with what couples them.
pub(super) struct WholeFine<'a> {
    pub(super) crew: Crew<'a>,
    pub(super) matrix: &'a CoarseMatrix,
    pub(super) grid: Grid,
    /// F, H x W.
    pub(super) numbers: Shared<f32>,
    /// Scale of the coarse part.
    pub(super) scale: f64,
    /// Whether F is taken out of both spans.
    pub(super) projected: bool,
}

impl WholeFine<'_> {
    /// F <- F times a factor of each tile.
    pub(super) fn scale_tiles(
        &self,
        outcomes: &[Outcome],
        factor: impl Fn(&Outcome) -> f64 + Sync,
    ) {
        let numbers = self.numbers;
        self.crew.pool.for_each(self.grid.tiles(), |_, tile| {
            let rectangle = self.grid.rectangle(tile);
            let outcome = &outcomes[tile];
            let factor = if outcome.state == State::Mapped {
                factor(outcome) as f32
            } else {
                0.0
            };
            for row in rectangle.row..rectangle.row + rectangle.rows {
                let start = row * self.grid.columns + rectangle.column;
                // SAFETY: the row of the tile lies in F, and is this thread's alone.
                let row =
                    unsafe { std::slice::from_raw_parts_mut(numbers.at(start), rectangle.columns) };
                row.iter_mut().for_each(|number| *number *= factor);
            }
        });
    }

    /// Hands the sum of both parts to `sink`; the sum of its squares.
    pub(super) fn finish(&self, sink: &Sink) -> f64 {
        let buffers = &self.matrix.buffers;
        if self.projected {
            self.project();
        }
        let [_, spare, added] = buffers.tall;
        let (left, scale) = if self.projected {
            (spare, 1.0)
        } else {
            (added, self.scale as f32)
        };
        let (rows, columns) = (self.grid.rows, self.grid.columns);
        let across = columns.div_ceil(BLOCK.1);
        let blocks = rows.div_ceil(BLOCK.0) * across;
        let mut squares = vec![0.0; blocks];
        let places = Shared(squares.as_mut_ptr());
        self.crew.pool.for_each(blocks, |worker, number| {
            let (row, column) = (number / across * BLOCK.0, number % across * BLOCK.1);
            let sum = self.crew.set.with(LastPass {
                whole: self,
                rectangle: Rectangle {
                    row,
                    column,
                    rows: BLOCK.0.min(rows - row),
                    columns: BLOCK.1.min(columns - column),
                },
                left,
                scale,
                sink,
                scratch: self.crew.scratch(worker),
            });
            // SAFETY: one place for each block.
            unsafe { *places.at(number) = sum }
        });
        squares.iter().sum()
    }

    fn source(&self) -> Source {
        Source {
            gradient: Pointer::F32(self.numbers.0),
            gradient_leading: self.grid.columns,
            momentum: None,
            mu: 0.0,
            c: 1.0,
            alpha: 1.0,
            beta: 0.0,
            rounds: false,
            advances: false,
        }
    }

    /// Q1, Q2 and Z: Z over the second H x r buffer, Q1^T into the second flat one.
    fn project(&self) {
        let (crew, matrix) = (self.crew, self.matrix);
        let buffers = &matrix.buffers;
        let extent = &matrix.extent;
        let source = self.source();
        let size = Whole {
            rows: extent.rows,
            columns: extent.columns,
        };
        let row_blocks = extent.rows.div_ceil(block_edge(extent.columns));
        let column_blocks = extent.columns.div_ceil(block_edge(extent.rows));
        crew.for_each(&[row_blocks, column_blocks], |worker, list, number| {
            let scratch = crew.scratch(worker);
            if list == 0 {
                crew.set.with(RowBlock {
                    source: &source,
                    matrix: size,
                    number,
                    right: buffers.wide[1],
                    output: buffers.tall[2],
                    panels: extent.panels(),
                    scratch,
                });
            } else {
                crew.set.with(ColumnBlock {
                    source: &source,
                    matrix: size,
                    number,
                    right: buffers.tall[0],
                    output: buffers.wide[0],
                    panels: extent.panels(),
                    scratch,
                });
            }
        });
        crew.set.with(Correction(self));
    }
}

/// Z and the flat Q1^T.
struct Correction<'a>(&'a WholeFine<'a>);

impl WithSimd for Correction<'_> {
    type Output = ();
    fn with<S: Simd>(self, simd: S) {
        let WholeFine { matrix, scale, .. } = *self.0;
        let buffers = &matrix.buffers;
        let extent = &matrix.extent;
        let (rows, rank) = (extent.rows, extent.rank);
        let [left, z, inner] = buffers.tall;
        let (across, _) = matrix.factors();
        // SAFETY: the buffers are the calling thread's between two phases.
        unsafe {
            inner_products(simd, left, inner, rows, rank, across);
            let s = buffers.small[1];
            let small = buffers.small[0];
            fill_panels(small, rank, rank, |i, j| {
                let s = f64::from(*s.row(j / LANES, i).add(j % LANES));
                (scale * s + across[i * rank + j]) as f32
            });
            let finish = Affine {
                base: inner,
                linear: -1.0,
                factor: 1.0,
            };
            update::<S, false>(
                simd,
                UpdatePart {
                    left,
                    right: small,
                    depth: rank,
                    output: z,
                    rows: 0..rows,
                    columns: 0..extent.panels(),
                    width: 3,
                    sum: SUM_BLOCK,
                    asked: Asked::NOTHING,
                },
                Finish::Affine(finish),
            );
            buffers.flat[1].fill(buffers.wide[0], extent.columns);
        }
    }
}

/// One block of the sum.
struct LastPass<'a> {
    whole: &'a WholeFine<'a>,
    rectangle: Rectangle,
    left: Panels,
    scale: f32,
    sink: &'a Sink,
    scratch: *mut f32,
}

impl WithSimd for LastPass<'_> {
    /// The sum of the squares.
    type Output = f64;
    fn with<S: Simd>(self, simd: S) -> f64 {
        let Rectangle { rows, columns, .. } = self.rectangle;
        let buffers = &self.whole.matrix.buffers;
        let rank = self.whole.matrix.extent.rank;
        let block = |number: usize| Panels {
            start: self.scratch.wrapping_add(number * BLOCK.0 * BLOCK.1),
            stride: BLOCK.0 * LANES,
        };
        let (mut sum, mut spare) = (block(0), block(1));
        let mut terms = vec![(self.left, buffers.flat[0], self.scale)];
        if self.whole.projected {
            terms.push((buffers.tall[0], buffers.flat[1], -1.0));
        }
        let panels = columns.div_ceil(LANES);
        // SAFETY: F, the sink and this thread's scratch hold the block; nobody else has this part of them.
        unsafe {
            load(simd, &self.whole.source(), &self.rectangle, sum, None);
            for (left, right, factor) in terms {
                let right = right.column(self.rectangle.column / LANES);
                let finish = Affine {
                    base: sum,
                    linear: 1.0,
                    factor,
                };
                update::<S, false>(
                    simd,
                    UpdatePart {
                        left: Panels {
                            start: left.row(0, self.rectangle.row),
                            ..left
                        },
                        right,
                        depth: rank,
                        output: spare,
                        rows: 0..rows,
                        columns: 0..panels,
                        width: 3,
                        sum: SUM_BLOCK,
                        asked: Asked::NOTHING,
                    },
                    Finish::Affine(finish),
                );
                std::mem::swap(&mut sum, &mut spare);
            }
            store(simd, self.sink, &self.rectangle, sum, 1.0);
            f64::from(pass::product(simd, sum, sum, panels, rows, 1.0))
        }
    }
}
