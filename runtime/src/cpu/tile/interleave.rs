//! A batch of small tiles that are all mapped: loaded, normalised, mapped and stored with a tile in each lane.

use super::Work;
use crate::cpu::elementwise::Norm;
use crate::cpu::engine::{Engine, MOST_TILES, PerTile, Slot};
use crate::cpu::interleaved::{Interleaved, Strip};
use crate::cpu::job::{Outcome, State};
use crate::cpu::layout::{Panels, Shape};
use crate::cpu::load::restore_momentum;
use crate::cpu::recurrence::{self, Mapped};
use crate::cpu::simd::{LANES, Lanes, Simd, Vectorized};
use himuon_templates::StepTable;
use std::ops::Range;

/// How far a batch has come.
pub(super) enum Progress {
    /// The tensors are as they were.
    Nothing,
    /// As [`Work::load_all`] leaves it.
    Loaded,
    /// Mapped and stored.
    Stored,
}

// SAFETY of every block below: `process` was granted the tensors' parts, and scratch that `Map::lines` laid out for the
// buffers of as many tiles as there are lanes with the interleaved matrices behind them.
impl<'a, S: Simd> Work<'a, S> {
    /// Loads, maps and stores the batch, which fills most of the lanes, if all its tiles are finite, and none so large or
    /// small that it would have to be scaled first.
    pub(super) unsafe fn map_interleaved(&mut self) -> Progress {
        let count = self.batch.count;
        let (simd, engine) = (self.engine.simd, self.interleaved());
        // SAFETY: see above.
        if !unsafe { self.enter(engine) } {
            return Progress::Loaded;
        }
        let x = Slot::Tall(0);
        let squares = simd.vectorize(InnerProduct { engine, a: x, b: x });
        let is_ordinary = |tile: usize| match squares[tile] {
            0.0 => engine.is_zero(tile),
            squares => Norm::is_ordinary(squares),
        };
        if !(0..count).all(is_ordinary) {
            if !self.in_one_go() {
                return Progress::Loaded;
            }
            let (source, whole) = (&self.job.source, self.batch.whole());
            // SAFETY: see above.
            unsafe { restore_momentum(simd, source, &whole, engine.whole()) }
            return Progress::Nothing;
        }
        let mut inverses = [0.0; MOST_TILES];
        for tile in 0..count {
            let largest = self.extents[tile].unwrap_or_default().largest;
            let norm = self.without_rounding(Norm::of(1.0, squares[tile]), largest);
            inverses[tile] = norm.inverse;
            self.outcomes[tile] = Outcome {
                state: State::Mapped,
                norm: norm.norm,
                ..Outcome::default()
            };
        }
        let mapped = simd.vectorize(Run {
            engine,
            inverses,
            kept: self.kept,
            table: &self.map.table,
            power: self.map.power,
        });
        if self.kept {
            self.measure_interleaved(engine, &mapped);
        }
        // SAFETY: see above.
        unsafe { self.leave(engine, mapped) }
        #[cfg(test)]
        super::INTERLEAVED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Progress::Stored
    }

