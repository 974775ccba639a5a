//! Small tiles of which each lane of a register has its own: an N x N tile has so few vectors of sixteen columns that
//! the shuffles at the ends of products cost as much as the products, and of a symmetric product more than a triangle is
//! computed. With one number of each of sixteen (or eight) tiles in a register, a product is made of vertical operations
//! alone, of exactly the elements on and above the diagonal, and every lane runs the chains of its tile: the same bits.
//!
//! `layout` says where numbers lie, `piece` has the inner loops, `products` the three products, `passes` what is done to
//! every number.

mod layout;
mod passes;
mod piece;
mod products;

use self::layout::{Blocks, Symmetric, Tall};
use self::products::Weights;
use super::ahead::Ahead;
use super::engine::{Engine, PerTile, Products, Slot, Slots};
use super::layout::Panels;
use super::simd::{EDGE, LANES, Lanes, Simd};

/// Longest edge of an interleaved tile: the matrices of sixteen tiles fill the first level of cache.
const LONGEST: usize = 16;

/// Whether tiles of this size are interleaved.
pub(super) fn fits(rows: usize, columns: usize) -> bool {
    let edge = |edge: usize| edge <= LONGEST && edge.is_multiple_of(EDGE);
    edge(rows) && edge(columns)
}

/// `f32` of scratch that the matrices of `tiles` interleaved tiles take, oriented so that rows >= columns.
pub(super) fn length(rows: usize, columns: usize, tiles: usize, slots: Slots) -> usize {
    blocks(rows, columns).length(tiles, slots)
}

fn blocks(rows: usize, columns: usize) -> Blocks {
    Blocks {
        down: rows / EDGE,
        across: columns / EDGE,
    }
}

/// Rows of every tile, outside the lanes; those of a tile are [`LANES`] numbers apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strip {
    /// Of the first tile.
    pub(super) start: *mut f32,
    /// From one tile to the next.
    pub(super) apart: usize,
    pub(super) rows: usize,
    /// From sixteen columns of the batch to the next.
    pub(super) panel: usize,
}

impl Strip {
    /// The rows as the batch has them.
    pub(super) fn panels(self) -> Panels {
        Panels {
            start: self.start,
            stride: self.panel,
        }
    }
}

/// As many tiles as there are lanes.
#[derive(Clone, Copy)]
pub(super) struct Interleaved<'a, S> {
    simd: S,
    size: Blocks,
    slots: Slots,
    start: *mut f32,
    /// What is asked for while this engine computes.
    ahead: Option<&'a Ahead>,
}

impl<'a, S: Simd> Interleaved<'a, S> {
    /// An engine whose matrices are not written yet; [`fits`] holds for the size, rows >= columns.
    ///
    /// # Safety
    /// From `start`, on a 64-byte boundary, as many numbers as [`length`] says are this engine's alone.
    pub(super) unsafe fn new(
        simd: S,
        (rows, columns): (usize, usize),
        slots: Slots,
        start: *mut f32,
        ahead: Option<&'a Ahead>,
    ) -> Self {
        let size = blocks(rows, columns);
        Interleaved {
            simd,
            size,
            slots,
            start,
            ahead,
        }
    }

    #[inline(always)]
    fn buffer(&self, slot: Slot) -> *mut f32 {
        let offset = self.size.offset(S::Lanes::TILES, self.slots, slot);
        self.start.wrapping_add(offset)
    }

    /// Room for a few rows of every tile of `columns` columns as it lies in memory, before the recurrence and after it: in
    /// the first level of cache, unlike whole tiles.
    pub(super) fn strip(&self, columns: usize) -> Strip {
        let start = self.buffer(Slot::Gram);
        if columns == LANES {
            // A panel each, and a line between them, so that the rows of two tiles share no set of the cache.
            let apart = EDGE * LANES + LANES;
            return Strip {
                start,
                apart,
                rows: EDGE,
                panel: apart,
            };
        }
        // One row of all tiles, panel behind panel.
        Strip {
            start,
            apart: columns,
            rows: 1,
            panel: LANES,
        }
    }

    /// Room for all tiles as they lie in memory side by side, before the recurrence.
    pub(super) fn whole(&self) -> Panels {
        Panels {
            start: self.buffer(Slot::Tall(1)),
            stride: self.size.down * EDGE * LANES,
        }
    }

    #[inline(always)]
    fn tall(&self, slot: Slot) -> Tall<S::Lanes> {
        Tall::new(self.buffer(slot), self.size.across)
    }

