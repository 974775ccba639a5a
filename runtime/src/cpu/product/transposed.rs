//! L^T R: what the rows of a basis make of a matrix.

use super::finish::{Finish, Scaled};
use super::piece::{Place, Transposed, piece};
use super::{SUM_BLOCK, group};
use crate::cpu::ahead::Asked;
use crate::cpu::layout::Panels;
use crate::cpu::simd::{LANES, Simd, leaf};
use std::ops::Range;

/// L^T R, or some of its rows.
#[derive(Clone, Debug)]
pub(crate) struct TransposedPart {
    /// `depth` rows.
    pub(crate) left: Panels,
    /// Panels of L; panel p gives rows 16 p to 16 p + 15 of the output.
    pub(crate) left_panels: usize,
    /// `depth` rows.
    pub(crate) right: Panels,
    pub(crate) depth: usize,
    pub(crate) output: Panels,
    /// Panels of R.
    pub(crate) panels: usize,
    /// Panels of a piece: 1, 2 or 3.
    pub(crate) width: usize,
}

/// Computes `part`.
///
/// # Safety
/// `left` and `right` have `depth` rows and the panels named, `output` `panels` panels of 16 `left_panels` rows;
/// nobody else accesses the output meanwhile, and it overlaps neither operand.
pub(crate) unsafe fn transposed<S: Simd>(simd: S, part: &TransposedPart) {
    let width = if S::WIDE { part.width.clamp(1, 3) } else { 1 };
    let mut k = 0;
    while k < part.depth {
        let sum = k..part.depth.min(k + SUM_BLOCK);
        k = sum.end;
        let mut panel = 0;
        while panel < part.panels {
            let panels = group(width, part.panels - panel);
            let (part, sum) = (part.clone(), sum.clone());
            // SAFETY: the caller's word; panel..panel + panels lie in R.
            unsafe {
                match panels {
                    1 => columns::<S, 1>(simd, part, panel, sum),
                    2 => columns::<S, 2>(simd, part, panel, sum),
                    _ => columns::<S, 3>(simd, part, panel, sum),
                }
            }
            panel += panels;
        }
    }
}

leaf! {
    /// All rows of one group of panels, one part of the sum.
    /// # Safety
    /// As [`transposed`].
    unsafe fn columns<const PANELS: usize>(
        simd: S,
        part: TransposedPart,
        panel: usize,
        sum: Range<usize>,
    ) {
        let finish = Finish::Scaled(Scaled { factor: 1.0 });
        let mut place = Place {
            output: part.output,
            row: 0,
            panel,
            last: sum.end == part.depth,
            sum,
            mirror: None,
            asked: Asked::NOTHING,
        };
        // SAFETY: the caller's word; the pieces cover the sixteen rows of each panel of L.
        unsafe {
            let right = Panels {
                start: part.right.row(panel, 0),
                stride: part.right.stride,
            };
            for left_panel in 0..part.left_panels {
                let left = part.left.row(left_panel, 0).cast_const();
                let row = left_panel * LANES;
                if !S::WIDE {
                    for first in [0, 4, 8, 12] {
                        place.row = row + first;
                        let left = Transposed(left.add(first));
                        piece::<S, _, 4, PANELS>(simd, left, right, &place, finish);
                    }
                } else if PANELS == 1 {
                    place.row = row;
                    piece::<S, _, 16, PANELS>(simd, Transposed(left), right, &place, finish);
                } else {
                    for first in [0, 8] {
                        place.row = row + first;
                        let left = Transposed(left.add(first));
                        piece::<S, _, 8, PANELS>(simd, left, right, &place, finish);
                    }
                }
            }
        }
    }
}
