//! The whole step of a few tiles of one size: load with momentum, norm, criterion, recurrence, scale,
//! decay and update, while they are in the cache.
//!
//! `enter` brings tiles from memory to a normalised X, `map` runs the recurrence on those that the criterion asks
//! for, `interleave` on whole batches of small ones, `leave` writes them; `coupling` is what a coarse part does to them on both ways.

mod coupling;
mod enter;
mod interleave;
mod leave;
mod map;

use self::interleave::Progress;
use super::ahead::{Ahead, Calls, MOST_AHEAD, Rows};
use super::elementwise::Extent;
use super::engine::{MOST_TILES, Slot};
use super::job::{Counts, Job, Map, Outcome};
use super::layout::{AnyShape, Panels, Shape};
use super::load::Rectangle;
use super::recurrence;
use super::simd::{LANES, Lanes, Simd};
use super::storage::Pointer;
use super::store::Sink;
use super::team::Team;
use super::tiles::Tiles;
use super::variant::tiles_at_a_time;
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

    /// Its tiles in order, at most `most` at a time: of one row, or whole rows.
    fn parts(self, most: usize) -> impl Iterator<Item = Batch> {
        let across = self.across.min(most);
        let down = match across == self.across {
            true => most / across,
            false => 1,
        };
        let rows = self.count / self.across;
        (0..rows).step_by(down).flat_map(move |row| {
            (0..self.across).step_by(across).map(move |column| {
                let tile = row * self.across + column;
                let across = across.min(self.across - column);
                Batch {
                    first: self.first + tile,
                    rectangle: self.rectangle(tile),
                    across,
                    count: across * down.min(rows - row),
                }
            })
        })
    }

    /// Whether all tiles lie side by side.
    fn is_row(&self) -> bool {
        self.across == self.count
    }
}

/// Batches that were mapped in lanes.
#[cfg(test)]
pub(in crate::cpu) static INTERLEAVED: std::sync::atomic::AtomicUsize =
    std::sync::atomic::AtomicUsize::new(0);

/// A batch in the hands of one thread.
struct Work<'a, S> {
    map: &'a Map,
    job: &'a Job,
    batch: &'a Batch,
    engine: Tiles<'a, S, AnyShape, false>,
    turns: bool,
    kept: bool,
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

/// What is asked for while a batch is computed: what it is stored to, then what the next one is made of.
fn asked_meanwhile(job: &Job, batch: &Batch, next: Option<&Batch>, calls: Calls) -> Ahead {
    let whole = batch.whole();
    if whole.rows * whole.columns > MOST_AHEAD {
        return Ahead::new([None; 3], calls);
    }
    let rows = |tensor: Pointer, leading: usize, part: Rectangle| {
        let (start, size) = tensor.bytes();
        let start = start.wrapping_add((part.row * leading + part.column) * size);
        Rows::new(start, leading * size, part.columns * size, part.rows)
    };
    let (to, leading) = match job.sink {
        Sink::Weight { weight, .. } => (weight.start, weight.leading),
        Sink::Plain { output, leading } => (output, leading),
    };
    let next = next.map(Batch::whole);
    let source = &job.source;
    let tensors = [
        Some(rows(to, leading, whole)),
        next.map(|next| rows(source.gradient, source.gradient_leading, next)),
        next.zip(source.momentum)
            .map(|(next, (momentum, leading))| rows(momentum, leading, next)),
    ];
    Ahead::new(tensors, calls)
}

/// How often the engine of a tile asks, at least.
fn fewest_calls<S: Simd>(map: &Map, rows: usize, columns: usize) -> Calls {
    let products = recurrence::fewest_products(&map.table);
    let panels = map.oriented(rows, columns).panels();
    // The stock sizes, whose products are compiled into their caller and ask for nothing, are among these.
    if panels <= 2 {
        return Calls::Products(products);
    }
    // A piece is 24 rows of a panel, or six; a symmetric product has half of the panels' rows, an update all.
    let rows_of_pieces = if S::WIDE { 24 } else { 6 };
    Calls::Pieces(products * panels * (panels * LANES / 2) / rows_of_pieces)
}

