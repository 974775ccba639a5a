//! B^T B of which only the upper triangle of 16 x 16 blocks is computed.

use super::corner::corner_piece;
use super::finish::Finish;
use super::piece::{Place, Transposed, piece};
use super::{group, narrow, pass_length};
use crate::cpu::ahead::Asked;
use crate::cpu::layout::Panels;
use crate::cpu::simd::{LANES, Simd, leaf};
use std::ops::Range;

/// One symmetric product, or a part of it.
#[derive(Clone, Debug)]
pub(crate) struct SymmetricPart {
    /// B, `depth` rows.
    pub(crate) input: Panels,
    pub(crate) depth: usize,
    pub(crate) output: Panels,
    /// Row panels: of these and `columns`, the blocks on and above the diagonal are computed, and the
    /// blocks below it that mirror them written.
    pub(crate) rows: Range<usize>,
    /// Column panels.
    pub(crate) columns: Range<usize>,
    /// Panels of a piece, 1, 2 or 3; with few registers its rows, 4, 5 or 6.
    pub(crate) width: usize,
    /// Length of the part of a sum that one pass covers, a multiple of sixteen.
    pub(crate) sum: usize,
    /// What every piece asks for; it lives until the product is computed, and no other thread uses it.
    pub(crate) asked: Asked,
}

/// Computes `part`; `INLINE` compiles everything into the caller, which then needs the set's features.
///
/// # Safety
/// `input` has `depth` rows and every panel that is named, `output` all those panels and sixteen rows for
/// each; the matrices of `finish` too. Nobody else accesses these blocks of the output and their mirror
/// images meanwhile, and `input` and `output` do not overlap.
#[inline(always)]
pub(crate) unsafe fn symmetric<S: Simd, const INLINE: bool>(
    simd: S,
    part: SymmetricPart,
    finish: Finish,
) {
    if !S::WIDE {
        // SAFETY: the caller's word.
        return unsafe { narrow::symmetric::<S, INLINE>(simd, &part, finish) };
    }
    let pass = pass_length(part.depth, part.sum);
    let mut k = 0;
    // Of a long sum a part at a time: its rows of all panels stay in the second-level cache.
    while k < part.depth {
        let sum = k..part.depth.min(k + pass);
        k = sum.end;
        let mut panel = part.columns.start;
        while panel < part.columns.end {
            let panels = group(part.width, part.columns.end - panel);
            // Widths that cannot occur are compiled for no size.
            let most = part.columns.len();
            // SAFETY: the caller's word; panel..panel + panels lie in the columns.
            unsafe {
                match panels {
                    3.. if most > 2 => {
                        group_of::<S, INLINE, 3>(simd, &part, panel, sum.clone(), finish)
                    }
                    2 if most > 1 => {
                        group_of::<S, INLINE, 2>(simd, &part, panel, sum.clone(), finish)
                    }
                    _ => group_of::<S, INLINE, 1>(simd, &part, panel, sum.clone(), finish),
                }
            }
            panel += panels;
        }
    }
}

/// The columns of one group of panels, inlined or as a function of its own.
/// # Safety
/// As [`symmetric`].
#[inline(always)]
unsafe fn group_of<S: Simd, const INLINE: bool, const PANELS: usize>(
    simd: S,
    part: &SymmetricPart,
    panel: usize,
    sum: Range<usize>,
    finish: Finish,
) {
    // SAFETY: the caller's word.
    unsafe {
        if INLINE {
            columns::<S, PANELS>(simd, part, panel, sum, finish);
        } else {
            outlined::<S, PANELS>(simd, part.clone(), panel, sum, finish);
        }
    }
}

leaf! {
    /// # Safety
    /// As [`symmetric`].
    unsafe fn outlined<const PANELS: usize>(
        simd: S,
        part: SymmetricPart,
        panel: usize,
        sum: Range<usize>,
        finish: Finish,
    ) {
        // SAFETY: the caller's word.
        unsafe { columns::<S, PANELS>(simd, &part, panel, sum, finish) }
    }
}

/// The columns of one group of panels, all blocks down to the diagonal.
/// # Safety
/// As [`symmetric`].
#[inline(always)]
unsafe fn columns<S: Simd, const PANELS: usize>(
    simd: S,
    part: &SymmetricPart,
    panel: usize,
    sum: Range<usize>,
    finish: Finish,
) {
    let mut place = Place {
        output: part.output,
        row: part.rows.start * LANES,
        panel,
        last: sum.end == part.depth,
        sum,
        mirror: Some(0),
        asked: part.asked,
    };
    // SAFETY: the caller's word; on the diagonal only panels from the row's own on are computed.
    unsafe {
        while place.row < part.rows.end.min(panel) * LANES {
            rows::<S, 8, PANELS>(simd, part.input, &place, finish);
            place.row += 8;
        }
        if part.rows.contains(&panel) {
            diagonal::<S, PANELS>(simd, part.input, panel, &place, finish);
        }
        if PANELS == 3 && part.rows.contains(&(panel + 1)) {
            diagonal::<S, 2>(simd, part.input, panel + 1, &place, finish);
        }
        if PANELS > 1 && part.rows.contains(&(panel + PANELS - 1)) {
            diagonal::<S, 1>(simd, part.input, panel + PANELS - 1, &place, finish);
        }
    }
}

/// B^T B at `place`: rows of the left operand are columns `place.row` and following of `input`.
/// # Safety
/// As [`symmetric`].
#[inline(always)]
pub(super) unsafe fn rows<S: Simd, const ROWS: usize, const PANELS: usize>(
    simd: S,
    input: Panels,
    place: &Place,
    finish: Finish,
) {
    // SAFETY: the caller's word.
    unsafe {
        let left = input.row(place.row / LANES, 0).add(place.row % LANES);
        let right = Panels {
            start: input.row(place.panel, 0),
            stride: input.stride,
        };
        piece::<S, _, ROWS, PANELS>(simd, Transposed(left), right, place, finish);
    }
}

/// The blocks of `PANELS` panels from `block` on in the rows of the block on the diagonal, and their mirror images; all else as
/// in `place`.
/// # Safety
/// As [`symmetric`].
#[inline(always)]
unsafe fn diagonal<S: Simd, const PANELS: usize>(
    simd: S,
    input: Panels,
    block: usize,
    place: &Place,
    finish: Finish,
) {
    let mut place = Place {
        row: block * LANES,
        panel: block,
        ..place.clone()
    };
    // SAFETY: the caller's word; the pieces cover rows 0..16 of the block.
    unsafe {
        if PANELS == 1 {
            place.mirror = None;
            return corner_piece::<S, 8, 1>(simd, input, block, &place, finish);
        }
        place.mirror = Some(1);
        rows::<S, 8, PANELS>(simd, input, &place, finish);
        place.mirror = Some(0);
        place.row += 8;
        place.panel += 1;
        if PANELS == 2 {
            corner_piece::<S, 8, 1>(simd, input, block, &place, finish);
        } else {
            corner_piece::<S, 8, 2>(simd, input, block, &place, finish);
        }
    }
}
