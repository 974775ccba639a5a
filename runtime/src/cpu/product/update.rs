//! L R with a symmetric R: what brings X to the next step.

use super::finish::Finish;
use super::piece::{Direct, Place, add_terms, finished, piece};
use super::{group, narrow, pass_length};
use crate::cpu::ahead::Asked;
use crate::cpu::layout::Panels;
use crate::cpu::simd::{LANES, Simd, leaf};
use std::ops::Range;

/// One multiplication, or a part of it.
#[derive(Clone, Debug)]
pub(crate) struct UpdatePart {
    pub(crate) left: Panels,
    /// `depth` rows.
    pub(crate) right: Panels,
    pub(crate) depth: usize,
    pub(crate) output: Panels,
    /// Rows that are computed.
    pub(crate) rows: Range<usize>,
    /// Panels that are computed.
    pub(crate) columns: Range<usize>,
    /// Panels of a piece, 1 to 4; with few registers its rows, 4, 5 or 6.
    pub(crate) width: usize,
    /// Length of the part of a sum that one pass covers, a multiple of sixteen.
    pub(crate) sum: usize,
    /// What every piece asks for; it lives until the product is computed, and no other thread uses it.
    pub(crate) asked: Asked,
}

impl UpdatePart {
    /// Length of the part of a sum that one pass covers. A sum that pauses does so in the output, where `Combine` still
    /// needs Y.
    pub(super) fn pass(&self, finish: Finish) -> usize {
        match finish {
            Finish::Combine(_) => self.depth,
            _ => self.sum,
        }
    }
}

/// Computes `part`; `INLINE` compiles everything into the caller, which then needs the set's features.
///
/// # Safety
/// All panels named exist in the operands, the output and the matrices of `finish`, with room for a multiple of
/// sixteen rows; nobody else
/// accesses this part of the output meanwhile; the output overlaps neither `left` nor `right`.
#[inline(always)]
pub(crate) unsafe fn update<S: Simd, const INLINE: bool>(
    simd: S,
    part: UpdatePart,
    finish: Finish,
) {
    if !S::WIDE {
        // SAFETY: the caller's word.
        return unsafe { narrow::update::<S, INLINE>(simd, part, finish) };
    }
    let single = part.columns.len() == 1 && part.depth == LANES;
    if INLINE && single && part.rows.len().is_multiple_of(LANES) {
        // SAFETY: the caller's word; R is one block.
        return unsafe { by_block(simd, &part, finish) };
    }
    let pass = pass_length(part.depth, part.pass(finish));
    let mut k = 0;
    while k < part.depth {
        let sum = k..part.depth.min(k + pass);
        k = sum.end;
        let mut panel = part.columns.start;
        while panel < part.columns.end {
            let panels = group(part.width, part.columns.end - panel);
            let sum = sum.clone();
            // Widths that cannot occur are compiled for no size.
            let most = part.columns.len();
            // SAFETY: the caller's word; panel..panel + panels lie in the columns.
            unsafe {
                match panels {
                    4.. if most > 3 => group_of::<S, INLINE, 6, 4>(simd, &part, panel, sum, finish),
                    3 if most > 2 => group_of::<S, INLINE, 8, 3>(simd, &part, panel, sum, finish),
                    2 if most > 1 => group_of::<S, INLINE, 12, 2>(simd, &part, panel, sum, finish),
                    _ => group_of::<S, INLINE, 16, 1>(simd, &part, panel, sum, finish),
                }
            }
            panel += panels;
        }
    }
}

/// All rows where R is one block of 16 x 16, sixteen at a time and every term written out: sixteen sums are twice what
/// hides the latency of an addition; of eight, each delay would show.
/// # Safety
/// As [`update`]; R has one panel of sixteen rows, and the rows are a multiple of sixteen.
#[inline(always)]
unsafe fn by_block<S: Simd>(simd: S, part: &UpdatePart, finish: Finish) {
    let panel = part.columns.start;
    for row in part.rows.clone().step_by(LANES) {
        let mut sums = [[simd.splat(0.0)]; LANES];
        // SAFETY: the caller's word.
        let (start, block) = unsafe { (part.left.row(0, row), part.right.row(panel, 0)) };
        let left = Direct {
            start,
            stride: part.left.stride,
        };
        let right = Panels {
            start: block,
            ..part.right
        };
        // A loop over the terms is slower by 2 %.
        macro_rules! terms {
            ($($k:literal)+) => {$(
                // SAFETY: as above.
                unsafe { add_terms::<S, _, 1, _, _>(simd, left, right, $k, &mut sums) }
            )+};
        }
        terms!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        // SAFETY: as above.
        unsafe {
            sums = finished(simd, sums, panel, row, finish);
            for r in 0..LANES {
                simd.store(part.output.row(panel, row + r), sums[r][0]);
            }
        }
    }
}

/// All rows of one group of panels, inlined or as a function of its own.
/// # Safety
/// As [`update`].
#[inline(always)]
unsafe fn group_of<S: Simd, const INLINE: bool, const ROWS: usize, const PANELS: usize>(
    simd: S,
    part: &UpdatePart,
    panel: usize,
    sum: Range<usize>,
    finish: Finish,
) {
    // SAFETY: the caller's word.
    unsafe {
        if INLINE {
            rows::<S, ROWS, PANELS>(simd, part, panel, sum, finish);
        } else {
            outlined::<S, ROWS, PANELS>(simd, part.clone(), panel, sum, finish);
        }
    }
}

leaf! {
    /// # Safety
    /// As [`update`].
    unsafe fn outlined<const ROWS: usize, const PANELS: usize>(
        simd: S,
        part: UpdatePart,
        panel: usize,
        sum: Range<usize>,
        finish: Finish,
    ) {
        // SAFETY: the caller's word.
        unsafe { rows::<S, ROWS, PANELS>(simd, &part, panel, sum, finish) }
    }
}

/// All rows of one group of panels, one part of the sum.
/// # Safety
/// As [`update`].
#[inline(always)]
pub(super) unsafe fn rows<S: Simd, const ROWS: usize, const PANELS: usize>(
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
        // Of six rows at a time two could be left before the end of a panel, with no room for a piece of four.
        let ends_in_fours =
            |row: usize| ROWS == 6 && part.rows.end.next_multiple_of(LANES) - row == 8;
        while place.row + ROWS <= part.rows.end && !ends_in_fours(place.row) {
            piece::<S, _, ROWS, PANELS>(simd, left(place.row), right, &place, finish);
            place.row += ROWS;
        }
        // Nor for two such pieces where five are left of six.
        if ROWS == 6 && place.row + 4 < part.rows.end && !ends_in_fours(place.row) {
            piece::<S, _, ROWS, PANELS>(simd, left(place.row), right, &place, finish);
            place.row += ROWS;
        }
        // The last pieces may reach into the rows that pad a panel to a multiple of sixteen: nobody reads those.
        while ROWS > 8 && place.row + 4 < part.rows.end {
            piece::<S, _, 8, PANELS>(simd, left(place.row), right, &place, finish);
            place.row += 8;
        }
        while place.row < part.rows.end {
            piece::<S, _, 4, PANELS>(simd, left(place.row), right, &place, finish);
            place.row += 4;
        }
    }
}
