//! The block on the diagonal of a symmetric product, of which the lower left quarter is not computed.
//!
//! Of rows 8..16 only columns 8..16 are needed: the **corner**, eight halves of a vector. Two rows share a vector,
//! row 8 + r in its lower half and row 12 + r in its upper one, so that sixteen rows take twelve vectors.

use super::finish::Finish;
use super::piece::{Left, Place, Transposed, finished};
use crate::cpu::layout::{BLOCK, Panels};
use crate::cpu::simd::{LANES, Simd};

/// Vectors of a corner.
const CORNER: usize = 4;
/// Rows of a corner.
const ROWS: usize = 8;

/// As [`piece`](super::piece::piece), for `BESIDE` rows x `PANELS` at `place`, all in rows 0..8 or all in rows 8..16 of
/// the block on the diagonal, and for the corner of the block, panel `block` of both operands. Rows 0..8 of the block
/// are complete afterwards.
///
/// # Safety
/// As [`piece`](super::piece::piece); so for the corner.
#[inline(always)]
pub(super) unsafe fn corner_piece<S: Simd, const BESIDE: usize, const PANELS: usize>(
    simd: S,
    input: Panels,
    block: usize,
    place: &Place,
    finish: Finish,
) {
    let mut sums = [[simd.splat(0.0); PANELS]; BESIDE];
    let mut corner = [simd.splat(0.0); CORNER];
    // SAFETY: positions of the place and of the block, which exist by the caller's word.
    let at = |r: usize, p: usize| unsafe { place.output.row(place.panel + p, place.row + r) };
    // SAFETY: as above. A corner pauses in its own rows.
    let pause = |r: usize| unsafe { place.output.row(block, block * LANES + ROWS + r) };
    if place.sum.start > 0 {
        for r in 0..BESIDE {
            for p in 0..PANELS {
                // SAFETY: the caller's word.
                sums[r][p] = unsafe { simd.load(at(r, p)) };
            }
        }
        for r in 0..CORNER {
            // SAFETY: the caller's word.
            corner[r] = unsafe { simd.load(pause(r)) };
        }
    }
    for k in place.sum.clone() {
        // SAFETY: the caller's word.
        unsafe {
            let numbers = input.row(block, k).cast_const();
            let left = Transposed(numbers.add(place.row % LANES)).at(0);
            let start = input.row(place.panel, k).cast_const();
            let mut row = [simd.splat(0.0); PANELS];
            for p in 0..PANELS {
                row[p] = simd.load(start.add(p * input.stride));
            }
            corner = simd.add_corner(numbers, corner);
            for r in 0..BESIDE {
                let number = simd.splat(*left.add(r));
                for p in 0..PANELS {
                    sums[r][p] = simd.fused(number, row[p], sums[r][p]);
                }
            }
        }
    }
    if !place.last {
        for r in 0..BESIDE {
            for p in 0..PANELS {
                // SAFETY: the caller's word.
                unsafe { simd.store(at(r, p), sums[r][p]) }
            }
        }
        for r in 0..CORNER {
            // SAFETY: the caller's word.
            unsafe { simd.store(pause(r), corner[r]) }
        }
        return;
    }
    let mut rows = [[simd.splat(0.0); 1]; ROWS];
    for r in 0..CORNER {
        let [lower, upper] = simd.corner_rows(corner[r]);
        (rows[r][0], rows[r + CORNER][0]) = (lower, upper);
    }
    // SAFETY: the caller's word; the lower halves of the corner's rows are written once more by `mirror_corner`, from
    // rows 0..8, which are complete: they are these very ones or those of an earlier piece.
    unsafe {
        sums = finished(simd, sums, place.panel, place.row, finish);
        place.store(simd, sums);
        let first = block * LANES + ROWS;
        rows = finished(simd, rows, block, first, finish);
        for r in 0..ROWS {
            simd.store(place.output.row(block, first + r), rows[r][0]);
        }
        simd.mirror_corner(
            place
                .output
                .start
                .add(block * place.output.stride + block * BLOCK),
        );
    }
}
