//! The products of interleaved tiles, piece by piece.

use super::Interleaved;
use super::layout::{Symmetric, Tall};
use super::piece::{Finish, Sums, Target, add_diagonal_terms, add_terms};
use crate::cpu::simd::{EDGE, Lanes, Simd};

/// Of a symmetric product: linear times the operand, where that is added, and the factor of the product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights {
    pub(super) linear: Option<f32>,
    pub(super) factor: f32,
}

impl Weights {
    /// `base`: the rows of what is added.
    #[inline(always)]
    fn finish<const ROWS: usize>(self, base: [*mut f32; ROWS]) -> Finish<ROWS> {
        Finish {
            factor: self.factor,
            added: [self.linear.map(|linear| (linear, base)), None],
        }
    }
}

/// What is added to a product, each with its weight.
pub(super) type Added<L> = [Option<(f32, Tall<L>)>; 2];

/// Rows of the next piece when `left` are left, an even number at first: four where there are registers for them, else
/// three and two, never one.
#[inline(always)]
const fn piece_of(wide: bool, left: usize) -> usize {
    match left {
        _ if wide => EDGE,
        2 | 4 => 2,
        _ => 3,
    }
}

/// Calls a method for the pieces that cover `$count` rows.
macro_rules! pieces {
    ($self:ident: $count:expr, $method:ident($($argument:expr),*)) => {
        let (count, mut row) = ($count, 0);
        while row < count {
            let size = piece_of(S::WIDE, count - row);
            match size {
                EDGE if S::WIDE => $self.$method::<EDGE>($($argument,)* row),
                3 if !S::WIDE => $self.$method::<3>($($argument,)* row),
                2 if !S::WIDE => $self.$method::<2>($($argument,)* row),
                _ => {}
            }
            row += size;
        }
    };
}

