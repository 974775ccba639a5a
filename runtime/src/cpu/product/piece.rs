//! The inner loop: a block of rows by panels that stays in registers.

use super::finish::Finish;
use crate::cpu::layout::Panels;
use crate::cpu::simd::{LANES, Simd};
use std::ops::Range;

/// How the single numbers of the left operand are found.
pub(super) trait Left: Copy {
    /// The address of (k, first row), where k is a multiple of 16, and the distances from it to the next
    /// row and the next k; valid for sixteen k.
    ///
    /// # Safety
    /// The element exists.
    unsafe fn at(self, k: usize) -> *const f32;
    /// Distance from one row of the piece to the next.
    const ROW: usize;
    /// Distance from one k to the next.
    const K: usize;
}

/// Left(k, r) = B(k, column + r): the product B^T B.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transposed(pub(super) *const f32);

impl Left for Transposed {
    #[inline(always)]
    unsafe fn at(self, k: usize) -> *const f32 {
        // SAFETY: row k of the panel exists by the caller's word.
        unsafe { self.0.add(k * LANES) }
    }
    const ROW: usize = 1;
    const K: usize = LANES;
}

/// Left(k, r) = L(row + r, k): the product L R.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direct {
    /// L(row, 0).
    pub(super) start: *const f32,
    /// Numbers from one panel of L to the next.
    pub(super) stride: usize,
}

impl Left for Direct {
    #[inline(always)]
    unsafe fn at(self, k: usize) -> *const f32 {
        // SAFETY: panel k / 16 exists by the caller's word.
        unsafe { self.start.add(k / LANES * self.stride) }
    }
    const ROW: usize = LANES;
    const K: usize = 1;
}

/// Where a piece lies in the output, which part of the sum it adds.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) output: Panels,
    pub(super) row: usize,
    pub(super) panel: usize,
    /// k, starting at a multiple of 16.
    pub(super) sum: Range<usize>,
    /// Whether the sum ends with this part.
    pub(super) last: bool,
}

/// Adds one part of the sums of `ROWS` x `PANELS` vectors; `right` is panel `place.panel` of the right operand.
///
/// # Safety
/// All rows and panels named exist in `left`, `right`, the output and the matrices of `finish`, and nobody
/// else accesses this place of the output meanwhile.
#[inline(always)]
pub(super) unsafe fn piece<S: Simd, L: Left, const ROWS: usize, const PANELS: usize>(
    simd: S,
    left: L,
    right: Panels,
    place: &Place,
    finish: Finish,
) {
    let mut sums = [[simd.splat(0.0); PANELS]; ROWS];
    // SAFETY: positions inside the place, which exist by the caller's word.
    let at = |r: usize, p: usize| unsafe { place.output.row(place.panel + p, place.row + r) };
    if place.sum.start > 0 {
        for r in 0..ROWS {
            for p in 0..PANELS {
                // SAFETY: the caller's word.
                sums[r][p] = unsafe { simd.load(at(r, p)) };
            }
        }
    }
    let mut k = place.sum.start;
    while k < place.sum.end {
        let count = LANES.min(place.sum.end - k);
        // SAFETY: the caller's word; k is a multiple of sixteen.
        unsafe {
            let (left, rows) = (left.at(k), right.start.add(k * LANES));
            for step in 0..count {
                let mut row = [simd.splat(0.0); PANELS];
                for p in 0..PANELS {
                    row[p] = simd.load(rows.add(p * right.stride + step * LANES));
                }
                for r in 0..ROWS {
                    let number = simd.splat(*left.add(r * L::ROW + step * L::K));
                    for p in 0..PANELS {
                        sums[r][p] = simd.fused(number, row[p], sums[r][p]);
                    }
                }
            }
        }
        k += count;
    }
    for r in 0..ROWS {
        for p in 0..PANELS {
            // SAFETY: the caller's word.
            unsafe {
                let sum = if place.last {
                    finish.apply(simd, sums[r][p], place.panel + p, place.row + r)
                } else {
                    sums[r][p]
                };
                simd.store(at(r, p), sum);
            }
        }
    }
}
