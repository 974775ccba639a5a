//! The block on the diagonal of a symmetric product, of which the lower left quarter is not computed.
//!
//! Of rows 8..16 only columns 8..16 are needed: the **corner**, eight halves of a vector. Two rows share a vector, so that
//! sixteen rows take twelve vectors.

use super::finish::Finish;
use super::piece::{Place, TERMS_AT_A_TIME, Transposed, add_terms, finished, written_out};
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
    // SAFETY: the place's word.
    unsafe { place.asked.ask(simd) }
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
    // SAFETY: as above.
    let (left, right) = unsafe {
        let left = Transposed(input.row(block, 0).add(place.row % LANES));
        let start = input.row(place.panel, 0);
        (left, Panels { start, ..input })
    };
    let single = written_out::<S>(&place.sum);
    let mut k = place.sum.start;
    while k < single {
        for k in k..k + TERMS_AT_A_TIME {
            // SAFETY: the caller's word.
            unsafe {
                corner = simd.add_corner(input.row(block, k), corner);
                add_terms::<S, _, 1, _, _>(simd, left, right, k, &mut sums);
            }
        }
        k += TERMS_AT_A_TIME;
    }
    for k in single..place.sum.end {
        // SAFETY: as above.
        unsafe {
            corner = simd.add_corner(input.row(block, k), corner);
            add_terms::<S, _, 1, _, _>(simd, left, right, k, &mut sums);
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
    let mut rows = simd.corner_rows(corner).map(|row| [row]);
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
