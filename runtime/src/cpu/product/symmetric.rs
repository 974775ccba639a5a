//! B^T B of which only the upper triangle of 16 x 16 blocks is computed.

use super::finish::Finish;
use super::piece::{Place, Transposed, piece};
use super::{SUM_BLOCK, group};
use crate::cpu::layout::{BLOCK, Panels};
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
    /// Panels of a piece: 1, 2 or 3.
    pub(crate) width: usize,
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
    let width = if S::WIDE { part.width } else { 1 };
    let mut k = 0;
    // A part of the sum at a time: its rows of all panels stay in the second-level cache.
    while k < part.depth {
        let sum = k..part.depth.min(k + SUM_BLOCK);
        k = sum.end;
        let mut panel = part.columns.start;
        while panel < part.columns.end {
            let panels = group(width, part.columns.end - panel);
            // SAFETY: the caller's word; panel..panel + panels lie in the columns.
            unsafe {
                match panels {
                    1 => columns::<S, INLINE, 1>(simd, &part, panel, sum.clone(), finish),
                    2 => columns::<S, INLINE, 2>(simd, &part, panel, sum.clone(), finish),
                    _ => columns::<S, INLINE, 3>(simd, &part, panel, sum.clone(), finish),
                }
            }
            panel += panels;
        }
    }
}

/// The columns of one group of panels, all blocks down to the diagonal.
/// # Safety
/// As [`symmetric`].
#[inline(always)]
unsafe fn columns<S: Simd, const INLINE: bool, const PANELS: usize>(
    simd: S,
    part: &SymmetricPart,
    panel: usize,
    sum: Range<usize>,
    finish: Finish,
) {
    // SAFETY: the caller's word; on the diagonal only panels from the row's own on are computed.
    unsafe {
        for row in part.rows.start..part.rows.end.min(panel + 1) {
            cell::<S, INLINE, PANELS>(simd, part, row, panel, sum.clone(), finish);
        }
        if PANELS == 3 && part.rows.contains(&(panel + 1)) {
            cell::<S, INLINE, 2>(simd, part, panel + 1, panel + 1, sum.clone(), finish);
        }
        if PANELS > 1 && part.rows.contains(&(panel + PANELS - 1)) {
            let corner = panel + PANELS - 1;
            cell::<S, INLINE, 1>(simd, part, corner, corner, sum, finish);
        }
    }
}

/// [`blocks`], inlined or as a function of its own.
/// # Safety
/// As [`symmetric`].
#[inline(always)]
unsafe fn cell<S: Simd, const INLINE: bool, const PANELS: usize>(
    simd: S,
    part: &SymmetricPart,
    row: usize,
    panel: usize,
    sum: Range<usize>,
    finish: Finish,
) {
    // SAFETY: the caller's word.
    unsafe {
        if INLINE {
            blocks::<S, PANELS>(simd, part, row, panel, sum, finish);
        } else {
            outlined::<S, PANELS>(
                simd,
                part.input,
                part.depth,
                part.output,
                row,
                panel,
                sum,
                finish,
            );
        }
    }
}

leaf! {
    /// # Safety
    /// As [`symmetric`].
    unsafe fn outlined<const PANELS: usize>(
        simd: S,
        input: Panels,
        depth: usize,
        output: Panels,
        row: usize,
        panel: usize,
        sum: Range<usize>,
        finish: Finish,
    ) {
        let part = SymmetricPart {
            input,
            depth,
            output,
            rows: 0..0,
            columns: 0..0,
            width: PANELS,
        };
        // SAFETY: the caller's word.
        unsafe { blocks::<S, PANELS>(simd, &part, row, panel, sum, finish) }
    }
}

/// One panel of rows by `PANELS` panels of columns, and its mirror image once the sums are complete.
/// # Safety
/// As [`symmetric`].
#[inline(always)]
unsafe fn blocks<S: Simd, const PANELS: usize>(
    simd: S,
    part: &SymmetricPart,
    row: usize,
    panel: usize,
    sum: Range<usize>,
    finish: Finish,
) {
    let last = sum.end == part.depth;
    let mut place = Place {
        output: part.output,
        row: row * LANES,
        panel,
        sum,
        last,
    };
    // SAFETY: the caller's word; the pieces cover rows 0..16 of the block.
    unsafe {
        let left = part.input.row(row, 0).cast_const();
        let right = Panels {
            start: part.input.row(panel, 0),
            stride: part.input.stride,
        };
        if !S::WIDE {
            for first in [0, 4, 8, 12] {
                place.row = row * LANES + first;
                piece::<S, _, 4, PANELS>(simd, Transposed(left.add(first)), right, &place, finish);
            }
        } else if PANELS == 1 {
            piece::<S, _, 16, PANELS>(simd, Transposed(left), right, &place, finish);
        } else {
            for first in [0, 8] {
                place.row = row * LANES + first;
                piece::<S, _, 8, PANELS>(simd, Transposed(left.add(first)), right, &place, finish);
            }
        }
        if place.last {
            for column in panel..panel + PANELS {
                if column != row {
                    let mirrored = part
                        .output
                        .start
                        .add(row * part.output.stride + column * BLOCK);
                    simd.transpose(part.output.row(column, row * LANES), mirrored);
                }
            }
        }
    }
}
