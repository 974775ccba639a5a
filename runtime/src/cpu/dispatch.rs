//! Ranges of tiles to threads, and tiles to the kernel of their size.

use super::job::{Counts, Job, Map};
use super::pool::Pool;
use super::scalars::{self, process_scalars};
use super::simd::{InstructionSet, Line, Shared, Simd, WithSimd};
use super::team::{Team, is_large};
use super::tile::{Batch, process};
use crate::cpu::engine::MOST_TILES;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// About how many elements one thread takes at a time: at least the first number, and the second where there are so
/// many that each thread has a few dozen turns all the same. Within a range the next tiles are asked for early.
const ELEMENTS_AT_A_TIME: [usize; 2] = [32 * 1024, 256 * 1024];
/// Elements of a tile that may be one of several at a time.
const SMALL: usize = 32 * 32;
/// Turns of each thread that keep the threads balanced.
const TURNS: usize = 32;

/// Processes every tile of `jobs`. `scratch` holds at least [`Map::lines`] for each job. Tiles that fit a core form one
/// list that the threads work off, each with an equal part of `scratch`; all threads share a larger one.
///
/// # Safety
/// The tensors of the jobs are valid, of their sizes, and nobody else's meanwhile.
pub(super) unsafe fn run(
    set: InstructionSet,
    map: &Map,
    jobs: &[Job],
    pool: &Pool,
    scratch: &mut [Line],
) -> Counts {
    let large = |job: &&Job| is_large(job.grid.tile_rows, job.grid.tile_columns);
    let mut counts = Counts::default();
    for job in jobs.iter().filter(large) {
        for tile in 0..job.grid.tiles() {
            counts.merge(set.with(Task {
                map,
                job,
                tiles: tile..tile + 1,
                team: Team::all(pool),
                base: scratch.as_mut_ptr().cast(),
            }));
        }
    }
    let small: Vec<&Job> = jobs.iter().filter(|job| !large(job)).collect();
    let per_worker = scratch.len() / pool.threads();
    let shared = Shared(scratch.as_mut_ptr());
    let ranges = Ranges::new(&small, pool.threads());
    let non_finite = AtomicUsize::new(0);
    let unorthogonalised = AtomicUsize::new(0);
    pool.for_each(ranges.count(), |worker, unit| {
        let (job, tiles) = ranges.get(unit);
        let task = Task {
            map,
            job: small[job],
            tiles,
            team: Team::ALONE,
            // SAFETY: worker < threads, so that the part lies inside `scratch`.
            base: unsafe { shared.at(worker * per_worker).cast() },
        };
        let counts = set.with(task);
        non_finite.fetch_add(counts.non_finite, Ordering::Relaxed);
        unorthogonalised.fetch_add(counts.unorthogonalised, Ordering::Relaxed);
    });
    counts.merge(Counts {
        non_finite: non_finite.into_inner(),
        unorthogonalised: unorthogonalised.into_inner(),
        uncoupled: 0,
    });
    counts
}

/// The tiles of all jobs, cut into ranges.
struct Ranges {
    /// For each job: tiles, tiles in a range, and number of its first range.
    jobs: Vec<(usize, usize, usize)>,
    count: usize,
}

impl Ranges {
    fn new(jobs: &[&Job], threads: usize) -> Ranges {
        let elements: usize = jobs
            .iter()
            .map(|job| job.grid.rows * job.grid.columns)
            .sum();
        let [fewest, most] = ELEMENTS_AT_A_TIME;
        let elements = match threads {
            // Nobody waits for a thread that is alone.
            1 => elements.max(1),
            _ => (elements / (TURNS * threads)).clamp(fewest, most),
        };
        let mut count = 0;
        let jobs = jobs
            .iter()
            .map(|job| {
                let area = job.grid.tile_rows * job.grid.tile_columns;
                let unit = match (area, job.coupling) {
                    // Whole rows, of which a few are coupled at a time.
                    (1, Some(_)) => job.grid.columns,
                    (..=SMALL, _) => MOST_TILES,
                    _ => 1,
                };
                let at_a_time = elements.div_ceil(area).next_multiple_of(unit);
                let first = count;
                count += job.grid.tiles().div_ceil(at_a_time);
                (job.grid.tiles(), at_a_time, first)
            })
            .collect();
        Ranges { jobs, count }
    }

    fn count(&self) -> usize {
        self.count
    }

    /// The job and the tiles of a range.
    fn get(&self, range: usize) -> (usize, Range<usize>) {
        let job = self.jobs.partition_point(|&(_, _, first)| first <= range) - 1;
        let (tiles, at_a_time, first) = self.jobs[job];
        let start = (range - first) * at_a_time;
        (job, start..tiles.min(start + at_a_time))
    }
}

/// A range of tiles for one thread.
struct Task<'a> {
    map: &'a Map,
    job: &'a Job,
    tiles: Range<usize>,
    team: Team<'a>,
    base: *mut f32,
}

impl WithSimd for Task<'_> {
    type Output = Counts;
    fn with<S: Simd>(self, simd: S) -> Counts {
        if let Some(steps) = scalars::steps(self.map, self.job) {
            // SAFETY: as below.
            return unsafe {
                process_scalars(simd, self.map, steps, self.job, self.tiles, self.base)
            };
        }
        let mut counts = Counts::default();
        let mut first = self.tiles.start;
        let mut batch = self.batch(first);
        while first < self.tiles.end {
            first += batch.count;
            let next = (first < self.tiles.end).then(|| self.batch(first));
            // SAFETY: `run` of this module granted the tensors and this worker's scratch; the ranges of two
            // tasks share no tile.
            let done = unsafe {
                let (map, job) = (self.map, self.job);
                process(simd, map, job, &batch, next.as_ref(), self.team, self.base)
            };
            counts.merge(done);
            batch = next.unwrap_or(batch);
        }
        counts
    }
}

impl Task<'_> {
    /// Tiles from `first` on that are of one size: those that lie side by side, or as many rows of a narrow matrix's tiles.
    fn batch(&self, first: usize) -> Batch {
        let grid = &self.job.grid;
        let rectangle = grid.rectangle(first);
        let left = self.tiles.end - first;
        // A ragged tile may count as small where its matrix's do not; the scratch is laid out for the latter.
        let most = self.map.batch_of(grid.tile_rows, grid.tile_columns);
        let most = most.clamp(1, MOST_TILES).min(left);
        let same = (grid.columns - rectangle.column) / rectangle.columns;
        // Whole rows of tiles, none of which is ragged.
        let whole =
            rectangle.column == 0 && same == grid.across && rectangle.rows == grid.tile_rows;
        let down = match whole {
            true => (grid.rows - rectangle.row) / rectangle.rows,
            false => 1,
        };
        let across = match same {
            // Two halves that fill most of the lanes each, rather than all of them once and few of them then.
            _ if same < 2 * most && 3 * (same / 2) >= 2 * most && 3 * same < 5 * most => {
                same.div_ceil(2)
            }
            _ => same.clamp(1, most),
        };
        Batch {
            first,
            rectangle,
            across,
            count: across * down.clamp(1, most / across),
        }
    }
}
