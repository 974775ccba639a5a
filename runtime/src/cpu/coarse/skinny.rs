//! The two products with a matrix M: M V and M^T P. M is made from gradient and momentum block by block; it never
//! exists as a whole.

use crate::cpu::ahead::Asked;
use crate::cpu::elementwise::extent;
use crate::cpu::layout::Panels;
use crate::cpu::load::{Rectangle, Source, load};
use crate::cpu::product::{
    Finish, SUM_BLOCK, Scaled, TransposedPart, UpdatePart, transposed, update,
};
use crate::cpu::simd::{LANES, Simd, WithSimd};

/// Numbers of a block of M: with its operand it stays in the second-level cache.
const BLOCK_NUMBERS: usize = 96 * 1024;
/// Rows and columns of a block: pieces of products have 8, 12 or 16 rows.
const EDGE: usize = 48;

/// Rows of a block of all columns, or columns of a block of all rows.
pub(super) fn block_edge(other: usize) -> usize {
    let fits = BLOCK_NUMBERS / other.next_multiple_of(LANES);
    fits.clamp(LANES, EDGE) / LANES * LANES
}

/// Numbers of scratch for the blocks of a matrix.
pub(super) fn scratch(rows: usize, columns: usize) -> usize {
    let by_rows = block_edge(columns) * columns.next_multiple_of(LANES);
    let by_columns = block_edge(rows) * rows.next_multiple_of(LANES);
    by_rows.max(by_columns)
}

/// The size of a matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Some rows of M V.
pub(super) struct RowBlock<'a> {
    /// What M is made from.
    pub(super) source: &'a Source,
    pub(super) matrix: Whole,
    /// Number of the block.
    pub(super) number: usize,
    /// V, with a row for each column of M.
    pub(super) right: Panels,
    /// H rows.
    pub(super) output: Panels,
    pub(super) panels: usize,
    pub(super) scratch: *mut f32,
}

impl WithSimd for RowBlock<'_> {
    /// Whether a NaN or an infinity was met; then nothing is written.
    type Output = bool;
    fn with<S: Simd>(self, simd: S) -> bool {
        let Whole { rows, columns } = self.matrix;
        let edge = block_edge(columns);
        let first = self.number * edge;
        let rectangle = Rectangle {
            row: first,
            column: 0,
            rows: edge.min(rows - first),
            columns,
        };
        let block = Panels {
            start: self.scratch,
            stride: edge * LANES,
        };
        // SAFETY: the launch granted the tensors, the scratch of this thread and the rows of the output to this block.
        unsafe {
            load(simd, self.source, &rectangle, block, None);
            if extent(simd, block, 0..columns.div_ceil(LANES), 0..rectangle.rows).non_finite {
                return true;
            }
            update::<S, false>(
                simd,
                UpdatePart {
                    left: block,
                    right: self.right,
                    depth: columns,
                    output: Panels {
                        start: self.output.row(0, first),
                        ..self.output
                    },
                    rows: 0..rectangle.rows,
                    columns: 0..self.panels,
                    width: 3,
                    sum: SUM_BLOCK,
                    asked: Asked::NOTHING,
                },
                Finish::Scaled(Scaled { factor: 1.0 }),
            );
        }
        false
    }
}

/// Some rows of M^T P.
pub(super) struct ColumnBlock<'a> {
    /// What M is made from.
    pub(super) source: &'a Source,
    pub(super) matrix: Whole,
    /// Number of the block.
    pub(super) number: usize,
    /// P, H rows.
    pub(super) right: Panels,
    /// A row for each column of M.
    pub(super) output: Panels,
    pub(super) panels: usize,
    pub(super) scratch: *mut f32,
}

impl WithSimd for ColumnBlock<'_> {
    type Output = ();
    fn with<S: Simd>(self, simd: S) {
        let Whole { rows, columns } = self.matrix;
        let edge = block_edge(rows);
        let first = self.number * edge;
        let rectangle = Rectangle {
            row: 0,
            column: first,
            rows,
            columns: edge.min(columns - first),
        };
        let block = Panels {
            start: self.scratch,
            stride: rows * LANES,
        };
        // SAFETY: as in `RowBlock`; panels of the output have room for a multiple of sixteen rows.
        unsafe {
            load(simd, self.source, &rectangle, block, None);
            transposed(
                simd,
                &TransposedPart {
                    left: block,
                    left_panels: rectangle.columns.div_ceil(LANES),
                    right: self.right,
                    depth: rows,
                    output: Panels {
                        start: self.output.row(0, first),
                        ..self.output
                    },
                    panels: self.panels,
                    width: 3,
                },
            );
        }
    }
}