/// Processes a batch: in lanes where its tiles can be interleaved, else in panels, a few tiles at a time.
///
/// # Safety
/// `base`, on a 64-byte boundary, is what [`Map::lines`] lays out for tiles of the job's size, and this thread's alone,
/// as are the batch's parts of the job's tensors. A team of several threads has one tile. `next`, a batch of the
/// same job, is only asked for.
pub(super) unsafe fn process<S: Simd>(
    simd: S,
    map: &Map,
    job: &Job,
    batch: &Batch,
    next: Option<&Batch>,
    team: Team<'_>,
    base: *mut f32,
) -> Counts {
    let (rows, columns) = (batch.rectangle.rows, batch.rectangle.columns);
    let interleaves = map.interleaves(job.grid.tile_rows, job.grid.tile_columns)
        && map.interleaves(rows, columns)
        // Scratch is laid out for the map's own instruction set.
        && S::Lanes::TILES == map.variant.instruction_set.interleaved_tiles()
        // Lanes without a tile cost as much as the others: fewer tiles are faster in panels.
        && 3 * batch.count >= 2 * S::Lanes::TILES;
    if interleaves {
        let calls = Calls::Products(recurrence::fewest_products(&map.table));
        let ahead = asked_meanwhile(job, batch, next, calls);
        let mut work = Work::new(simd, map, job, batch, team, &ahead);
        // SAFETY: the caller's word.
        unsafe {
            work.grant(base);
            match work.map_interleaved() {
                Progress::Nothing => {}
                Progress::Stored => return work.finish(),
                Progress::Loaded => {
                    work.normalise_all();
                    work.map_all();
                    return work.finish();
                }
            }
        }
    }
    let mut counts = Counts::default();
    let most = tiles_at_a_time(map.variant.batch.into(), rows, columns).clamp(1, MOST_TILES);
    let mut parts = batch.parts(most).peekable();
    let calls = fewest_calls::<S>(map, rows, columns);
    while let Some(part) = parts.next() {
        let next = parts.peek().or(next);
        let ahead = asked_meanwhile(job, &part, next, calls);
        let mut work = Work::new(simd, map, job, &part, team, &ahead);
        // SAFETY: the caller's word.
        unsafe {
            work.grant(base);
            work.load_all();
            work.normalise_all();
            work.map_all();
            counts.merge(work.finish());
        }
    }
    counts
}

impl<'a, S: Simd> Work<'a, S> {
    /// A batch without scratch.
    fn new(
        simd: S,
        map: &'a Map,
        job: &'a Job,
        batch: &'a Batch,
        team: Team<'a>,
        ahead: &'a Ahead,
    ) -> Self {
        let Rectangle { rows, columns, .. } = batch.rectangle;
        let kept = map.keeps(job.outcomes.is_some());
        let engine = Tiles::new(
            simd,
            map.oriented(rows, columns),
            recurrence::slots(&map.table, kept),
            map.variant.blocking,
            map.mode == Mode::Reference,
            team,
            // A team's threads have no second batch to ask for.
            (map.variant.ahead && team.is_alone()).then_some(ahead),
        );
        Work {
            map,
            job,
            batch,
            engine,
            turns: map.turns(rows, columns),
            kept,
            extents: [None; MOST_TILES],
            outcomes: [Outcome::default(); MOST_TILES],
        }
    }

    /// Gives every tile its buffers.
    ///
    /// # Safety
    /// As [`process`].
    unsafe fn grant(&mut self, base: *mut f32) {
        let length = self.engine.slots.length(self.engine.shape);
        for tile in 0..self.batch.count.min(MOST_TILES) {
            // SAFETY: the caller's word: each tile has its own part of the scratch.
            unsafe { self.engine.push(base.add(tile * length)) };
        }
    }
}
