//! What is done to every number of interleaved tiles.

use super::{Interleaved, Strip};
use crate::cpu::engine::{PerTile, Slot};
use crate::cpu::simd::{EDGE, LANES, Lanes, Line, Simd};
use std::iter::StepBy;
use std::ops::Range;

// SAFETY of every block below: the buffers are the engine's; the tiles' are the callers' word.
impl<S: Simd> Interleaved<'_, S> {
    /// Copies `rows` of every tile from a strip to the buffer of X.
    ///
    /// # Safety
    /// The strip has them, of as many tiles as there are lanes.
    #[inline(always)]
    pub(in crate::cpu) unsafe fn enter(&self, strip: Strip, rows: Range<usize>) {
        let (lanes, to) = (self.simd.lanes(), self.tall(Slot::Tall(0)));
        for (number, row) in rows.enumerate() {
            for column in 0..self.size.across {
                let [target] = to.rows(row, column);
                // SAFETY: see above.
                unsafe {
                    let source = strip.start.add(number * LANES + column * EDGE);
                    lanes.interleave(source, strip.apart, target);
                }
            }
        }
    }

    /// The way back of [`Self::enter`], from a buffer.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub(in crate::cpu) unsafe fn leave(&self, slot: Slot, rows: Range<usize>, strip: Strip) {
        let (lanes, from) = (self.simd.lanes(), self.tall(slot));
        for (number, row) in rows.enumerate() {
            for column in 0..self.size.across {
                let [source] = from.rows(row, column);
                // SAFETY: see above.
                unsafe {
                    let target = strip.start.add(number * LANES + column * EDGE);
                    lanes.separate(source, target, strip.apart);
                }
            }
        }
    }

    /// Where every number of an M x N matrix begins in its buffer.
    #[inline(always)]
    pub(super) fn numbers(&self) -> StepBy<Range<usize>> {
        self.size.numbers(S::Lanes::TILES)
    }

    /// Whether all numbers of a tile's X are zero.
    pub(in crate::cpu) fn is_zero(&self, tile: usize) -> bool {
        let x = self.buffer(Slot::Tall(0));
        // SAFETY: see above; `tile` is a lane.
        (self.numbers()).all(|at| unsafe { *x.add(at + tile) } == 0.0)
    }

    /// sum(a b) over all elements of two M x N matrices of each tile.
    #[inline(always)]
    pub(in crate::cpu) fn inner_product(&self, a: Slot, b: Slot) -> PerTile {
        let (a, b) = (self.tall(a), self.tall(b));
        self.sum_of_products(self.size.down * EDGE, |row, column| {
            (a.number(row, column), b.number(row, column))
        })
    }

    /// sum(a b) over `rows` rows, `numbers` telling where the numbers of a row and a column are; in the order of
    /// [`product`](crate::cpu::elementwise::product): of each column row r is added to accumulator r mod 4, and the columns
    /// by halving.
    #[inline(always)]
    pub(super) fn sum_of_products(
        &self,
        rows: usize,
        numbers: impl Fn(usize, usize) -> (*mut f32, *mut f32),
    ) -> PerTile {
        let lanes = self.simd.lanes();
        let mut columns = [lanes.same(0.0); LANES];
        for column in 0..self.size.across * EDGE {
            let mut sums = [lanes.same(0.0); 4];
            for first in (0..rows).step_by(sums.len()) {
                for part in 0..sums.len() {
                    let (a, b) = numbers(first + part, column);
                    // SAFETY: see above.
                    unsafe { sums[part] = lanes.fused(lanes.load(a), lanes.load(b), sums[part]) }
                }
            }
            let (first, second) = (lanes.add(sums[0], sums[1]), lanes.add(sums[2], sums[3]));
            columns[column % LANES] = lanes.add(first, second);
        }
        let mut half = LANES / 2;
        while half > 0 {
            for column in 0..half {
                columns[column] = lanes.add(columns[column], columns[column + half]);
            }
            half /= 2;
        }
        let mut line = Line::ZERO;
        // SAFETY: a line has room for every lane.
        unsafe { lanes.store(line.0.as_mut_ptr(), columns[0]) }
        line.0
    }

    /// Multiplies some numbers of each tile by its factor.
    #[inline(always)]
    pub(super) fn scale_numbers(
        &self,
        start: *mut f32,
        numbers: StepBy<Range<usize>>,
        factors: &PerTile,
    ) {
        let (lanes, factors) = (self.simd.lanes(), Line(*factors));
        // SAFETY: a line has every lane; see above.
        unsafe {
            let factors = lanes.load(factors.0.as_ptr());
            for at in numbers {
                let at = start.add(at);
                lanes.store(at, lanes.mul(lanes.load(at), factors));
            }
        }
    }
}
