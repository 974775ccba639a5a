//! One tile that is too large for a core: its passes and products are cut into units, which all threads work off.
//!
//! With one thread the same units follow each other; those of a product are blocks whose operands stay in the
//! second-level cache.

use super::caches::second_level_bytes;
use super::pool::Pool;
use std::ops::Range;

/// Tiles with more elements than this are worked on by all threads together.
const LARGE: usize = 512 * 512;

/// Panels and rows of a block of a product. Of 24, a pass of 128 over a long sum reads twice 192 KiB, and the block is 576 KiB;
/// of 32 it is 256 KiB and 1 MiB, and every operand is read by fewer blocks.
fn block_panels(second_level_bytes: usize) -> usize {
    if second_level_bytes < 2 << 20 { 24 } else { 32 }
}

/// The threads that share a tile, or the one that has it alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Team<'a>(Option<&'a Pool>);

/// Whether a tile is worked on by all threads together.
pub(super) fn is_large(rows: usize, columns: usize) -> bool {
    rows * columns > LARGE
}

impl<'a> Team<'a> {
    /// The calling thread alone: nothing is cut.
    pub(super) const ALONE: Team<'static> = Team(None);

    /// All threads of a pool; only for the thread that owns the launch, never for one of the pool's.
    pub(super) fn all(pool: &'a Pool) -> Team<'a> {
        Team(Some(pool))
    }

    /// Whether the calling thread works alone.
    #[inline]
    pub(super) fn is_alone(self) -> bool {
        self.0.is_none()
    }

    /// Calls `task` with ranges that cover 0..count, whose starts are multiples of `multiple`.
    #[inline]
    pub(super) fn ranges(self, count: usize, multiple: usize, task: impl Fn(Range<usize>) + Sync) {
        let Some(pool) = self.0.filter(|pool| pool.threads() > 1) else {
            return task(0..count);
        };
        let length = count
            .div_ceil(4 * pool.threads())
            .next_multiple_of(multiple);
        pool.for_each(count.div_ceil(length), |_, unit| {
            task(unit * length..count.min((unit + 1) * length));
        });
    }

    /// Calls `task` with blocks (rows, columns) that cover 0..rows x 0..columns; `triangle`: only those that reach
    /// the diagonal or lie above it.
    #[inline]
    pub(super) fn blocks(
        self,
        rows: Range<usize>,
        columns: Range<usize>,
        row_edge: usize,
        triangle: bool,
        task: impl Fn(Range<usize>, Range<usize>) + Sync,
    ) {
        let Some(pool) = self.0 else {
            return task(rows, columns);
        };
        // Blocks of one size: a narrow last one would read as many operands for less.
        let cut = |range: &Range<usize>, most: usize, multiple: usize| -> Vec<Range<usize>> {
            let blocks = range.len().div_ceil(most).max(1);
            let edge = range.len().div_ceil(blocks).next_multiple_of(multiple);
            let starts = range.clone().step_by(edge.max(1));
            starts
                .map(|start| start..range.end.min(start + edge))
                .collect()
        };
        // More threads than blocks: smaller blocks.
        let mut edge = block_panels(second_level_bytes());
        while edge > 3
            && columns.len().div_ceil(edge).pow(2)
                < 4 * pool.threads() * usize::from(pool.threads() > 1)
        {
            edge /= 2;
        }
        let row_blocks = cut(&rows, edge * row_edge, row_edge);
        let mut blocks = Vec::new();
        for column in cut(&columns, edge, 1) {
            let rows = row_blocks
                .iter()
                .filter(|row| !triangle || row.start < column.end);
            blocks.extend(rows.map(|row| (row.clone(), column.clone())));
        }
        pool.for_each(blocks.len(), |_, unit| {
            let (rows, columns) = blocks[unit].clone();
            task(rows, columns);
        });
    }
}