    /// The engine of the interleaved tiles.
    fn interleaved(&self) -> Interleaved<'a, S> {
        let shape = self.engine.shape;
        let buffers = S::Lanes::TILES * self.engine.slots.length(shape);
        let size = (shape.rows(), shape.columns());
        // SAFETY: see above.
        unsafe {
            let start = self.engine.base(0).add(buffers);
            let (simd, slots) = (self.engine.simd, self.engine.slots);
            Interleaved::new(simd, size, slots, start, self.engine.ahead())
        }
    }

    /// Whether rows of the whole batch can be loaded and stored in one go: as tiles lie in memory they are mapped.
    fn in_one_go(&self) -> bool {
        self.batch.is_row() && !self.turns && self.job.coupling.is_none()
    }

    /// The buffers that tiles are loaded to one by one.
    fn loaded(&self) -> Strip {
        let apart = self.engine.slots.length(self.engine.shape);
        Strip {
            start: self.engine.tall(0, Slot::Tall(0)).start,
            apart,
            rows: self.engine.shape.rows(),
            panel: apart,
        }
    }

    /// Loads the batch and brings it into lanes. If a tile is found not to be finite, it is only loaded.
    unsafe fn enter(&mut self, engine: Interleaved<'a, S>) -> bool {
        let (simd, whole) = (self.engine.simd, self.batch.whole());
        // SAFETY: see above.
        unsafe {
            if !self.in_one_go() {
                self.load_all();
                let mut extents = self.extents.iter().flatten();
                if extents.any(|extent| extent.non_finite) {
                    return false;
                }
                let (strip, rows) = (self.loaded(), 0..self.engine.shape.rows());
                self.clear_lanes(strip);
                simd.vectorize(Enter {
                    engine,
                    strip,
                    rows,
                });
                return true;
            }
            let (strip, kept) = (engine.strip(self.batch.rectangle.columns), engine.whole());
            self.clear_lanes(strip);
            for first in (0..whole.rows).step_by(strip.rows) {
                let rows = first..first + strip.rows;
                let previous = Panels {
                    start: kept.row(0, first),
                    ..kept
                };
                self.load(&whole.strip(rows.clone()), strip.panels(), previous);
                simd.vectorize(Enter {
                    engine,
                    strip,
                    rows,
                });
            }
        }
        true
    }

    /// Zeros in the lanes that have no tile.
    unsafe fn clear_lanes(&self, strip: Strip) {
        for tile in self.batch.count..S::Lanes::TILES {
            // SAFETY: see above; the last row ends where the next tile begins, or before.
            unsafe {
                let start = strip.start.add(tile * strip.apart);
                start.write_bytes(0, strip.apart.min(strip.rows * LANES));
            }
        }
    }

    /// Takes the figures of the mapped tiles.
    fn measure_interleaved(&mut self, engine: Interleaved<'a, S>, mapped: &Mapped) {
        let (simd, b) = (self.engine.simd, mapped.slot);
        let [squares, inner] =
            [b, Slot::Kept].map(|a| simd.vectorize(InnerProduct { engine, a, b }));
        for (tile, outcome) in self.outcomes[..self.batch.count].iter_mut().enumerate() {
            let factor = f64::from(mapped.factors[tile]);
            outcome.inner_product = f64::from(inner[tile]) * factor;
            outcome.squares = f64::from(squares[tile]) * factor * factor;
        }
    }

    /// Stores a buffer.
    unsafe fn leave(&self, engine: Interleaved<'a, S>, mapped: Mapped) {
        let (simd, slot) = (self.engine.simd, mapped.slot);
        let (whole, count) = (self.batch.whole(), self.batch.count);
        let scale = self.job.scale.of(&self.job.grid, self.batch.rectangle);
        let factors = &mapped.factors[..count];
        let alike = factors.iter().all(|factor| *factor == factors[0]);
        // SAFETY: see above.
        unsafe {
            if !alike || !self.in_one_go() {
                let (strip, rows) = (self.loaded(), 0..self.engine.shape.rows());
                simd.vectorize(Leave {
                    engine,
                    slot,
                    rows,
                    strip,
                });
                for (tile, factor) in factors.iter().enumerate() {
                    self.store(tile, Slot::Tall(0), scale * f64::from(*factor));
                }
                return;
            }
            let strip = engine.strip(self.batch.rectangle.columns);
            for first in (0..whole.rows).step_by(strip.rows) {
                let rows = first..first + strip.rows;
                simd.vectorize(Leave {
                    engine,
                    slot,
                    rows: rows.clone(),
                    strip,
                });
                let factor = scale * f64::from(factors[0]);
                self.store_panels(&whole.strip(rows), strip.panels(), factor);
            }
        }
    }
}

/// Brings rows of every tile into lanes.
struct Enter<'a, S> {
    engine: Interleaved<'a, S>,
    strip: Strip,
    rows: Range<usize>,
}

impl<S: Simd> Vectorized for Enter<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<Same: Simd>(self, _simd: Same) {
        // SAFETY: see above.
        unsafe { self.engine.enter(self.strip, self.rows) }
    }
}

/// sum(a b) of two matrices of each tile.
struct InnerProduct<'a, S> {
    engine: Interleaved<'a, S>,
    a: Slot,
    b: Slot,
}

impl<S: Simd> Vectorized for InnerProduct<'_, S> {
    type Output = PerTile;
    #[inline(always)]
    fn run<Same: Simd>(self, _simd: Same) -> PerTile {
        self.engine.inner_product(self.a, self.b)
    }
}

/// Normalises and maps.
struct Run<'a, S> {
    engine: Interleaved<'a, S>,
    inverses: PerTile,
    /// Whether the normalised X is needed afterwards.
    kept: bool,
    table: &'a StepTable,
    power: f64,
}

impl<S: Simd> Vectorized for Run<'_, S> {
    type Output = Mapped;
    #[inline(always)]
    fn run<Same: Simd>(self, _simd: Same) -> Mapped {
        self.engine.scale(Slot::Tall(0), &self.inverses);
        if self.kept {
            self.engine.copy(Slot::Tall(0), Slot::Kept);
        }
        recurrence::multiply(&self.engine, self.table, self.power, false)
    }
}

/// Brings rows of every tile back from a buffer.
struct Leave<'a, S> {
    engine: Interleaved<'a, S>,
    slot: Slot,
    rows: Range<usize>,
    strip: Strip,
}

impl<S: Simd> Vectorized for Leave<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<Same: Simd>(self, _simd: Same) {
        // SAFETY: see above.
        unsafe { self.engine.leave(self.slot, self.rows, self.strip) }
    }
}
