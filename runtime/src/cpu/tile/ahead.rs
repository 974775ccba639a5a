//! Memory that is asked for before it is needed, so that it arrives while the recurrence computes.

use super::{Batch, Work};
use crate::cpu::load::Rectangle;
use crate::cpu::simd::Simd;
use crate::cpu::storage::Pointer;
use crate::cpu::store::Sink;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Most elements of a batch that is asked for: three tensors of 64 KiB beside as much scratch fill a third of a
/// second-level cache of 1 MiB. Larger tiles compute so much longer than they load that it does not matter.
const MOST_ELEMENTS: usize = 128 * 128;

impl<S: Simd> Work<'_, S> {
    /// Asks for what this batch is stored to, and for what the next is made of.
    pub(super) fn ask(&self, next: Option<&Batch>) {
        let whole = self.batch.whole();
        if whole.rows * whole.columns > MOST_ELEMENTS {
            return;
        }
        let (to, leading) = match self.job.sink {
            Sink::Weight {
                weight, leading, ..
            } => (weight, leading),
            Sink::Plain { output, leading } => (output, leading),
        };
        self.ask_for(to, leading, whole);
        if let Some(next) = next {
            let source = &self.job.source;
            self.ask_for(source.gradient, source.gradient_leading, next.whole());
            if let Some((momentum, leading)) = source.momentum {
                self.ask_for(momentum, leading, next.whole());
            }
        }
    }

    fn ask_for(&self, tensor: Pointer, leading: usize, rectangle: Rectangle) {
        let (start, size) = tensor.bytes();
        let bytes = rectangle.columns * size;
        for row in rectangle.row..rectangle.row + rectangle.rows {
            let row = start.wrapping_add((row * leading + rectangle.column) * size);
            for line in (0..bytes).step_by(LINE) {
                self.engine.simd.prefetch(row.wrapping_add(line));
            }
        }
    }
}
