//! How fast the kernels are on this machine, as fractions of its own peak.
//!
//! "Nominal" operations are those of the recurrence as it is written ([`operations`]), 6 T^3 K for a T x T tile and K
//! quintic steps. The kernels compute one triangle of the symmetric products and need 4 T^3 K for large tiles, so that
//! more than 100 % of the peak is possible.

use super::error::CpuError;
use super::kernel::{ApplyScale, CpuKernel};
use super::pool::Pool;
use super::simd::{InstructionSet, Line, Simd, WithSimd, leaf};
use super::workspace::Workspace;
use crate::plan::operations;
use crate::tensor::TensorRef;
use himuon_templates::KernelSpec;
use std::time::{Duration, Instant};

/// Independent sums: enough to hide the latency of a fused multiply-add, and few enough for the registers. A sum that
/// lives in memory would make the peak too low, and every fraction of it too high.
const WIDE_SUMS: usize = 12;
const NARROW_SUMS: usize = 6;

leaf! {
    /// Fused multiply-adds on registers alone; the result depends on all of them.
    unsafe fn multiply_add<const SUMS: usize>(simd: S, rounds: usize, seed: f32) -> f32 {
        let factor = simd.splat(seed);
        let mut sums = [simd.splat(seed); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = simd.fused(*sum, factor, factor);
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = simd.add(total, *sum);
        }
        simd.to_line(total).sum()
    }
}

leaf! {
    /// One sum alone: each fused multiply-add waits for the one before.
    unsafe fn chain(simd: S, rounds: usize, seed: f32) -> f32 {
        let factor = simd.splat(seed);
        let mut sum = factor;
        for _ in 0..rounds {
            sum = simd.fused(sum, factor, factor);
        }
        simd.to_line(sum).sum()
    }

    /// Adds up `count` lines from `start` on, a multiple of `READS`.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn read_all(simd: S, start: *const Line, count: usize) -> f32 {
        let mut sums = [simd.splat(0.0); READS];
        for first in (0..count).step_by(READS) {
            for (index, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the caller's word.
                *sum = simd.add(*sum, unsafe { simd.load(start.add(first + index).cast()) });
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = simd.add(total, *sum);
        }
        simd.to_line(total).sum()
    }
}

/// Lines that are read at a time: each into a sum of its own, so that none waits for another.
const READS: usize = 8;

struct Chain {
    rounds: usize,
}

impl WithSimd for Chain {
    type Output = f64;
    fn with<S: Simd>(self, simd: S) -> f64 {
        let start = Instant::now();
        // SAFETY: reads and writes no memory.
        let result = unsafe { chain(simd, self.rounds, std::hint::black_box(0.5)) };
        std::hint::black_box(result);
        start.elapsed().as_secs_f64() / self.rounds as f64
    }
}

/// Seconds from a fused multiply-add to the next one that needs it: the best of `samples`, about 0.05 ms each.
pub(crate) fn measure_latency(set: InstructionSet, samples: usize) -> f64 {
    let latency = |_| set.with(Chain { rounds: 50_000 });
    (0..samples).map(latency).fold(f64::INFINITY, f64::min)
}

struct Reading<'a> {
    lines: &'a [Line],
    times: usize,
}

impl WithSimd for Reading<'_> {
    type Output = f64;
    fn with<S: Simd>(self, simd: S) -> f64 {
        let start = Instant::now();
        for _ in 0..self.times {
            let lines = std::hint::black_box(self.lines);
            // SAFETY: `measure_loads` makes slices of a multiple of `READS` lines.
            let sum = unsafe { read_all(simd, lines.as_ptr(), lines.len()) };
            std::hint::black_box(sum);
        }
        let bytes = self.times * size_of_val(self.lines);
        bytes as f64 / start.elapsed().as_secs_f64()
    }
}

/// Bytes a second that one thread reads of memory of this size over and over: the best of `samples`, of 4 MiB or one
/// pass each.
pub(crate) fn measure_loads(set: InstructionSet, bytes: usize, samples: usize) -> f64 {
    let lines = vec![Line::ZERO; (bytes / size_of::<Line>()).next_multiple_of(READS)];
    let times = (4 << 20) / bytes.max(1) + 1;
    let read = |_| {
        set.with(Reading {
            lines: &lines,
            times,
        })
    };
    (0..samples).map(read).fold(0.0, f64::max)
}