    /// A tall buffer has room for a symmetric matrix.
    #[inline(always)]
    fn symmetric(&self, slot: Slot) -> Symmetric<S::Lanes> {
        Symmetric::new(self.buffer(slot), self.size.across)
    }

    /// Asks for a little of what comes next.
    #[inline(always)]
    fn ask(&self) {
        if let Some(ahead) = self.ahead {
            ahead.ask_with_product(self.simd);
        }
    }
}

// SAFETY of every block below: `new` was granted the buffers, which do not overlap, and the recurrences name none twice.
impl<S: Simd> Products for Interleaved<'_, S> {
    #[inline(always)]
    fn rounds(&self) -> bool {
        false
    }

    #[inline(always)]
    fn gram(&self, x: Slot, gram: Slot, factor: f32) {
        self.ask();
        // SAFETY: see above.
        unsafe { self.inner_products(self.tall(x), self.symmetric(gram), factor) }
    }

    #[inline(always)]
    fn polynomial(&self, gram: Slot, output: Slot, linear: f32, factor: f32) {
        self.ask();
        let linear = Some(linear);
        let weights = Weights { linear, factor };
        // SAFETY: see above.
        unsafe { self.square(self.symmetric(gram), self.symmetric(output), weights) }
    }

    #[inline(always)]
    fn update(&self, left: Slot, gram: Slot, output: Slot, linear: f32, factor: f32) {
        self.ask();
        let (x, b, to) = (self.tall(left), self.symmetric(gram), self.tall(output));
        // SAFETY: see above.
        unsafe {
            if linear == 0.0 {
                self.multiply(x, b, to, factor, [None; 2]);
            } else {
                self.multiply(x, b, to, factor, [Some((linear, x)), None]);
            }
        }
    }
}

impl<S: Simd> Engine for Interleaved<'_, S> {
    #[inline(always)]
    fn columns(&self) -> usize {
        self.size.across * EDGE
    }

    #[inline(always)]
    fn combine(&self, left: Slot, gram: Slot, y: (Slot, f32), x: (Slot, f32)) {
        self.ask();
        let added = [x, y].map(|(slot, weight)| Some((weight, self.tall(slot))));
        let (left, gram) = (self.tall(left), self.symmetric(gram));
        // SAFETY: see above.
        unsafe { self.multiply(left, gram, self.tall(y.0), 1.0, added) }
    }

    #[inline(always)]
    fn mix(&self, output: Slot, y: (Slot, f32), x: (Slot, f32)) {
        let lanes = self.simd.lanes();
        let (b, e) = (lanes.same(y.1), lanes.same(x.1));
        let (to, y, x) = (self.buffer(output), self.buffer(y.0), self.buffer(x.0));
        for at in self.numbers() {
            // SAFETY: see above.
            unsafe {
                let scaled = lanes.mul(b, lanes.load(y.add(at)));
                lanes.store(to.add(at), lanes.fused(e, lanes.load(x.add(at)), scaled));
            }
        }
    }

    #[inline(always)]
    fn copy(&self, from: Slot, to: Slot) {
        let lanes = self.simd.lanes();
        let (from, to) = (self.buffer(from), self.buffer(to));
        for at in self.numbers() {
            // SAFETY: see above.
            unsafe { lanes.store(to.add(at), lanes.load(from.add(at))) }
        }
    }

    #[inline(always)]
    fn add_diagonal(&self, gram: Slot, value: f32) {
        let (lanes, gram) = (self.simd.lanes(), self.symmetric(gram));
        for column in 0..self.columns() {
            let at = gram.number(column, column);
            // SAFETY: see above.
            unsafe { lanes.store(at, lanes.add(lanes.load(at), lanes.same(value))) }
        }
    }

    #[inline(always)]
    fn gram_norm_squared(&self, gram: Slot) -> PerTile {
        let gram = self.symmetric(gram);
        self.sum_of_products(self.columns(), |row, column| {
            let number = gram.number(row, column);
            (number, number)
        })
    }

    #[inline(always)]
    fn scale(&self, x: Slot, factors: &PerTile) {
        self.scale_numbers(self.buffer(x), self.numbers(), factors);
    }

    #[inline(always)]
    fn scale_gram(&self, gram: Slot, factors: &PerTile) {
        let numbers = self.symmetric(gram).numbers();
        self.scale_numbers(self.buffer(gram), numbers, factors);
    }
}
