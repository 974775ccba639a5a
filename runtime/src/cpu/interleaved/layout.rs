//! How the matrices of interleaved tiles lie in scratch.
//!
//! A **number** stands for one number of each tile, a register. Matrices are cut into blocks of [`EDGE`] x [`EDGE`]
//! numbers, row by row. Of a symmetric matrix an instruction set with [`Lanes::HALF`] keeps only the blocks on and above
//! the diagonal, and reads those below it **turned**, column by column.

use super::piece::{Terms, rows};
use crate::cpu::engine::{Slot, Slots};
use crate::cpu::layout::BUFFER_PADDING;
use crate::cpu::simd::{EDGE, Lanes};
use std::iter::StepBy;
use std::marker::PhantomData;
use std::ops::Range;

/// Numbers of a block.
const BLOCK: usize = EDGE * EDGE;

/// The size of the tiles, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) down: usize,
    /// At most `down`.
    pub(super) across: usize,
}

impl Blocks {
    /// `f32` of an M x N buffer, which has room for any symmetric one.
    const fn buffer(self, tiles: usize) -> usize {
        // A multiple of every register's length.
        self.down * self.across * BLOCK * tiles + BUFFER_PADDING - BUFFER_PADDING % 64
    }

    /// Where every number of an M x N matrix begins.
    pub(super) fn numbers(self, tiles: usize) -> StepBy<Range<usize>> {
        (0..self.down * self.across * BLOCK * tiles).step_by(tiles)
    }

    /// `f32` of all buffers.
    pub(super) fn length(self, tiles: usize, slots: Slots) -> usize {
        (slots.tall + 1 + usize::from(slots.kept)) * self.buffer(tiles)
    }

    /// Where a buffer begins.
    #[inline(always)]
    pub(super) fn offset(self, tiles: usize, slots: Slots, slot: Slot) -> usize {
        let number = match slot {
            Slot::Tall(number) => number,
            Slot::Gram => slots.tall,
            Slot::Kept => slots.tall + 1,
        };
        number * self.buffer(tiles)
    }
}

/// An M x N matrix of each tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tall<L> {
    start: *mut f32,
    across: usize,
    lanes: PhantomData<L>,
}

/// A symmetric N x N matrix of each tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symmetric<L> {
    start: *mut f32,
    across: usize,
    lanes: PhantomData<L>,
}

// Addresses are computed with `wrapping_add` throughout: only accesses are unsafe.
impl<L: Lanes> Tall<L> {
    pub(super) fn new(start: *mut f32, across: usize) -> Self {
        Tall {
            start,
            across,
            lanes: PhantomData,
        }
    }

    /// Block (row, column).
    #[inline(always)]
    pub(super) fn block(self, row: usize, column: usize) -> *mut f32 {
        let block = row * self.across + column;
        self.start.wrapping_add(block * BLOCK * L::TILES)
    }

    /// Rows `row` and following of block column `column`.
    #[inline(always)]
    pub(super) fn rows<const ROWS: usize>(self, row: usize, column: usize) -> [*mut f32; ROWS] {
        rows(row, EDGE * L::TILES, |block| self.block(block, column))
    }

    /// A number.
    #[inline(always)]
    pub(super) fn number(self, row: usize, column: usize) -> *mut f32 {
        let [start] = self.rows(row, column / EDGE);
        start.wrapping_add(column % EDGE * L::TILES)
    }

    /// X: the terms of block column `k` of rows `row` and following.
    #[inline(always)]
    pub(super) fn direct<const ROWS: usize>(self, row: usize, k: usize) -> Terms<ROWS> {
        Terms::turned::<L>(self.rows(row, k))
    }

    /// X^T: the terms of block row `k` of columns `column` and following.
    #[inline(always)]
    pub(super) fn transposed<const COLUMNS: usize>(
        self,
        column: usize,
        k: usize,
    ) -> Terms<COLUMNS> {
        Terms::straight::<L>(rows(column, L::TILES, |block| self.block(k, block)))
    }
}

impl<L: Lanes> Symmetric<L> {
    pub(super) fn new(start: *mut f32, across: usize) -> Self {
        Symmetric {
            start,
            across,
            lanes: PhantomData,
        }
    }

    /// Block (row, column); with [`Lanes::HALF`] row <= column.
    #[inline(always)]
    fn block(self, row: usize, column: usize) -> *mut f32 {
        let block = match L::HALF {
            true => column * (column + 1) / 2 + row,
            false => row * self.across + column,
        };
        self.start.wrapping_add(block * BLOCK * L::TILES)
    }

    /// Rows `row` and following of block column `column`.
    #[inline(always)]
    pub(super) fn rows<const ROWS: usize>(self, row: usize, column: usize) -> [*mut f32; ROWS] {
        rows(row, EDGE * L::TILES, |block| self.block(block, column))
    }

    /// A number, whatever half it is in.
    #[inline(always)]
    pub(super) fn number(self, row: usize, column: usize) -> *mut f32 {
        let (row, column) = (row.min(column), row.max(column));
        let [start] = self.rows(row, column / EDGE);
        start.wrapping_add(column % EDGE * L::TILES)
    }

    /// Where every number that there is begins.
    #[inline(always)]
    pub(super) fn numbers(self) -> StepBy<Range<usize>> {
        let blocks = match L::HALF {
            true => self.across * (self.across + 1) / 2,
            false => self.across * self.across,
        };
        (0..blocks * BLOCK * L::TILES).step_by(L::TILES)
    }

    /// The mirror images of [`Self::rows`], as columns; none where only a half is kept.
    #[inline(always)]
    pub(super) fn mirror<const ROWS: usize>(
        self,
        row: usize,
        column: usize,
    ) -> Option<[*mut f32; ROWS]> {
        (!L::HALF).then(|| rows(row, L::TILES, |block| self.block(column, block)))
    }

    /// The terms of block row `k` of columns `column` and following; with [`Lanes::HALF`] on or above the diagonal.
    #[inline(always)]
    pub(super) fn straight<const COLUMNS: usize>(self, column: usize, k: usize) -> Terms<COLUMNS> {
        Terms::straight::<L>(rows(column, L::TILES, |block| self.block(k, block)))
    }

    /// The same terms from the mirror image: those of block column `k` of rows `column` and following, on or above the
    /// diagonal.
    #[inline(always)]
    pub(super) fn turned<const COLUMNS: usize>(self, column: usize, k: usize) -> Terms<COLUMNS> {
        Terms::turned::<L>(self.rows(column, k))
    }

    /// How many block rows of columns `column` and following are read straight, before those that are turned.
    #[inline(always)]
    pub(super) fn straight_rows(self, column: usize) -> usize {
        match L::HALF {
            // Pieces are blocks there: columns never lie in two.
            true => column / EDGE + 1,
            false => self.across,
        }
    }
}
