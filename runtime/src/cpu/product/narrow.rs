//! Products where the registers hold pieces of one panel: six rows at most.
//!
//! A piece of six rows keeps twelve sums of eight numbers in flight, and loads eight times for twelve multiply-adds;
//! one of four rows eight sums, which is just what hides the latency of an addition.

use super::corner::corner_piece;
use super::finish::Finish;
use super::piece::{Direct, Place, piece};
use super::symmetric::{SymmetricPart, rows as transposed_rows};
use super::update::{UpdatePart, rows};
use crate::cpu::layout::Panels;
use crate::cpu::simd::{LANES, Simd, leaf};
use std::ops::Range;

/// As [`symmetric`](super::symmetric()).
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn symmetric<S: Simd, const INLINE: bool>(
    simd: S,
    part: &SymmetricPart,
    finish: Finish,
) {
    let &SymmetricPart { input, output, .. } = part;
    let mut k = 0;
    while k < part.depth {
        let sum = k..part.depth.min(k + part.sum);
        k = sum.end;
        for panel in part.columns.clone() {
            for row in part.rows.start..part.rows.end.min(panel + 1) {
                let place = Place {
                    output,
                    row: row * LANES,
                    panel,
                    last: sum.end == part.depth,
                    sum: sum.clone(),
                    mirror: None,
                    asked: part.asked,
                };
                // SAFETY: the caller's word; the block lies on the diagonal or above it.
                unsafe {
                    match (part.width, row == panel) {
                        // Sums of sixteen terms that are written out: four rows are faster.
                        (_, true) if INLINE && part.depth == LANES => {
                            on_diagonal::<S, 4>(simd, input, place, finish)
                        }
                        (4, true) => diagonal::<S, 4>(simd, input, place, finish),
                        (_, true) => diagonal::<S, 6>(simd, input, place, finish),
                        (4, false) => block::<S, 4>(simd, input, place, finish),
                        (5, false) => block::<S, 5>(simd, input, place, finish),
                        (_, false) => block::<S, 6>(simd, input, place, finish),
                    }
                }
            }
        }
    }
}

leaf! {
    /// A block above the diagonal, and its mirror image.
    /// # Safety
    /// As [`symmetric`].
    unsafe fn block<const ROWS: usize>(simd: S, input: Panels, place: Place, finish: Finish) {
        let mut place = place;
        let row = place.row;
        // SAFETY: the caller's word; the pieces cover rows 0..16 of the block.
        unsafe {
            if ROWS == 4 {
                for first in [0, 4, 8, 12] {
                    place.row = row + first;
                    transposed_rows::<S, 4, 1>(simd, input, &place, finish);
                }
            } else {
                transposed_rows::<S, 6, 1>(simd, input, &place, finish);
                if ROWS == 5 {
                    for first in [6, 11] {
                        place.row = row + first;
                        transposed_rows::<S, 5, 1>(simd, input, &place, finish);
                    }
                } else {
                    place.row = row + 6;
                    transposed_rows::<S, 6, 1>(simd, input, &place, finish);
                    place.row = row + 12;
                    transposed_rows::<S, 4, 1>(simd, input, &place, finish);
                }
            }
            if place.last {
                let mirrored = place.output.row(row / LANES, place.panel * LANES);
                simd.transpose(place.output.row(place.panel, row), mirrored);
            }
        }
    }

    /// [`on_diagonal`] as a function of its own.
    /// # Safety
    /// As [`symmetric`].
    unsafe fn diagonal<const ROWS: usize>(simd: S, input: Panels, place: Place, finish: Finish) {
        // SAFETY: the caller's word.
        unsafe { on_diagonal::<S, ROWS>(simd, input, place, finish) }
    }

    /// [`panel_of`] as a function of its own.
    /// # Safety
    /// As [`update`].
    unsafe fn column<const ROWS: usize>(
        simd: S,
        part: UpdatePart,
        panel: usize,
        sum: Range<usize>,
        finish: Finish,
    ) {
        // SAFETY: the caller's word.
        unsafe { panel_of::<S, ROWS>(simd, &part, panel, sum, finish) }
    }
}

