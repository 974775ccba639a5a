//! The whole step of a few tiles of one size: load with momentum, norm, criterion, recurrence, scale,
//! decay and update, while they are in the cache.

use super::criterion;
use super::elementwise as pass;
use super::elementwise::Norm;
use super::engine::{Engine, MOST_TILES, Slot, Tiles};
use super::job::{Counts, Job, Map, Outcome, State};
use super::layout::{AnyShape, Panels, Shape, Square};
use super::load::{Loaded, Rectangle, load, store_momentum};
use super::recurrence::{self, Mapped};
use super::simd::{LANES, Simd, Vectorized};
use super::store::store;
use super::team::Team;
use himuon_templates::{Criterion, Measure, Mode, Otherwise, StepTable};
use std::sync::{Mutex, PoisonError};

/// Up to [`MOST_TILES`] tiles side by side, all of one size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    /// Number of the first in its matrix.
    pub(super) first: usize,
    pub(super) rectangle: Rectangle,
    pub(super) count: usize,
}

impl Batch {
    fn rectangle(&self, tile: usize) -> Rectangle {
        Rectangle {
            column: self.rectangle.column + tile * self.rectangle.columns,
            ..self.rectangle
        }
    }
}

/// A batch in the hands of one thread.
struct Work<'a, S> {
    map: &'a Map,
    job: &'a Job,
    batch: Batch,
    engine: Tiles<'a, S, AnyShape, false>,
    turns: bool,
    kept: bool,
    outcomes: [Outcome; MOST_TILES],
}

/// Processes a batch.
///
/// # Safety
/// `base`, on a 64-byte boundary, has room for the buffers of the whole batch and is this thread's alone, and
/// so are the batch's parts of the job's tensors. A team of several threads has one tile.
pub(super) unsafe fn process<S: Simd>(
    simd: S,
    map: &Map,
    job: &Job,
    batch: Batch,
    team: Team<'_>,
    base: *mut f32,
) -> Counts {
    let kept = map.keeps(job.outcomes.is_some());
    let slots = recurrence::slots(&map.table, kept);
    let shape = map.oriented(batch.rectangle.rows, batch.rectangle.columns);
    let rounds = map.mode == Mode::Reference;
    let mut work = Work {
        map,
        job,
        batch,
        engine: Tiles::new(simd, shape, slots, map.blocking, rounds, team),
        turns: map.turns(batch.rectangle.rows, batch.rectangle.columns),
        kept,
        outcomes: [Outcome::default(); MOST_TILES],
    };
    for tile in 0..batch.count.min(MOST_TILES) {
        // SAFETY: the caller's word: each tile has its own part of the scratch.
        unsafe { work.engine.push(base.add(tile * slots.length(shape))) };
    }
    // SAFETY: the caller's word.
    unsafe {
        work.load_all();
        work.map_all();
    }
    work.finish()
}

// SAFETY of every block below: `process` was granted the scratch of `engine` and the tensors' parts.
impl<'a, S: Simd> Work<'a, S> {
    /// Loads and normalises every tile, and decides what can be decided before the recurrence.
    unsafe fn load_all(&mut self) {
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
            let loaded = self.load(rectangle, target);
            if loaded.non_finite {
                return;
            }
            self.engine.team.ranges(rectangle.rows, LANES, |rows| {
                store_momentum(simd, &self.job.source, rectangle.strip(rows));
            });
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
            Norm::of(scale, squares)
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

    /// Loads m, strip by strip.
    unsafe fn load(&self, rectangle: Rectangle, target: Panels) -> Loaded {
        let whole = Mutex::new(Loaded::NOTHING);
        self.engine.team.ranges(rectangle.rows, LANES, |rows| {
            // SAFETY: the rows exist in the tile and in the target.
            let loaded = unsafe {
                let target = Panels {
                    start: target.row(0, rows.start),
                    ..target
                };
                load(
                    self.engine.simd,
                    &self.job.source,
                    rectangle.strip(rows),
                    target,
                )
            };
            let mut whole = whole.lock().unwrap_or_else(PoisonError::into_inner);
            *whole = whole.merge(loaded);
        });
        whole.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tile as it lies in memory.
    fn unturned(&self, tile: usize, slot: Slot) -> Panels {
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

    /// Runs the recurrence on the tiles that are to be mapped, and stores every finite one.
    unsafe fn map_all(&mut self) {
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
            for (index, &tile) in order.iter().enumerate().take(active.tiles()) {
                // SAFETY: see above.
                unsafe { self.complete(tile, index, &mapped) }
            }
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
            && S::WIDE
            && rows == columns
            && !active.rounds()
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

    /// Takes the figures of a mapped tile and stores it, unless the nuclear rank speaks against it.
    unsafe fn complete(&mut self, tile: usize, index: usize, mapped: &Mapped) {
        let factor = f64::from(mapped.factors[index]);
        if self.kept || self.job.outcomes.is_some() {
            self.measure(tile, mapped.slot, factor);
        }
        if let Some((Measure::NuclearRank, threshold)) = self.map.tile_measure() {
            let inner = self.outcomes[tile].inner_product;
            if inner * inner / (self.engine.columns() as f64) < threshold {
                self.outcomes[tile].state = State::Unorthogonalised;
                return;
            }
        }
        let scale = self.job.scale.of(&self.job.grid, self.batch.rectangle);
        // SAFETY: see above.
        unsafe { self.store(tile, mapped.slot, scale * factor) }
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

    /// M itself, or X with the RMS of a mapped tile.
    unsafe fn store_unorthogonalised(&mut self, tile: usize) {
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
    unsafe fn store(&self, tile: usize, slot: Slot, factor: f64) {
        let simd = self.engine.simd;
        let rectangle = self.batch.rectangle(tile);
        let mut from = self.engine.tall(tile, slot);
        // SAFETY: see above.
        unsafe {
            if self.turns {
                let free = match slot {
                    Slot::Tall(number) => Slot::Tall((number + 1) % self.engine.slots.tall),
                    Slot::Gram | Slot::Kept => Slot::Tall(0),
                };
                let to = self.unturned(tile, free);
                let (panels, blocks) = (
                    rectangle.rows.div_ceil(LANES),
                    rectangle.columns.div_ceil(LANES),
                );
                self.engine.team.ranges(panels, 1, |panels| {
                    pass::transpose(simd, from, to, panels, blocks);
                });
                from = to;
            }
            self.engine.team.ranges(rectangle.rows, LANES, |rows| {
                let from = Panels {
                    start: from.row(0, rows.start),
                    ..from
                };
                store(simd, &self.job.sink, rectangle.strip(rows), from, factor);
            });
        }
    }

    /// Hands over the outcomes.
    fn finish(self) -> Counts {
        let mut counts = Counts::default();
        for tile in 0..self.batch.count {
            counts.add(self.outcomes[tile].state);
            if let Some(outcomes) = self.job.outcomes {
                // SAFETY: the tile's own place.
                unsafe { *outcomes.add(self.batch.first + tile) = self.outcomes[tile] }
            }
        }
        counts
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
