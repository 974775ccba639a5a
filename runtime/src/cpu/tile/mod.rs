//! The whole step of a few tiles of one size: load with momentum, norm, criterion, recurrence, scale,
//! decay and update, while they are in the cache.
//!
//! `ahead` asks for what is needed next, `enter` brings tiles from memory to a normalised X, `map` runs the recurrence on those that the criterion asks
//! for, `interleave` on whole batches of small ones, `leave` writes them; `coupling` is what a coarse part does to them on both ways.

pub(super) mod ahead;
mod coupling;
mod enter;
mod interleave;
mod leave;
mod map;

use self::ahead::Ahead;
use super::elementwise::Extent;
use super::engine::{MOST_TILES, Slot};
use super::job::{Counts, Job, Map, Outcome};
use super::layout::{AnyShape, Panels};
use super::load::Rectangle;
use super::recurrence;
use super::simd::{LANES, Simd};
use super::team::Team;
use super::tiles::Tiles;
use himuon_templates::Mode;

/// Up to [`MOST_TILES`] tiles of one size: some side by side, or whole rows of a narrow matrix's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    /// Number of the first in its matrix.
    pub(super) first: usize,
    /// The first.
    pub(super) rectangle: Rectangle,
    /// Tiles side by side.
    pub(super) across: usize,
    /// All tiles, a multiple of `across`.
    pub(super) count: usize,
}

impl Batch {
    /// All its tiles.
    fn whole(&self) -> Rectangle {
        Rectangle {
            rows: self.count / self.across * self.rectangle.rows,
            columns: self.across * self.rectangle.columns,
            ..self.rectangle
        }
    }

    #[inline]
    fn rectangle(&self, tile: usize) -> Rectangle {
        let (row, column) = (tile / self.across, tile % self.across);
        Rectangle {
            row: self.rectangle.row + row * self.rectangle.rows,
            column: self.rectangle.column + column * self.rectangle.columns,
            ..self.rectangle
        }
    }

    /// Whether all tiles lie side by side.
    fn is_row(&self) -> bool {
        self.across == self.count
    }
}

/// A batch in the hands of one thread.
struct Work<'a, S> {
    map: &'a Map,
    job: &'a Job,
    batch: &'a Batch,
    engine: Tiles<'a, S, AnyShape, false>,
    turns: bool,
    kept: bool,
    /// Whether tiles may share registers.
    interleaves: bool,
    /// Of the tiles as they were loaded, where it cannot be taken later.
    extents: [Option<Extent>; MOST_TILES],
    outcomes: [Outcome; MOST_TILES],
}

impl<S: Simd> Work<'_, S> {
    /// One buffer of every tile as one matrix, where a tile is a single full panel: it lies in memory as the batch does,
    /// whose rows are then read and written in one go.
    fn side_by_side(&self, slot: Slot) -> Option<Panels> {
        let panels = self.batch.rectangle.columns == LANES && self.batch.is_row();
        let alike = panels && !self.turns && self.job.coupling.is_none();
        alike.then(|| Panels {
            stride: self.engine.slots.length(self.engine.shape),
            ..self.engine.tall(0, slot)
        })
    }
}

/// Processes a batch.
///
/// # Safety
/// `base`, on a 64-byte boundary, has room for the buffers of the whole batch and is this thread's alone, and
/// so are the batch's parts of the job's tensors. A team of several threads has one tile. `next`, a batch of the same
/// job, is only asked for.
pub(super) unsafe fn process<S: Simd>(
    simd: S,
    map: &Map,
    job: &Job,
    batch: &Batch,
    next: Option<&Batch>,
    team: Team<'_>,
    base: *mut f32,
) -> Counts {
    let kept = map.keeps(job.outcomes.is_some());
    let slots = recurrence::slots(&map.table, kept);
    let shape = map.oriented(batch.rectangle.rows, batch.rectangle.columns);
    let rounds = map.mode == Mode::Reference;
    let ahead = Ahead::new(job, batch, next, recurrence::fewest_products(&map.table));
    // A team's threads have no second batch to ask for.
    let ahead = (map.variant.ahead && team.is_alone()).then_some(&ahead);
    let mut work = Work {
        map,
        job,
        batch,
        engine: Tiles::new(
            simd,
            shape,
            slots,
            map.variant.blocking,
            rounds,
            team,
            ahead,
        ),
        turns: map.turns(batch.rectangle.rows, batch.rectangle.columns),
        kept,
        interleaves: map.interleaves(job.grid.tile_rows, job.grid.tile_columns)
            && map.interleaves(batch.rectangle.rows, batch.rectangle.columns),
        extents: [None; MOST_TILES],
        outcomes: [Outcome::default(); MOST_TILES],
    };
    for tile in 0..batch.count.min(MOST_TILES) {
        // SAFETY: the caller's word: each tile has its own part of the scratch.
        unsafe { work.engine.push(base.add(tile * slots.length(shape))) };
    }
    // SAFETY: the caller's word.
    unsafe {
        if !work.map_interleaved() {
            work.normalise_all();
            work.map_all();
        }
        work.finish()
    }
}
