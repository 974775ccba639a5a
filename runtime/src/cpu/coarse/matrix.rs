//! One matrix: from its basis to both factors of its coarse part.

use super::buffers::{Buffers, Extent};
use super::orthonormal::Factorisation;
use super::small::{SmallMap, fill_panels};
use crate::coarse::seed;
use crate::cpu::ahead::Asked;
use crate::cpu::layout::Panels;
use crate::cpu::load::Source;
use crate::cpu::product::{Finish, SUM_BLOCK, Scaled, UpdatePart, update};
use crate::cpu::simd::{LANES, Simd, WithSimd};

/// A quarter of the largest `f32`: the Frobenius norm of X bounds every sum of the products with it, which are `f32`.
const LARGEST_STRENGTH: f64 = 8.5e37;

/// A matrix with its basis, resolved to addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct CoarseMatrix {
    pub(super) extent: Extent,
    pub(super) source: Source,
    /// V in the state, W rows.
    pub(super) basis: *mut f32,
    /// Numbers from one row of V to the next.
    pub(super) capacity: usize,
    /// Whether V moves.
    pub(super) refresh: bool,
    pub(super) buffers: Buffers,
}

// SAFETY: only addresses; a phase hands each matrix, or each block of its rows, to one thread.
unsafe impl Send for CoarseMatrix {}
// SAFETY: as above.
unsafe impl Sync for CoarseMatrix {}

/// What a matrix captured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Captured {
    /// ||X||_F: 0 where nothing was captured.
    pub(super) strength: f64,
    /// ||X||_* at p = 0.
    pub(super) nuclear_norm: f64,
    /// Columns of the basis that collapsed and were seeded again.
    pub(super) collapsed: usize,
}

/// Reads the basis; columns of zeros are seeded.
pub(super) struct ReadBasis<'a>(pub(super) &'a CoarseMatrix);
/// P over M V, after all its blocks.
pub(super) struct LeftFactor<'a>(pub(super) &'a CoarseMatrix);
/// V', the r x r map and both left factors, after all blocks of M^T P.
pub(super) struct RightFactor<'a>(pub(super) &'a CoarseMatrix, pub(super) &'a SmallMap);

// SAFETY of every block below: the launch granted buffers and state of the matrix to this thread for this phase.
impl WithSimd for ReadBasis<'_> {
    type Output = ();
    fn with<S: Simd>(self, simd: S) {
        let matrix = self.0;
        let Extent { columns, rank, .. } = matrix.extent;
        let target = matrix.buffers.wide[0];
        // SAFETY: see above.
        unsafe {
            let element = |i: usize, j: usize| *matrix.basis.add(i * matrix.capacity + j);
            fill_panels(target, columns, rank, element);
            matrix.complete(simd, target, matrix.buffers.wide[1]);
        }
    }
}

impl WithSimd for LeftFactor<'_> {
    /// Whether every number is finite.
    type Output = bool;
    fn with<S: Simd>(self, simd: S) -> bool {
        let CoarseMatrix {
            extent, buffers, ..
        } = self.0;
        let (factor, scratch) = self.0.factors();
        let mut qr = Factorisation {
            rows: extent.rows,
            rank: extent.rank,
            matrix: buffers.tall[0],
            spare: buffers.tall[1],
            small: buffers.small[0],
            factor,
            scratch,
        };
        // SAFETY: see above.
        unsafe { qr.run(simd) }.is_some()
    }
}

impl WithSimd for RightFactor<'_> {
    /// Nothing where a number is not finite; then the basis is left alone.
    type Output = Option<Captured>;
    fn with<S: Simd>(self, simd: S) -> Option<Captured> {
        let RightFactor(matrix, map) = self;
        let CoarseMatrix {
            extent, buffers, ..
        } = matrix;
        let Extent { columns, rank, .. } = *extent;
        let (factor, scratch) = matrix.factors();
        let mut captured = Captured::default();
        // SAFETY: see above.
        unsafe {
            if matrix.refresh {
                let mut qr = Factorisation {
                    rows: columns,
                    rank,
                    matrix: buffers.wide[1],
                    spare: buffers.wide[0],
                    small: buffers.small[0],
                    factor,
                    scratch,
                };
                captured.collapsed = qr.run(simd)?;
            } else {
                copy(buffers.wide[0], buffers.wide[1], columns, extent.panels());
            }
            // X: R^T of B, or R of M V where the basis stands still.
            let factor = &*factor;
            let x = |i: usize, j: usize| {
                factor[if matrix.refresh {
                    j * rank + i
                } else {
                    i * rank + j
                }]
            };
            let [x_panels, s_panels] = buffers.small;
            captured.strength = map.run(simd, rank, x, buffers.scratch, s_panels);
            if captured.strength == 0.0 {
                return Some(captured);
            }
            // NaN is none of them.
            if !(0.0..LARGEST_STRENGTH).contains(&captured.strength) {
                return None;
            }
            for i in 0..rank {
                for j in 0..rank {
                    let s = *s_panels.row(j / LANES, i).add(j % LANES);
                    captured.nuclear_norm += x(i, j) * f64::from(s);
                }
            }
            fill_panels(x_panels, rank, rank, |i, j| x(i, j) as f32);
            matrix.multiply(simd, x_panels, buffers.tall[1]);
            matrix.multiply(simd, s_panels, buffers.tall[2]);
            buffers.packed.fill(buffers.wide[1], columns);
            if extent.whole {
                buffers.flat[0].fill(buffers.wide[1], columns);
            }
            if matrix.refresh {
                matrix.write_basis(simd);
            }
        }
        Some(captured)
    }
}

