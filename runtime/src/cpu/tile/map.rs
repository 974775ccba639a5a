//! The recurrence on the tiles that are to be mapped.

use super::Work;
use crate::cpu::criterion;
use crate::cpu::engine::{Engine, MOST_TILES, Products, Slot};
use crate::cpu::job::State;
use crate::cpu::layout::{AnyShape, Shape, Square};
use crate::cpu::recurrence::{self, Mapped};
use crate::cpu::simd::{Simd, Vectorized};
use crate::cpu::tiles::Tiles;
use himuon_templates::{Measure, StepTable};

// SAFETY of every block below: `process` was granted the scratch of `engine` and the tensors' parts.
impl<'a, S: Simd> Work<'a, S> {
    /// Runs the recurrence on the tiles that are to be mapped, and stores every finite one.
    pub(super) unsafe fn map_all(&mut self) {
        if self.kept {
            self.engine.copy(Slot::Tall(0), Slot::Kept);
        }
        let mut order = [0; MOST_TILES];
        let mut active = self.select(&mut order);
        let ready = matches!(self.map.tile_measure(), Some((Measure::EffectiveRank, _)));
        if ready && active.tiles() > 0 {
            let gram = recurrence::gram_slot(&self.map.table, self.engine.rounds());
            active.gram(Slot::Tall(0), gram, 1.0);
            self.reject_low_rank(&active.gram_norm_squared(gram), &order, active.tiles());
            active = self.select(&mut order);
        }
        if active.tiles() > 0 {
            // SAFETY: see above.
            let mapped = unsafe { self.iterate(&active, ready) };
            let order = &order[..active.tiles()];
            for (index, &tile) in order.iter().enumerate() {
                self.judge(tile, index, &mapped);
            }
            // SAFETY: see above.
            unsafe { self.store_mapped(order, &mapped) }
        }
        for tile in 0..self.batch.count {
            if self.outcomes[tile].state == State::Unorthogonalised {
                // SAFETY: see above.
                unsafe { self.store_unorthogonalised(tile) }
            }
        }
    }

    /// Runs the recurrence; the stock grid is compiled for each size, every other tile shares one kernel.
    unsafe fn iterate(&self, active: &Tiles<'a, S, AnyShape, false>, ready: bool) -> Mapped {
        let AnyShape { rows, columns } = active.shape;
        let table = &self.map.table;
        if let StepTable::Odd(steps) = table
            && rows == columns
            && !active.rounds()
            && steps.iter().all(|[linear, ..]| *linear != 0.0)
        {
            // SAFETY: the shape was compared; `active` is idle meanwhile.
            unsafe {
                match rows {
                    16 => return stock(active.specialised(Square::<16>), steps, ready),
                    32 => return stock(active.specialised(Square::<32>), steps, ready),
                    _ => {}
                }
            }
        }
        recurrence::iterate(active, table, self.map.power, ready)
    }

    /// An engine of the tiles that are to be mapped, and their numbers in the batch.
    fn select(&self, order: &mut [usize; MOST_TILES]) -> Tiles<'a, S, AnyShape, false> {
        let whole = &self.engine;
        let mut active = Tiles::new(
            whole.simd,
            whole.shape,
            whole.slots,
            whole.blocking,
            whole.rounds(),
            whole.team,
            whole.ahead(),
        );
        for tile in 0..self.batch.count {
            if self.outcomes[tile].state == State::Mapped {
                order[active.tiles()] = tile;
                // SAFETY: the buffers were granted to `engine`, which is idle while `active` runs.
                unsafe { active.push(whole.base(tile)) };
            }
        }
        active
    }

    fn reject_low_rank(&mut self, squares: &[f32; MOST_TILES], order: &[usize], count: usize) {
        let Some((_, threshold)) = self.map.tile_measure() else {
            return;
        };
        for (square, &tile) in squares.iter().zip(order).take(count) {
            if criterion::effective_rank(*square, self.engine.columns()) < threshold {
                self.outcomes[tile].state = State::Unorthogonalised;
            }
        }
    }

    /// Takes the figures of a mapped tile, and whether the nuclear rank speaks against it.
    fn judge(&mut self, tile: usize, index: usize, mapped: &Mapped) {
        if self.kept || self.job.outcomes.is_some() {
            self.measure(tile, mapped.slot, f64::from(mapped.factors[index]));
        }
        if let Some((Measure::NuclearRank, threshold)) = self.map.tile_measure() {
            let inner = self.outcomes[tile].inner_product;
            if inner * inner / (self.engine.columns() as f64) < threshold {
                self.outcomes[tile].state = State::Unorthogonalised;
            }
        }
    }

    /// Stores what was mapped: all at once where the tiles lie side by side, else tile by tile.
    unsafe fn store_mapped(&self, order: &[usize], mapped: &Mapped) {
        let scale = self.job.scale.of(&self.job.grid, self.batch.rectangle);
        let factor = |index: usize| scale * f64::from(mapped.factors[index]);
        let is_mapped = |tile: usize| self.outcomes[tile].state == State::Mapped;
        let alike = order.len() == self.batch.count
            && (0..order.len()).all(|tile| is_mapped(tile) && factor(tile) == factor(0));
        // SAFETY: see above.
        unsafe {
            if let Some(from) = self.side_by_side(mapped.slot).filter(|_| alike) {
                return self.store_panels(&self.batch.whole(), from, factor(0));
            }
            for (index, &tile) in order.iter().enumerate() {
                if is_mapped(tile) {
                    self.store(tile, mapped.slot, factor(index));
                }
            }
        }
    }

    fn measure(&mut self, tile: usize, slot: Slot, factor: f64) {
        let rows = self.engine.shape.rows();
        let output = self.engine.tall(tile, slot);
        let kept = self.engine.tall(tile, Slot::Kept);
        let squares = self.engine.product(output, output, rows, 1.0);
        let inner = self.engine.product(kept, output, rows, 1.0);
        self.outcomes[tile].inner_product = f64::from(inner) * factor;
        self.outcomes[tile].squares = f64::from(squares) * factor * factor;
    }
}

/// [`recurrence::odd`] compiled for one size.
struct Stock<'a, S, D> {
    engine: Tiles<'a, S, D, true>,
    steps: &'a [[f32; 3]],
    ready: bool,
}

impl<S: Simd, D: Shape> Vectorized for Stock<'_, S, D> {
    type Output = Mapped;
    #[inline(always)]
    fn run<Same: Simd>(self, _simd: Same) -> Mapped {
        recurrence::odd(&self.engine, self.steps, self.ready)
    }
}

fn stock<S: Simd, D: Shape>(
    engine: Tiles<'_, S, D, true>,
    steps: &[[f32; 3]],
    ready: bool,
) -> Mapped {
    let simd = engine.simd;
    simd.vectorize(Stock {
        engine,
        steps,
        ready,
    })
}