// SAFETY of every block below: the callers' word; rows, columns and terms lie in the matrices.
impl<S: Simd> Interleaved<'_, S> {
    #[inline(always)]
    fn zeros<const ROWS: usize>(&self) -> Sums<<S::Lanes as Lanes>::Numbers, ROWS> {
        [[self.simd.lanes().same(0.0); EDGE]; ROWS]
    }

    /// gram <- factor X^T X.
    ///
    /// # Safety
    /// Both matrices are of this size, nobody else's, and do not overlap; so for all below.
    #[inline(always)]
    pub(super) unsafe fn inner_products(
        &self,
        x: Tall<S::Lanes>,
        gram: Symmetric<S::Lanes>,
        factor: f32,
    ) {
        let weights = Weights {
            linear: None,
            factor,
        };
        for column in 0..self.size.across {
            // SAFETY: see above.
            unsafe {
                pieces!(self: column * EDGE, inner_products_piece(x, gram, weights, column));
                let mut sums = self.zeros();
                for k in 0..self.size.down {
                    let terms = x.transposed(column * EDGE, k);
                    add_diagonal_terms(self.simd.lanes(), terms, &mut sums);
                }
                self.store_diagonal(
                    sums,
                    gram,
                    weights.finish(gram.rows(column * EDGE, column)),
                    column,
                );
            }
        }
    }

    /// `ROWS` rows of [`Self::inner_products`] above the diagonal.
    #[inline(always)]
    unsafe fn inner_products_piece<const ROWS: usize>(
        &self,
        x: Tall<S::Lanes>,
        gram: Symmetric<S::Lanes>,
        weights: Weights,
        column: usize,
        row: usize,
    ) {
        let mut sums = self.zeros::<ROWS>();
        for k in 0..self.size.down {
            let (left, right) = (x.transposed(row, k), x.transposed(column * EDGE, k));
            // SAFETY: see above.
            unsafe { add_terms(self.simd.lanes(), left, right, &mut sums) }
        }
        let finish = weights.finish(gram.rows(row, column));
        // SAFETY: see above.
        unsafe { self.store_above(sums, gram, finish, column, row) }
    }

    /// to <- linear A + factor A^2.
    /// # Safety
    /// As [`Self::inner_products`].
    #[inline(always)]
    pub(super) unsafe fn square(
        &self,
        a: Symmetric<S::Lanes>,
        to: Symmetric<S::Lanes>,
        weights: Weights,
    ) {
        let (lanes, across) = (self.simd.lanes(), self.size.across);
        for column in 0..across {
            let first = column * EDGE;
            let straight = a.straight_rows(first);
            // SAFETY: see above.
            unsafe {
                pieces!(self: first, square_piece(a, to, weights, column));
                let mut sums = self.zeros();
                for k in 0..straight {
                    add_diagonal_terms(lanes, a.straight(first, k), &mut sums);
                }
                for k in straight..across {
                    add_diagonal_terms(lanes, a.turned(first, k), &mut sums);
                }
                self.store_diagonal(sums, to, weights.finish(a.rows(first, column)), column);
            }
        }
    }

    /// `ROWS` rows of [`Self::square`] above the diagonal.
    #[inline(always)]
    unsafe fn square_piece<const ROWS: usize>(
        &self,
        a: Symmetric<S::Lanes>,
        to: Symmetric<S::Lanes>,
        weights: Weights,
        column: usize,
        row: usize,
    ) {
        let (lanes, first) = (self.simd.lanes(), column * EDGE);
        let mut sums = self.zeros::<ROWS>();
        // The rows lie above the column: they are turned first.
        let (left, right) = (a.straight_rows(row), a.straight_rows(first));
        // SAFETY: see above.
        unsafe {
            for k in 0..left {
                add_terms(lanes, a.straight(row, k), a.straight(first, k), &mut sums);
            }
            for k in left..right {
                add_terms(lanes, a.turned(row, k), a.straight(first, k), &mut sums);
            }
            for k in right..self.size.across {
                add_terms(lanes, a.turned(row, k), a.turned(first, k), &mut sums);
            }
            self.store_above(sums, to, weights.finish(a.rows(row, column)), column, row);
        }
    }

    /// to <- factor X B, plus what is `added`, the first first.
    /// # Safety
    /// As [`Self::inner_products`]; `to` may be what is added.
    #[inline(always)]
    pub(super) unsafe fn multiply(
        &self,
        x: Tall<S::Lanes>,
        b: Symmetric<S::Lanes>,
        to: Tall<S::Lanes>,
        factor: f32,
        added: Added<S::Lanes>,
    ) {
        // SAFETY: see above.
        unsafe {
            pieces!(self: self.size.down * EDGE, multiply_rows(x, b, to, factor, added));
        }
    }

    /// `ROWS` rows of [`Self::multiply`].
    #[inline(always)]
    unsafe fn multiply_rows<const ROWS: usize>(
        &self,
        x: Tall<S::Lanes>,
        b: Symmetric<S::Lanes>,
        to: Tall<S::Lanes>,
        factor: f32,
        added: Added<S::Lanes>,
        row: usize,
    ) {
        let lanes = self.simd.lanes();
        for column in 0..self.size.across {
            let first = column * EDGE;
            let straight = b.straight_rows(first);
            let mut sums = self.zeros::<ROWS>();
            // SAFETY: see above.
            unsafe {
                for k in 0..straight {
                    add_terms(lanes, x.direct(row, k), b.straight(first, k), &mut sums);
                }
                for k in straight..self.size.across {
                    add_terms(lanes, x.direct(row, k), b.turned(first, k), &mut sums);
                }
                let to = Target {
                    rows: to.rows(row, column),
                    mirror: None,
                    diagonal: false,
                };
                let rows = |(weight, matrix): (f32, Tall<_>)| (weight, matrix.rows(row, column));
                let added = [added[0].map(rows), added[1].map(rows)];
                Finish { factor, added }.store(lanes, sums, to);
            }
        }
    }

    /// Stores a block on the diagonal.
    /// # Safety
    /// As [`Self::inner_products`].
    #[inline(always)]
    unsafe fn store_diagonal(
        &self,
        sums: Sums<<S::Lanes as Lanes>::Numbers, EDGE>,
        to: Symmetric<S::Lanes>,
        finish: Finish<EDGE>,
        column: usize,
    ) {
        let to = Target {
            rows: to.rows(column * EDGE, column),
            mirror: None,
            diagonal: true,
        };
        // SAFETY: see above.
        unsafe { finish.store(self.simd.lanes(), sums, to) }
    }

    /// Stores rows above the diagonal.
    /// # Safety
    /// As [`Self::inner_products`].
    #[inline(always)]
    unsafe fn store_above<const ROWS: usize>(
        &self,
        sums: Sums<<S::Lanes as Lanes>::Numbers, ROWS>,
        to: Symmetric<S::Lanes>,
        finish: Finish<ROWS>,
        column: usize,
        row: usize,
    ) {
        let to = Target {
            rows: to.rows(row, column),
            mirror: to.mirror(row, column),
            diagonal: false,
        };
        // SAFETY: see above.
        unsafe { finish.store(self.simd.lanes(), sums, to) }
    }
}