/// A block on the diagonal: eight rows and the corner, in pieces of four rows and four vectors, or of six.
/// # Safety
/// As [`symmetric`].
#[inline(always)]
unsafe fn on_diagonal<S: Simd, const ROWS: usize>(
    simd: S,
    input: Panels,
    mut place: Place,
    finish: Finish,
) {
    let (row, panel) = (place.row, place.panel);
    // SAFETY: the caller's word; the pieces cover rows 0..8 of the block, and its corner.
    unsafe {
        if ROWS == 4 {
            for first in [0, 4] {
                place.row = row + first;
                transposed_rows::<S, 4, 1>(simd, input, &place, finish);
            }
            corner_piece::<S, 0, 0>(simd, input, panel, &place, finish);
        } else {
            transposed_rows::<S, 6, 1>(simd, input, &place, finish);
            place.row = row + 6;
            corner_piece::<S, 2, 1>(simd, input, panel, &place, finish);
        }
    }
}

/// All rows of one panel, one part of the sum.
/// # Safety
/// As [`update`].
#[inline(always)]
unsafe fn panel_of<S: Simd, const ROWS: usize>(
    simd: S,
    part: &UpdatePart,
    panel: usize,
    sum: Range<usize>,
    finish: Finish,
) {
    // SAFETY: the caller's word.
    unsafe {
        if ROWS == 5 {
            by_sixteen(simd, part, panel, sum, finish);
        } else {
            rows::<S, ROWS, 1>(simd, part, panel, sum, finish);
        }
    }
}

/// As [`update`](super::update()).
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn update<S: Simd, const INLINE: bool>(
    simd: S,
    part: UpdatePart,
    finish: Finish,
) {
    let pass = part.pass(finish);
    let mut k = 0;
    while k < part.depth {
        let sum = k..part.depth.min(k + pass);
        k = sum.end;
        for panel in part.columns.clone() {
            let sum = sum.clone();
            // SAFETY: the caller's word.
            unsafe {
                match part.width {
                    4 if INLINE => panel_of::<S, 4>(simd, &part, panel, sum, finish),
                    _ if INLINE => panel_of::<S, 6>(simd, &part, panel, sum, finish),
                    4 => column::<S, 4>(simd, part.clone(), panel, sum, finish),
                    5 => column::<S, 5>(simd, part.clone(), panel, sum, finish),
                    _ => column::<S, 6>(simd, part.clone(), panel, sum, finish),
                }
            }
        }
    }
}

/// One panel in pieces of six, five and five rows, so that each has ten sums of eight numbers at least.
///
/// # Safety
/// As [`update`].
#[inline(always)]
unsafe fn by_sixteen<S: Simd>(
    simd: S,
    part: &UpdatePart,
    panel: usize,
    sum: Range<usize>,
    finish: Finish,
) {
    let last = sum.end == part.depth;
    let mut place = Place {
        output: part.output,
        row: part.rows.start,
        panel,
        sum,
        last,
        mirror: None,
        asked: part.asked,
    };
    // SAFETY: the caller's word; every piece ends at or before the next multiple of sixteen rows.
    unsafe {
        let right = Panels {
            start: part.right.row(panel, 0),
            stride: part.right.stride,
        };
        let left = |row: usize| Direct {
            start: part.left.start.add(row * LANES),
            stride: part.left.stride,
        };
        while place.row < part.rows.end {
            if part.rows.end - place.row <= 4 {
                piece::<S, _, 4, 1>(simd, left(place.row), right, &place, finish);
                return;
            }
            piece::<S, _, 6, 1>(simd, left(place.row), right, &place, finish);
            place.row += 6;
            for _ in 0..2 {
                if place.row < part.rows.end {
                    piece::<S, _, 5, 1>(simd, left(place.row), right, &place, finish);
                }
                place.row += 5;
            }
        }
    }
}
