//! From memory to a normalised X.

use super::Work;
use crate::cpu::criterion;
use crate::cpu::elementwise as pass;
use crate::cpu::elementwise::{Extent, Norm};
use crate::cpu::engine::{MOST_TILES, Products, Slot};
use crate::cpu::job::{Outcome, State};
use crate::cpu::layout::{Panels, Shape};
use crate::cpu::load::{Rectangle, load, restore_momentum};
use crate::cpu::simd::{LANES, Simd};
use himuon_templates::Measure;
use std::sync::{Mutex, PoisonError};

// SAFETY of every block below: `process` was granted the scratch of `engine` and the tensors' parts.
impl<S: Simd> Work<'_, S> {
    /// Loads every tile. One pass after the other over all tiles, so that none waits for the sums and roots of the one
    /// before it.
    pub(super) unsafe fn load_all(&mut self) {
        let together = self.side_by_side(Slot::Tall(0));
        if let Some((x, previous)) = together.zip(self.side_by_side(Slot::Tall(1))) {
            // SAFETY: see above.
            return unsafe { self.load(&self.batch.whole(), x, previous) };
        }
        for tile in 0..self.batch.count {
            // SAFETY: see above.
            self.extents[tile] = unsafe { self.load_one(tile) };
        }
    }

    /// Normalises every tile, and decides what can be decided before the recurrence.
    pub(super) unsafe fn normalise_all(&mut self) {
        let mut squares = [0.0; MOST_TILES];
        let (tiles, rows) = (self.batch.count, self.engine.shape.rows());
        for (tile, squares) in squares.iter_mut().enumerate().take(tiles) {
            let x = self.engine.tall(tile, Slot::Tall(0));
            *squares = self.engine.product(x, x, rows, 1.0);
        }
        for tile in 0..tiles {
            // SAFETY: see above.
            unsafe { self.normalise(tile, squares[tile], self.extents[tile]) }
        }
    }

    /// Loads a tile, its extent too where it cannot be taken, or the momentum not be restored, later.
    unsafe fn load_one(&self, tile: usize) -> Option<Extent> {
        let rectangle = self.batch.rectangle(tile);
        let x = self.engine.tall(tile, Slot::Tall(0));
        let coupling = self.job.coupling.filter(|coupling| !coupling.mute);
        // SAFETY: see above.
        unsafe {
            if coupling.is_none() && !self.turns {
                self.load(&rectangle, x, self.engine.tall(tile, Slot::Tall(1)));
                return None;
            }
            // The other buffer than the one that X is loaded to.
            let (target, spare) = match self.turns {
                true => (self.unturned(tile, Slot::Tall(1)), Slot::Tall(0)),
                false => (x, Slot::Tall(1)),
            };
            let spare = self.unturned(tile, spare);
            let (loaded, previous) = match coupling {
                Some(_) => (spare, target),
                None => (target, spare),
            };
            self.load(&rectangle, loaded, previous);
            let extent = self.extent(loaded, rectangle.rows, rectangle.columns);
            if extent.non_finite {
                restore_momentum(self.engine.simd, &self.job.source, &rectangle, previous);
                return Some(extent);
            }
            if let Some(coupling) = coupling {
                self.subtract_coarse_part(tile, coupling, loaded, target);
            }
            if self.turns {
                self.turn_in(target, x);
            }
            Some(extent)
        }
    }

    /// Brings a loaded tile to norm 1. `squares` is the sum of its numbers' squares; where that does not say enough,
    /// its extent is taken now.
    unsafe fn normalise(&mut self, tile: usize, squares: f32, extent: Option<Extent>) {
        let shape = self.engine.shape;
        let x = self.engine.tall(tile, Slot::Tall(0));
        let ordinary = Norm::is_ordinary(squares);
        let extent = extent.unwrap_or_else(|| {
            if ordinary {
                return Extent::default();
            }
            // SAFETY: see above; the momentum's copy is where `load_one` left it.
            unsafe {
                let extent = self.extent(x, shape.rows(), shape.columns());
                if extent.non_finite {
                    let (source, rectangle) = (&self.job.source, self.batch.rectangle(tile));
                    let previous = self.engine.tall(tile, Slot::Tall(1));
                    restore_momentum(self.engine.simd, source, &rectangle, previous);
                }
                extent
            }
        });
        if extent.non_finite {
            return;
        }
        let norm = if self.engine.rounds() {
            Norm::published(squares)
        } else if ordinary {
            self.without_rounding(Norm::of(1.0, squares), extent.largest)
        } else {
            let scale = Norm::scale(extent.largest);
            let squares = self.engine.product(x, x, shape.rows(), scale);
            self.without_rounding(Norm::of(scale, squares), extent.largest)
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

    /// Loads m and leaves a copy of the momentum in `previous`: at once, or strip by strip on a team.
    pub(super) unsafe fn load(&self, rectangle: &Rectangle, target: Panels, previous: Panels) {
        let (simd, source) = (self.engine.simd, &self.job.source);
        if self.engine.team.is_alone() {
            // SAFETY: the rows exist in the tile and in the panels.
            return unsafe { load(simd, source, rectangle, target, Some(previous)) };
        }
        self.engine.team.ranges(rectangle.rows, LANES, |rows| {
            // SAFETY: as above.
            unsafe {
                let [target, previous] = [target, previous].map(|panels| Panels {
                    start: panels.row(0, rows.start),
                    ..panels
                });
                load(simd, source, &rectangle.strip(rows), target, Some(previous));
            }
        });
    }

    /// The extent of a matrix in panels.
    unsafe fn extent(&self, matrix: Panels, rows: usize, columns: usize) -> Extent {
        let (simd, panels) = (self.engine.simd, columns.div_ceil(LANES));
        let whole = Mutex::new(Extent::default());
        self.engine.team.ranges(rows, LANES, |rows| {
            // SAFETY: as above.
            let extent = unsafe { pass::extent(simd, matrix, 0..panels, rows) };
            let mut whole = whole.lock().unwrap_or_else(PoisonError::into_inner);
            *whole = whole.merge(extent);
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
