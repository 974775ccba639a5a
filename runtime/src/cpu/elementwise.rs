//! Passes over a matrix in panels that are no products.
//!
//! Sums keep four accumulators of sixteen lanes for each panel, row r in accumulator r mod 4; panels are
//! added in ascending order and the lanes by [`Line::sum`], so that the bits do not depend on how a pass is
//! divided among threads or on the instruction set.

use super::layout::{BLOCK, Panels};
use super::simd::{LANES, Line, Simd, leaf};
use std::ops::Range;

/// Sum over the rows of one panel of a(row) b(row), lane by lane; `scale` is applied to both first.
///
/// # Safety
/// Both matrices have `rows` rows in `panel`.
#[inline(always)]
unsafe fn panel_product<S: Simd>(
    simd: S,
    a: Panels,
    b: Panels,
    panel: usize,
    rows: usize,
    scale: f32,
) -> S::Vector {
    let mut sums = [simd.splat(0.0); 4];
    let scale = simd.splat(scale);
    let mut row = 0;
    while row < rows {
        let count = 4.min(rows - row);
        for part in 0..count {
            // SAFETY: `row + part` < rows; the rows exist by the caller's word.
            unsafe {
                let a = simd.mul(scale, simd.load(a.row(panel, row + part)));
                let b = simd.mul(scale, simd.load(b.row(panel, row + part)));
                sums[part] = simd.fused(a, b, sums[part]);
            }
        }
        row += count;
    }
    simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3]))
}

leaf! {
    /// Sum of a b over all elements, both scaled first.
    ///
    /// # Safety
    /// Both matrices have `panels` panels of `rows` rows.
    pub(super) unsafe fn product(
        simd: S, a: Panels, b: Panels, panels: usize, rows: usize, scale: f32
    ) -> f32 {
        let mut sum = simd.splat(0.0);
        for panel in 0..panels {
            // SAFETY: the caller's word.
            sum = simd.add(sum, unsafe { panel_product(simd, a, b, panel, rows, scale) });
        }
        simd.to_line(sum).sum()
    }

    /// The lanes of [`product`] that one panel adds.
    ///
    /// # Safety
    /// As [`product`].
    pub(super) unsafe fn panel_sums(
        simd: S, a: Panels, b: Panels, panel: usize, rows: usize, scale: f32
    ) -> Line {
        // SAFETY: the caller's word.
        simd.to_line(unsafe { panel_product(simd, a, b, panel, rows, scale) })
    }

    /// Largest |x| of some panels, and whether all are finite.
    ///
    /// # Safety
    /// The panels have `rows` rows.
    pub(super) unsafe fn extent(
        simd: S, matrix: Panels, panels: Range<usize>, rows: Range<usize>
    ) -> Extent {
        let (zero, mut maximum, mut zeros) = (simd.splat(0.0), simd.splat(0.0), simd.splat(0.0));
        for panel in panels {
            for row in rows.clone() {
                // SAFETY: the caller's word.
                let x = unsafe { simd.load(matrix.row(panel, row)) };
                zeros = simd.fused(x, zero, zeros);
                maximum = simd.max(maximum, simd.abs(x));
            }
        }
        let non_finite = poisoned(simd, zeros);
        Extent {
            largest: if non_finite { 0.0 } else { simd.to_line(maximum).largest() },
            non_finite,
        }
    }

    /// Multiplies some panels by `first`, then by `second`.
    ///
    /// # Safety
    /// The panels have `rows` rows, and nobody else accesses them meanwhile; so for all functions below.
    pub(super) unsafe fn scale(
        simd: S, matrix: Panels, panels: Range<usize>, rows: usize, first: f32, second: f32
    ) {
        let (first, second) = (simd.splat(first), simd.splat(second));
        for panel in panels {
            for row in 0..rows {
                // SAFETY: the caller's word.
                unsafe {
                    let at = matrix.row(panel, row);
                    simd.store(at, simd.mul(simd.mul(simd.load(at), first), second));
                }
            }
        }
    }

    /// Rounds some panels to bf16.
    /// # Safety
    /// As [`scale`].
    pub(super) unsafe fn round(simd: S, matrix: Panels, panels: Range<usize>, rows: usize) {
        for panel in panels {
            for row in 0..rows {
                // SAFETY: the caller's word.
                unsafe {
                    let at = matrix.row(panel, row);
                    simd.store(at, simd.round_bf16(simd.load(at)));
                }
            }
        }
    }

    /// output <- b y + e x in some panels.
    /// # Safety
    /// As [`scale`].
    pub(super) unsafe fn mix(
        simd: S, output: Panels, y: (Panels, f32), x: (Panels, f32), panels: Range<usize>, rows: usize
    ) {
        let (b, e) = (simd.splat(y.1), simd.splat(x.1));
        for panel in panels {
            for row in 0..rows {
                // SAFETY: the caller's word.
                unsafe {
                    let scaled = simd.mul(b, simd.load(y.0.row(panel, row)));
                    let sum = simd.fused(e, simd.load(x.0.row(panel, row)), scaled);
                    simd.store(output.row(panel, row), sum);
                }
            }
        }
    }

    /// Copies some panels.
    /// # Safety
    /// As [`scale`].
    pub(super) unsafe fn copy(
        simd: S, from: Panels, to: Panels, panels: Range<usize>, rows: usize
    ) {
        for panel in panels {
            for row in 0..rows {
                // SAFETY: the caller's word.
                unsafe { simd.store(to.row(panel, row), simd.load(from.row(panel, row))) }
            }
        }
    }

    /// The factors of the almost-orthogonal rescale, one for each column of some panels:
    /// 1 / sqrt(sum_i |A_ij|), and 0 for a column of zeros.
    /// # Safety
    /// As [`scale`]; `factors` is writable for all columns.
    pub(super) unsafe fn balance_factors(
        simd: S, gram: Panels, panels: Range<usize>, rows: usize, factors: *mut f32
    ) {
        for panel in panels {
            let mut sum = simd.splat(0.0);
            for row in 0..rows {
                // SAFETY: the caller's word.
                sum = simd.add(sum, simd.abs(unsafe { simd.load(gram.row(panel, row)) }));
            }
            let sums = simd.to_line(sum);
            let factor = simd.to_line(simd.div(simd.splat(1.0), simd.sqrt(sum)));
            for lane in 0..LANES {
                let value = if sums.0[lane] > 0.0 { factor.0[lane] } else { 0.0 };
                // SAFETY: the caller's word.
                unsafe { *factors.add(panel * LANES + lane) = value }
            }
        }
    }

    /// Multiplies column j of some panels by factors[j], and with `both` row i by factors[i] too.
    /// # Safety
    /// As [`scale`]; there is a factor for each column, and with `both` for each row.
    pub(super) unsafe fn balance(
        simd: S, matrix: Panels, panels: Range<usize>, rows: usize, factors: *const f32, both: bool
    ) {
        for panel in panels {
            // SAFETY: the caller's word.
            unsafe {
                let columns = simd.load(factors.add(panel * LANES));
                for row in 0..rows {
                    let at = matrix.row(panel, row);
                    let mut scaled = simd.mul(columns, simd.load(at));
                    if both {
                        scaled = simd.mul(simd.splat(*factors.add(row)), scaled);
                    }
                    simd.store(at, scaled);
                }
            }
        }
    }

    /// Writes zeros to some rows of every panel.
    /// # Safety
    /// As [`scale`].
    pub(super) unsafe fn clear_rows(simd: S, matrix: Panels, panels: usize, rows: Range<usize>) {
        for panel in 0..panels {
            for row in rows.clone() {
                // SAFETY: the caller's word.
                unsafe { simd.store(matrix.row(panel, row), simd.splat(0.0)) }
            }
        }
    }

    /// Writes the transpose of some panels of `from`, `blocks` times sixteen rows each, to `to`.
    /// # Safety
    /// As [`scale`], for both; they do not overlap.
    pub(super) unsafe fn transpose(
        simd: S, from: Panels, to: Panels, panels: Range<usize>, blocks: usize
    ) {
        for panel in panels {
            for row in 0..blocks {
                // SAFETY: the caller's word.
                unsafe {
                    let source = from.start.add(panel * from.stride + row * BLOCK);
                    simd.transpose(source, to.start.add(row * to.stride + panel * BLOCK));
                }
            }
        }
    }
}

