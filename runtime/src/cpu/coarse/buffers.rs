//! Where the parts of one matrix's coarse computation lie in the workspace.

use super::small::SmallMap;
use crate::cpu::layout::{AnyShape, Panels, Shape};
use crate::cpu::simd::LANES;

/// The sizes that decide how much is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cpu) struct Extent {
    pub(in crate::cpu) rows: usize,
    pub(in crate::cpu) columns: usize,
    /// r, at most the shorter side.
    pub(in crate::cpu) rank: usize,
    /// Columns of the pieces of V'^T: a tile's, and a panel's where tiles are single elements.
    pub(in crate::cpu) cut: usize,
    /// Whether the fine part is complete before the weights change.
    pub(in crate::cpu) whole: bool,
}

impl Extent {
    /// Panels of an n x r matrix.
    pub(super) fn panels(&self) -> usize {
        self.rank.div_ceil(LANES)
    }
}

/// V'^T cut into pieces as wide as a column of tiles, each in panels of its own.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Packed {
    start: *mut f32,
    /// Columns of a piece.
    cut: usize,
    /// r rows each.
    rank: usize,
}

// SAFETY: only an address; whoever uses it says why no other thread interferes.
unsafe impl Send for Packed {}
// SAFETY: as above.
unsafe impl Sync for Packed {}

impl Packed {
    fn length(columns: usize, cut: usize, rank: usize) -> usize {
        columns.div_ceil(cut) * cut.div_ceil(LANES) * rank * LANES
    }

    /// The piece that holds a column of the matrix, and the column's place in it.
    pub(super) fn holding(&self, column: usize) -> (Panels, usize) {
        (self.column(column / self.cut), column % self.cut)
    }

    /// The panels of a piece.
    pub(in crate::cpu) fn column(&self, number: usize) -> Panels {
        let stride = self.rank * LANES;
        let from = number * self.cut.div_ceil(LANES) * stride;
        Panels {
            // Every piece has its panels; the address is used for existing ones alone.
            start: self.start.wrapping_add(from),
            stride,
        }
    }

    /// Writes the transpose of a `columns` x r matrix, with zeros beside the last column of a piece.
    ///
    /// # Safety
    /// `from` has `columns` rows and the panels of r columns; the memory of `self` is the caller's alone.
    pub(super) unsafe fn fill(&self, from: Panels, columns: usize) {
        for number in 0..columns.div_ceil(self.cut) {
            let first = number * self.cut;
            let width = self.cut.min(columns - first);
            let target = self.column(number);
            for panel in 0..self.cut.div_ceil(LANES) {
                for k in 0..self.rank {
                    // SAFETY: the caller's word; rows first.. + width exist.
                    unsafe {
                        let row = target.row(panel, k);
                        for lane in 0..LANES {
                            let column = panel * LANES + lane;
                            *row.add(lane) = if column < width {
                                *from.row(k / LANES, first + column).add(k % LANES)
                            } else {
                                0.0
                            };
                        }
                    }
                }
            }
        }
    }
}

/// Buffers of one matrix; H x r and W x r ones in panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers {
    /// H x r: M V, then P; P X, what is subtracted; P S, what is added.
    pub(super) tall: [Panels; 3],
    /// W x r: V, then spare; B, then V'; a spare one.
    pub(super) wide: [Panels; 3],
    /// V'^T by columns of tiles.
    pub(super) packed: Packed,
    /// V'^T and Q^T by panels, for a whole fine part.
    pub(super) flat: [Packed; 2],
    /// r x r in f32: X and S.
    pub(super) small: [Panels; 2],
    /// Three r x r matrices in f64.
    pub(super) factors: *mut f64,
    /// For the r x r map.
    pub(super) scratch: *mut f32,
}

// SAFETY: only addresses; a phase hands each matrix, or each block of its rows, to one thread.
unsafe impl Send for Buffers {}
// SAFETY: as above.
unsafe impl Sync for Buffers {}

/// Hands out memory from `base` on, or only counts.
struct Cursor {
    base: *mut f32,
    used: usize,
}

impl Cursor {
    fn take(&mut self, numbers: usize) -> *mut f32 {
        let start = self.base.wrapping_add(self.used);
        self.used += numbers.next_multiple_of(LANES);
        start
    }

    fn panels(&mut self, rows: usize, rank: usize) -> Panels {
        let shape = AnyShape {
            rows,
            columns: rank,
        };
        Panels {
            start: self.take(shape.tall_length()),
            stride: shape.tall_stride(),
        }
    }

    fn packed(&mut self, columns: usize, cut: usize, rank: usize) -> Packed {
        Packed {
            start: self.take(Packed::length(columns, cut, rank)),
            cut,
            rank,
        }
    }
}

impl Buffers {
    /// The buffers from `base` on, and how many numbers they take.
    fn lay_out(extent: &Extent, map: &SmallMap, base: *mut f32) -> (Buffers, usize) {
        let Extent {
            rows,
            columns,
            rank,
            cut,
            whole,
        } = *extent;
        let mut cursor = Cursor { base, used: 0 };
        // Only a whole fine part is taken from by panels.
        let flat = if whole { columns } else { 0 };
        let buffers = Buffers {
            tall: [0; 3].map(|_| cursor.panels(rows, rank)),
            wide: [0; 3].map(|_| cursor.panels(columns, rank)),
            packed: cursor.packed(columns, cut, rank),
            flat: [0; 2].map(|_| cursor.packed(flat, LANES, rank)),
            small: [0; 2].map(|_| cursor.panels(rank, rank)),
            factors: cursor.take(2 * 3 * rank * rank).cast(),
            scratch: cursor.take(map.scratch(rank)),
        };
        (buffers, cursor.used)
    }

    /// Lines of memory for a matrix.
    pub(in crate::cpu) fn lines(extent: &Extent, map: &SmallMap) -> usize {
        let (_, numbers) = Self::lay_out(extent, map, std::ptr::null_mut());
        numbers.div_ceil(LANES)
    }

    /// The buffers in the lines from `base` on.
    pub(super) fn at(extent: &Extent, map: &SmallMap, base: *mut f32) -> Buffers {
        Self::lay_out(extent, map, base).0
    }
}
