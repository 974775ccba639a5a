//! From memory to a normalised X.

use super::Work;
use crate::cpu::criterion;
use crate::cpu::elementwise as pass;
use crate::cpu::elementwise::Norm;
use crate::cpu::engine::{Products, Slot};
use crate::cpu::job::{Outcome, State};
use crate::cpu::layout::{Panels, Shape};
use crate::cpu::load::{Loaded, Rectangle, load, store_momentum};
use crate::cpu::simd::{LANES, Simd};
use himuon_templates::Measure;
use std::sync::{Mutex, PoisonError};

// SAFETY of every block below: `process` was granted the scratch of `engine` and the tensors' parts.
impl<S: Simd> Work<'_, S> {
    /// Loads and normalises every tile, and decides what can be decided before the recurrence.
    pub(super) unsafe fn load_all(&mut self) {
        for tile in 0..self.batch.count {
            // SAFETY: see above.
            unsafe { self.load_one(tile) }
        }
    }

    unsafe fn load_one(&mut self, tile: usize) {
        let (simd, shape) = (self.engine.simd, self.engine.shape);
        let rectangle = self.batch.rectangle(tile);
        let x = self.engine.tall(tile, Slot::Tall(0));
        // SAFETY: see above.
        let loaded = unsafe {
            let target = if self.turns {
                self.unturned(tile, Slot::Tall(1))
            } else {
                x
            };
            let loaded = match self.job.coupling.filter(|coupling| !coupling.mute) {
                Some(coupling) => self.load_remainder(tile, coupling, target),
                None => self.load(&rectangle, target),
            };
            if loaded.non_finite {
                return;
            }
            if self.engine.team.is_alone() {
                store_momentum(simd, &self.job.source, &rectangle);
            } else {
                self.engine.team.ranges(rectangle.rows, LANES, |rows| {
                    store_momentum(simd, &self.job.source, &rectangle.strip(rows));
                });
            }
            if self.turns {
                self.turn_in(target, x);
            }
            loaded
        };
        let rows = shape.rows();
        let rounds = self.engine.rounds();
        let scale = if rounds {
            1.0
        } else {
            Norm::scale(loaded.largest)
        };
        let squares = self.engine.product(x, x, rows, scale);
        let norm = if rounds {
            Norm::published(squares)
        } else {
            self.without_rounding(Norm::of(scale, squares), loaded.largest)
        };
        self.engine.normalise(x, norm.scale, norm.inverse);
        self.outcomes[tile] = Outcome {
            state: if self.holds_before(x, norm) {
                State::Mapped
            } else {
                State::Unorthogonalised
            },
            norm: norm.norm,
            inner_product: 0.0,
            squares: 0.0,
        };
    }

    /// Loads m: at once, or strip by strip on a team.
    pub(super) unsafe fn load(&self, rectangle: &Rectangle, target: Panels) -> Loaded {
        let (simd, source) = (self.engine.simd, &self.job.source);
        if self.engine.team.is_alone() {
            // SAFETY: the rows exist in the tile and in the target.
            return unsafe { load(simd, source, rectangle, target) };
        }
        let whole = Mutex::new(Loaded::NOTHING);
        self.engine.team.ranges(rectangle.rows, LANES, |rows| {
            // SAFETY: as above.
            let loaded = unsafe {
                let target = Panels {
                    start: target.row(0, rows.start),
                    ..target
                };
                load(simd, source, &rectangle.strip(rows), target)
            };
            let mut whole = whole.lock().unwrap_or_else(PoisonError::into_inner);
            *whole = whole.merge(loaded);
        });
        whole.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tile as it lies in memory.
    pub(super) fn unturned(&self, tile: usize, slot: Slot) -> Panels {
        Panels {
            stride: self.batch.rectangle.rows.next_multiple_of(LANES) * LANES,
            ..self.engine.tall(tile, slot)
        }
    }

    /// Transposes a loaded tile.
    unsafe fn turn_in(&self, from: Panels, to: Panels) {
        let (simd, Rectangle { rows, columns, .. }) = (self.engine.simd, self.batch.rectangle);
        let panels = columns.div_ceil(LANES);
        // SAFETY: panels have room for a multiple of sixteen rows.
        unsafe {
            pass::clear_rows(simd, from, panels, rows..rows.next_multiple_of(LANES));
        }
        // SAFETY: as above.
        self.engine.team.ranges(panels, 1, |panels| unsafe {
            pass::transpose(simd, from, to, panels, rows.div_ceil(LANES));
        });
    }

    /// The criteria that need no product.
    fn holds_before(&self, x: Panels, norm: Norm) -> bool {
        let shape = self.engine.shape;
        if let Some(decided) = self.job.decided {
            return decided;
        }
        match self.map.tile_measure() {
            Some((Measure::FroNorm, threshold)) => norm.norm >= threshold,
            Some((Measure::MinGap, threshold)) => {
                // SAFETY: X has the rows and columns of the shape.
                let gap = unsafe { criterion::min_gap(x, shape.rows(), shape.columns()) };
                gap >= threshold
            }
            _ => true,
        }
    }
}