/// The sum that [`product`] gives, from the lanes of each panel.
pub(super) fn total(panels: &[Line]) -> f32 {
    let mut sum = Line::ZERO;
    for panel in panels {
        for (sum, lane) in sum.0.iter_mut().zip(panel.0) {
            *sum += lane;
        }
    }
    sum.sum()
}

/// Adds `value` to the first `columns` diagonal elements.
///
/// # Safety
/// The matrix has as many rows and columns, and nobody else accesses it meanwhile.
pub(super) unsafe fn add_diagonal(matrix: Panels, columns: usize, value: f32) {
    for column in 0..columns {
        // SAFETY: the caller's word.
        unsafe { *matrix.row(column / LANES, column).add(column % LANES) += value }
    }
}

/// How large the numbers of a matrix are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    /// Largest |x|, 0 where one is not finite.
    pub(super) largest: f32,
    /// A NaN or an infinity was met.
    pub(super) non_finite: bool,
}

impl Extent {
    /// Of both.
    pub(super) fn merge(self, other: Extent) -> Extent {
        Extent {
            largest: self.largest.max(other.largest),
            non_finite: self.non_finite || other.non_finite,
        }
    }
}

/// Norm and scale of a tile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Norm {
    /// Power of two that brings the largest |x| near 1.
    pub(super) scale: f32,
    /// 1 / ||scale x||_F, 0 for a zero tile.
    pub(super) inverse: f32,
    /// ||x||_F.
    pub(super) norm: f64,
}

impl Norm {
    /// The power of two for a largest |x|: neither the squares nor `scale` itself leave the normal range.
    pub(super) fn scale(largest: f32) -> f32 {
        let exponent = ((largest.to_bits() >> 23) as i32 - 127).clamp(-100, 100);
        f32::from_bits(((127 - exponent) as u32) << 23)
    }

    /// Whether a sum of squares tells by itself that all numbers are finite, and none so large or small that it had to
    /// be scaled first. A power of two as the scale then changes no bit of what follows.
    pub(super) fn is_ordinary(squares: f32) -> bool {
        const LARGEST: f32 = (1_u64 << 60) as f32;
        (1.0 / LARGEST..=LARGEST).contains(&squares)
    }

    /// From the sum of the squares of scale x.
    pub(super) fn of(scale: f32, squares: f32) -> Norm {
        let root = squares.sqrt();
        Norm {
            scale,
            inverse: if root > 0.0 { 1.0 / root } else { 0.0 },
            norm: f64::from(squares).sqrt() / f64::from(scale),
        }
    }

    /// As published: ||x||_F + 1e-7, no scale.
    pub(super) fn published(squares: f32) -> Norm {
        let root = squares.sqrt();
        Norm {
            scale: 1.0,
            inverse: 1.0 / (root + 1e-7),
            norm: f64::from(root),
        }
    }
}

/// Whether a running sum of 0 x met a NaN or an infinity.
#[inline(always)]
pub(super) fn poisoned<S: Simd>(simd: S, zeros: S::Vector) -> bool {
    let Line(lanes) = simd.to_line(zeros);
    lanes.iter().any(|lane| lane.is_nan())
}