impl CoarseMatrix {
    /// R, and two r x r matrices of scratch, of any content: one thread at a time has them.
    pub(super) fn factors<'a>(self) -> (&'a mut [f64], &'a mut [f64]) {
        let size = self.extent.rank * self.extent.rank;
        // SAFETY: see above; the workspace's numbers are initialised, and there are three r x r matrices.
        unsafe {
            (
                std::slice::from_raw_parts_mut(self.buffers.factors, size),
                std::slice::from_raw_parts_mut(self.buffers.factors.add(size), 2 * size),
            )
        }
    }

    /// output <- P small.
    unsafe fn multiply<S: Simd>(&self, simd: S, small: Panels, output: Panels) {
        // SAFETY: see above; the output is another buffer than P.
        unsafe {
            update::<S, false>(
                simd,
                UpdatePart {
                    left: self.buffers.tall[0],
                    right: small,
                    depth: self.extent.rank,
                    output,
                    rows: 0..self.extent.rows,
                    columns: 0..self.extent.panels(),
                    width: 3,
                    sum: SUM_BLOCK,
                    asked: Asked::NOTHING,
                },
                Finish::Scaled(Scaled { factor: 1.0 }),
            );
        }
    }

    /// Puts the columns of a basis that are not zero first, seeded ones in the place of the others, and makes all of
    /// them orthonormal. A basis without a zero column is left as it is.
    unsafe fn complete<S: Simd>(&self, simd: S, basis: Panels, spare: Panels) {
        let Extent { columns, rank, .. } = self.extent;
        // SAFETY: see above.
        let at = |i: usize, j: usize| unsafe { basis.row(j / LANES, i).add(j % LANES) };
        // SAFETY: see above.
        let is_zero = |j: usize| unsafe { (0..columns).all(|i| *at(i, j) == 0.0) };
        let kept: Vec<usize> = (0..rank).filter(|j| !is_zero(*j)).collect();
        if kept.len() == rank {
            return;
        }
        for i in 0..columns {
            for j in 0..rank {
                // SAFETY: see above; kept[j] >= j, so that no column is overwritten before it is read.
                unsafe {
                    *at(i, j) = match kept.get(j) {
                        Some(&column) => *at(i, column),
                        None => seed(i, j),
                    };
                }
            }
        }
        let (factor, scratch) = self.factors();
        let mut qr = Factorisation {
            rows: columns,
            rank,
            matrix: basis,
            spare,
            small: self.buffers.small[0],
            factor,
            scratch,
        };
        // SAFETY: see above. Seeds are finite, and so is what was kept.
        unsafe { qr.run(simd) };
    }

    /// V' is the next basis; columns beyond the rank are forgotten.
    unsafe fn write_basis<S: Simd>(&self, simd: S) {
        let Extent { columns, rank, .. } = self.extent;
        let [spare, right, next] = self.buffers.wide;
        // SAFETY: see above.
        unsafe {
            copy(right, next, columns, self.extent.panels());
            self.complete(simd, next, spare);
            for i in 0..columns {
                for j in 0..self.capacity {
                    *self.basis.add(i * self.capacity + j) = if j < rank {
                        *next.row(j / LANES, i).add(j % LANES)
                    } else {
                        0.0
                    };
                }
            }
        }
    }
}

unsafe fn copy(from: Panels, to: Panels, rows: usize, panels: usize) {
    for panel in 0..panels {
        // SAFETY: see above; two buffers.
        unsafe {
            std::ptr::copy_nonoverlapping(from.row(panel, 0), to.row(panel, 0), rows * LANES);
        }
    }
}
