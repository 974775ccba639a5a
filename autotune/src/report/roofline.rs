//! What a step must compute and move, and what a machine can.

use himuon::KernelSpec;
use himuon::cpu::{InstructionSet, measure_peak};
use himuon::plan::operations;
use std::time::Instant;

/// The two roofs of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roofs {
    /// Operations a second.
    pub peak: f64,
    /// Bytes a second.
    pub bandwidth: f64,
}

/// Bytes that are read to measure the memory: beyond the last-level cache.
const BYTES: usize = 128 << 20;

impl Roofs {
    /// This processor's, on `threads` threads: the peak of one thread times their number, and what they read together.
    pub fn measure(threads: usize) -> Roofs {
        let threads = threads.max(1);
        let numbers = vec![1u64; BYTES / 8];
        let sum = |part: &[u64]| {
            let sum = part.iter().copied().fold(0, u64::wrapping_add);
            std::hint::black_box(sum);
        };
        let read = || {
            let start = Instant::now();
            std::thread::scope(|scope| {
                for part in numbers.chunks(numbers.len().div_ceil(threads)) {
                    scope.spawn(move || sum(part));
                }
            });
            BYTES as f64 / start.elapsed().as_secs_f64()
        };
        let bandwidth = (0..3).map(|_| read()).fold(0.0, f64::max);
        Roofs {
            peak: measure_peak(InstructionSet::best(), 20) * threads as f64,
            bandwidth,
        }
    }
}

/// Nominal operations of a launch, and the bytes that it must move: gradient, momentum and weight read, momentum and
/// weight written.
pub(super) fn work(spec: &KernelSpec, shapes: &[(usize, usize)]) -> (f64, f64) {
    let operations = shapes
        .iter()
        .filter_map(|&(rows, columns)| operations(spec, rows, columns).ok())
        .map(|operations| operations as f64)
        .sum();
    let elements: usize = shapes.iter().map(|(rows, columns)| rows * columns).sum();
    let bytes = 3 * spec.storage.weight.bytes() + 2 * spec.storage.momentum.bytes();
    (operations, (elements * bytes) as f64)
}
