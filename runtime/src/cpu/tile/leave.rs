//! From a mapped tile to memory.

use super::Work;
use crate::cpu::elementwise as pass;
use crate::cpu::engine::{Engine, Slot};
use crate::cpu::job::{Counts, State};
use crate::cpu::layout::Panels;
use crate::cpu::load::Rectangle;
use crate::cpu::simd::{LANES, Simd};
use crate::cpu::store::{clear, store};
use himuon_templates::{Criterion, Otherwise};

// SAFETY of every block below: `process` was granted the scratch of `engine` and the tensors' parts.
impl<S: Simd> Work<'_, S> {
    /// M itself, or X with the RMS of a mapped tile.
    pub(super) unsafe fn store_unorthogonalised(&mut self, tile: usize) {
        let rank = self.engine.columns() as f64;
        let otherwise = match self.map.criterion {
            Criterion::Tested { otherwise, .. } => otherwise,
            Criterion::Always => Otherwise::RmsMatched,
        };
        let outcome = &mut self.outcomes[tile];
        let (factor, scale) = match otherwise {
            Otherwise::Momentum => (outcome.norm, 1.0),
            Otherwise::RmsMatched if outcome.norm > 0.0 => (
                rank.sqrt(),
                self.job.scale.of(&self.job.grid, self.batch.rectangle),
            ),
            Otherwise::RmsMatched => (0.0, 1.0),
        };
        outcome.inner_product = factor;
        outcome.squares = factor * factor;
        let slot = if self.kept { Slot::Kept } else { Slot::Tall(0) };
        // SAFETY: see above.
        unsafe { self.store(tile, slot, factor * scale) }
    }

    /// Stores factor times the matrix in `slot`.
    pub(super) unsafe fn store(&self, tile: usize, slot: Slot, factor: f64) {
        let simd = self.engine.simd;
        let rectangle = self.batch.rectangle(tile);
        let (mut slot, mut factor) = (slot, factor);
        let mut from = self.engine.tall(tile, slot);
        // SAFETY: see above.
        unsafe {
            if self.turns {
                slot = self.other(slot);
                let to = self.unturned(tile, slot);
                let (panels, blocks) = (
                    rectangle.rows.div_ceil(LANES),
                    rectangle.columns.div_ceil(LANES),
                );
                self.engine.team.ranges(panels, 1, |panels| {
                    pass::transpose(simd, from, to, panels, blocks);
                });
                from = to;
            }
            (from, factor) = self.with_coarse_part(tile, slot, (from, factor));
            self.store_panels(&rectangle, from, factor);
        }
    }

    /// Stores factor times `from`: at once, or strip by strip on a team.
    pub(super) unsafe fn store_panels(&self, rectangle: &Rectangle, from: Panels, factor: f64) {
        let simd = self.engine.simd;
        // SAFETY: see above.
        unsafe {
            if self.engine.team.is_alone() {
                return store(simd, &self.job.sink, rectangle, from, factor);
            }
            self.engine.team.ranges(rectangle.rows, LANES, |rows| {
                let from = Panels {
                    start: from.row(0, rows.start),
                    ..from
                };
                store(simd, &self.job.sink, &rectangle.strip(rows), from, factor);
            });
        }
    }

    /// Hands over the outcomes; the map of a non-finite tile is zero.
    pub(super) unsafe fn finish(self) -> Counts {
        let mut counts = Counts::default();
        for tile in 0..self.batch.count {
            if self.outcomes[tile].state == State::NonFinite {
                // SAFETY: see above.
                unsafe {
                    clear(
                        self.engine.simd,
                        &self.job.sink,
                        &self.batch.rectangle(tile),
                    )
                }
            }
            counts.add(self.outcomes[tile].state);
            if let Some(outcomes) = self.job.outcomes {
                // SAFETY: the tile's own place.
                unsafe { *outcomes.add(self.batch.first + tile) = self.outcomes[tile] }
            }
        }
        counts
    }
}
