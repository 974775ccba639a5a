//! Q R = A with orthonormal columns, by Cholesky-QR twice.
//!
//! The Gram matrix of A is formed in f64 (products of two f32 are exact there), its Cholesky factor R1 inverted in f64,
//! and A R1^-1 computed in f32; its columns are orthonormal up to 6e-8 cond(A), and a second round makes them so up to
//! rounding ("Cholesky-QR2": Fukaya, Nakatsukasa, Yanagisawa, Yamamoto, 2014). With the collapse of columns at
//! [`COLLAPSE`] cond(A) is at most about 1e5, so that the second round starts near the identity.

use super::small::{Square, fill_panels};
use crate::coarse::{COLLAPSE, SMALLEST};
use crate::cpu::ahead::Asked;
use crate::cpu::layout::{AnyShape, Panels, Shape};
use crate::cpu::product::{Finish, SUM_BLOCK, Scaled, UpdatePart, update};
use crate::cpu::simd::{LANES, Simd, leaf};

/// What one factorisation works with; r is the number of columns.
pub(super) struct Factorisation<'a> {
    pub(super) rows: usize,
    pub(super) rank: usize,
    /// A, which becomes Q.
    pub(super) matrix: Panels,
    /// As large as A.
    pub(super) spare: Panels,
    /// r x r in panels.
    pub(super) small: Panels,
    /// R.
    pub(super) factor: &'a mut [f64],
    /// Two r x r matrices.
    pub(super) scratch: &'a mut [f64],
}

impl Factorisation<'_> {
    /// Q over A, and R; how many columns collapsed, which are zero in Q and have a zero row in R. `None` where a number
    /// is not finite; then A is any.
    ///
    /// # Safety
    /// `matrix` and `spare` have the rows and the panels of r columns, `small` those of an r x r matrix; all are the
    /// caller's alone.
    pub(super) unsafe fn run<S: Simd>(&mut self, simd: S) -> Option<usize> {
        let size = self.rank * self.rank;
        let (gram, inverse) = self.scratch.split_at_mut(size);
        let inverse = &mut inverse[..size];
        let mut collapsed = 0;
        for round in 0..2 {
            let (from, to) = if round == 0 {
                (self.matrix, self.spare)
            } else {
                (self.spare, self.matrix)
            };
            // SAFETY: the caller's word.
            unsafe { inner_products(simd, from, from, self.rows, self.rank, gram) };
            if gram.iter().any(|g| !g.is_finite()) {
                return None;
            }
            collapsed = cholesky(self.rank, gram);
            invert(self.rank, gram, inverse);
            if round == 0 {
                self.factor.copy_from_slice(gram);
            } else {
                Square(self.rank).multiply_upper(gram, self.factor);
            }
            let shape = AnyShape {
                rows: self.rank,
                columns: self.rank,
            };
            // SAFETY: the caller's word; `from` and `to` are two buffers.
            unsafe {
                fill_panels(self.small, self.rank, self.rank, |i, j| {
                    inverse[i * self.rank + j] as f32
                });
                update::<S, false>(
                    simd,
                    UpdatePart {
                        left: from,
                        right: self.small,
                        depth: self.rank,
                        output: to,
                        rows: 0..self.rows,
                        columns: 0..shape.panels(),
                        width: 3,
                        sum: SUM_BLOCK,
                        asked: Asked::NOTHING,
                    },
                    Finish::Scaled(Scaled { factor: 1.0 }),
                );
            }
        }
        Some(collapsed)
    }
}

/// output (size x size, row by row) <- A^T B in f64, both of `rows` rows and `size` columns; every sum ascends over rows.
///
/// # Safety
/// Both matrices have the rows and the panels of `size` columns, zeros beyond them.
pub(super) unsafe fn inner_products<S: Simd>(
    simd: S,
    a: Panels,
    b: Panels,
    rows: usize,
    size: usize,
    output: &mut [f64],
) {
    let panels = size.div_ceil(LANES);
    for left in 0..panels {
        for right in 0..panels {
            let mut block = [[0.0; LANES]; LANES];
            // SAFETY: the caller's word.
            unsafe { block_products(simd, a, b, rows, left, right, &raw mut block) };
            for (i, row) in block.iter().enumerate().take(size - LANES * left) {
                let start = (LANES * left + i) * size + LANES * right;
                let count = LANES.min(size - LANES * right);
                output[start..start + count].copy_from_slice(&row[..count]);
            }
        }
    }
}

leaf! {
    /// One block of sixteen columns of A by sixteen of B.
    /// # Safety
    /// As [`inner_products`]; `output` is writable.
    unsafe fn block_products(
        _simd: S,
        a: Panels,
        b: Panels,
        rows: usize,
        left: usize,
        right: usize,
        output: *mut [[f64; LANES]; LANES],
    ) {
        const AT_A_TIME: usize = 4;
        for first in (0..LANES).step_by(AT_A_TIME) {
            let mut sums = [[0.0; LANES]; AT_A_TIME];
            for row in 0..rows {
                // SAFETY: the row exists in both panels, sixteen numbers each.
                let (l, r) = unsafe {
                    let l = a.row(left, row).add(first).cast::<[f32; AT_A_TIME]>();
                    (l.read_unaligned(), b.row(right, row).cast::<[f32; LANES]>().read_unaligned())
                };
                for (sums, l) in sums.iter_mut().zip(l) {
                    for (sum, r) in sums.iter_mut().zip(r) {
                        // Exact product: fused or not, the same bits.
                        *sum += f64::from(l) * f64::from(r);
                    }
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                // SAFETY: the caller's word.
                unsafe { (*output)[first + i] = sums }
            }
        }
    }
}

/// The upper Cholesky factor R over a Gram matrix R^T R; how many columns collapsed.
fn cholesky(size: usize, gram: &mut [f64]) -> usize {
    let longest = (0..size).map(|j| gram[j * size + j]).fold(0.0, f64::max);
    let limit = (COLLAPSE * COLLAPSE * longest).max(if longest <= SMALLEST * SMALLEST {
        f64::INFINITY
    } else {
        0.0
    });
    let mut collapsed = 0;
    for j in 0..size {
        let mut pivot = gram[j * size + j];
        for k in 0..j {
            pivot -= gram[k * size + j] * gram[k * size + j];
        }
        let is_collapsed = pivot <= limit;
        collapsed += usize::from(is_collapsed);
        let inverse = if is_collapsed {
            0.0
        } else {
            1.0 / pivot.sqrt()
        };
        for i in j + 1..size {
            let mut value = gram[j * size + i];
            for k in 0..j {
                value -= gram[k * size + j] * gram[k * size + i];
            }
            gram[j * size + i] = value * inverse;
        }
        gram[j * size + j] = if is_collapsed { 0.0 } else { pivot.sqrt() };
        for below in &mut gram[j * size..j * size + j] {
            *below = 0.0;
        }
    }
    collapsed
}

/// The inverse of an upper triangular matrix on the columns that did not collapse, zero on the others.
fn invert(size: usize, upper: &[f64], inverse: &mut [f64]) {
    inverse.fill(0.0);
    for j in (0..size).filter(|j| upper[j * size + j] > 0.0) {
        inverse[j * size + j] = 1.0 / upper[j * size + j];
        for i in (0..j).rev().filter(|i| upper[i * size + i] > 0.0) {
            let mut sum = 0.0;
            for k in i + 1..=j {
                sum += upper[i * size + k] * inverse[k * size + j];
            }
            inverse[i * size + j] = -sum / upper[i * size + i];
        }
    }
}
