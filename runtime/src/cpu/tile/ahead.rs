//! Memory that is asked for before it is needed, so that it arrives while the recurrence computes.
//!
//! What a batch is stored to and what the next is made of lie in many short rows, which no hardware prefetcher
//! follows. A few lines are asked for with every product: all at once would fill the queue of misses, and the products
//! would wait behind it.

use super::Batch;
use crate::cpu::job::Job;
use crate::cpu::load::Rectangle;
use crate::cpu::simd::Simd;
use crate::cpu::storage::Pointer;
use crate::cpu::store::Sink;
use std::cell::Cell;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Most elements of a batch that is asked for: three tensors of 64 KiB beside as much scratch fill a third of a
/// second-level cache of 1 MiB. Larger tiles compute so much longer than they load that it does not matter.
pub(crate) const MOST_AHEAD: usize = 128 * 128;

/// The part of a tensor that a batch covers.
#[derive(Clone, Copy, Debug)]
struct Rows {
    start: *const u8,
    /// Bytes from one row to the next.
    pitch: usize,
    /// Lines of a row.
    lines: usize,
    rows: usize,
}

impl Rows {
    fn new(tensor: Pointer, leading: usize, rectangle: Rectangle) -> Rows {
        let (start, size) = tensor.bytes();
        let start = start.wrapping_add((rectangle.row * leading + rectangle.column) * size);
        // A row need not begin with a line: most allocators give 16 bytes.
        let before = start.addr() % LINE;
        Rows {
            start: start.wrapping_sub(before),
            pitch: leading * size,
            lines: (before + rectangle.columns * size).div_ceil(LINE),
            rows: rectangle.rows,
        }
    }
}

/// Lines that are still to be asked for.
#[derive(Debug)]
pub(in crate::cpu) struct Ahead {
    /// The weight or the output of this batch, then gradient and momentum of the next.
    parts: [Option<Rows>; 3],
    /// Part, row and line of the next.
    position: Cell<(usize, usize, usize)>,
    /// Lines for each product of all tiles of the batch.
    at_a_time: usize,
}

impl Ahead {
    /// What a batch and the next need, in `products` portions.
    pub(super) fn new(job: &Job, batch: &Batch, next: Option<&Batch>, products: usize) -> Ahead {
        let whole = batch.whole();
        let mut parts = [None; 3];
        if whole.rows * whole.columns <= MOST_AHEAD {
            let (to, leading) = match job.sink {
                Sink::Weight { weight, .. } => (weight.start, weight.leading),
                Sink::Plain { output, leading } => (output, leading),
            };
            parts[0] = Some(Rows::new(to, leading, whole));
            let source = &job.source;
            parts[1] =
                next.map(|next| Rows::new(source.gradient, source.gradient_leading, next.whole()));
            parts[2] = next
                .zip(source.momentum)
                .map(|(next, (momentum, leading))| Rows::new(momentum, leading, next.whole()));
        }
        let lines: usize = parts
            .iter()
            .flatten()
            .map(|part| part.lines * part.rows)
            .sum();
        Ahead {
            parts,
            position: Cell::new((0, 0, 0)),
            at_a_time: lines.div_ceil(products.max(1)),
        }
    }

    /// Asks for the next portion.
    #[inline(never)]
    pub(in crate::cpu) fn ask<S: Simd>(&self, simd: S) {
        let (mut part, mut row, mut line) = self.position.get();
        let mut left = self.at_a_time;
        while left > 0 && part < self.parts.len() {
            match &self.parts[part] {
                Some(rows) if row < rows.rows => {
                    let start = rows.start.wrapping_add(row * rows.pitch);
                    let end = rows.lines.min(line + left);
                    left -= end - line;
                    while line < end {
                        simd.prefetch(start.wrapping_add(line * LINE));
                        line += 1;
                    }
                    if line == rows.lines {
                        (row, line) = (row + 1, 0);
                    }
                }
                _ => (part, row) = (part + 1, 0),
            }
        }
        self.position.set((part, row, line));
    }
}