struct Peak {
    rounds: usize,
}

impl WithSimd for Peak {
    type Output = f64;
    fn with<S: Simd>(self, simd: S) -> f64 {
        let start = Instant::now();
        let seed = std::hint::black_box(0.5);
        // SAFETY: reads and writes no memory.
        let (result, sums) = unsafe {
            if S::WIDE {
                let result = multiply_add::<S, WIDE_SUMS>(simd, self.rounds, seed);
                (result, WIDE_SUMS)
            } else {
                let result = multiply_add::<S, NARROW_SUMS>(simd, self.rounds, seed);
                (result, NARROW_SUMS)
            }
        };
        std::hint::black_box(result);
        let operations = 2 * super::simd::LANES * sums * self.rounds;
        operations as f64 / start.elapsed().as_secs_f64()
    }
}

/// Operations a second of fused multiply-adds on one thread: the best of `samples`, about 0.1 ms each.
pub fn measure_peak(set: InstructionSet, samples: usize) -> f64 {
    let rounds = if set == InstructionSet::Portable {
        1_000
    } else {
        50_000
    };
    let peak = |_| set.with(Peak { rounds });
    (0..samples).map(peak).fold(0.0, f64::max)
}

/// The speed of one kernel on one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct MapSpeed {
    /// What was measured.
    pub spec: KernelSpec,
    /// Rows and columns of the matrix.
    pub matrix: (usize, usize),
    /// Best time of one map of the matrix, in seconds.
    pub seconds: f64,
    /// Nominal operations a second.
    pub nominal: f64,
    /// Operations a second of the machine's fused multiply-add, measured in the same rounds.
    pub peak: f64,
}

impl MapSpeed {
    /// Nominal operations over the peak.
    pub fn fraction_of_peak(&self) -> f64 {
        self.nominal / self.peak
    }
}

/// Measures the bare map of each specification on a Gaussian-like rows x columns matrix on the calling thread. Samples
/// of all of them and of the peak alternate for about `time`; the best of each counts, so that other load on the
/// machine changes little.
///
/// # Errors
/// When a specification is refused.
pub fn measure_maps(
    specs: &[KernelSpec],
    (rows, columns): (usize, usize),
    time: Duration,
) -> Result<Vec<MapSpeed>, CpuError> {
    let kernels: Vec<CpuKernel> = specs.iter().map(CpuKernel::new).collect::<Result<_, _>>()?;
    measure_kernels(&kernels, (rows, columns), time)
}

/// As [`measure_maps`], for kernels of chosen variants.
///
/// # Errors
/// When the matrix has no elements.
pub fn measure_kernels(
    kernels: &[CpuKernel],
    (rows, columns): (usize, usize),
    time: Duration,
) -> Result<Vec<MapSpeed>, CpuError> {
    let pool = Pool::new(1)?;
    let input = numbers(rows * columns);
    let mut output = vec![0.0; rows * columns];
    let mut workspaces: Vec<Workspace> = kernels.iter().map(|_| Workspace::new()).collect();
    let mut best = vec![f64::INFINITY; kernels.len()];
    let mut peak: f64 = 0.0;
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 3 || start.elapsed() < time {
        for ((kernel, workspace), best) in kernels.iter().zip(&mut workspaces).zip(&mut best) {
            peak = peak.max(measure_peak(kernel.variant().instruction_set, 2));
            let begin = Instant::now();
            let tensor = TensorRef::F32(&input);
            kernel.map(
                &pool,
                tensor,
                rows,
                columns,
                &mut output,
                ApplyScale::None,
                workspace,
            )?;
            *best = best.min(begin.elapsed().as_secs_f64());
        }
        rounds += 1;
    }
    kernels
        .iter()
        .zip(best)
        .map(|(kernel, seconds)| {
            Ok(MapSpeed {
                spec: kernel.spec().clone(),
                matrix: (rows, columns),
                seconds,
                nominal: operations(kernel.spec(), rows, columns)? as f64 / seconds,
                peak,
            })
        })
        .collect()
}

/// Seeded numbers with a bell-shaped distribution, variance 1: sums of four uniform ones.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let scale = 3f32.sqrt();
    (0..count)
        .map(|_| scale * (uniform() + uniform() + uniform() + uniform()))
        .collect()
}
