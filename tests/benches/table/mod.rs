//! Tables of times: contestants take turns, and the best time of each counts, so that other load on the machine
//! changes little.
#![allow(dead_code, reason = "each benchmark uses a part")]

use std::time::{Duration, Instant};

/// Whether the tables are wanted: always, but for a run that only lists or tests the benchmarks. `-- table` skips
/// criterion's own measurements, since no benchmark has that name.
pub(crate) fn wanted() -> bool {
    !std::env::args().any(|argument| argument == "--test" || argument == "--list")
}

/// Seconds of one run.
pub(crate) fn seconds(task: impl FnOnce()) -> f64 {
    let start = Instant::now();
    task();
    start.elapsed().as_secs_f64()
}

/// The best time of each task, after at least `rounds` rounds and about `time`; a round calls `between` first.
pub(crate) fn best<const N: usize>(
    rounds: usize,
    time: Duration,
    mut between: impl FnMut(),
    mut tasks: [&mut dyn FnMut(); N],
) -> [f64; N] {
    let mut best = [f64::INFINITY; N];
    let start = Instant::now();
    let mut round = 0;
    while round < rounds || start.elapsed() < time {
        between();
        for (task, best) in tasks.iter_mut().zip(&mut best) {
            *best = best.min(seconds(&mut **task));
        }
        round += 1;
    }
    best
}

/// Seeded, bell-shaped numbers of variance 1.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count)
        .map(|_| 1.732 * (uniform() + uniform() + uniform() + uniform()))
        .collect()
}

/// The processor's own name, where the system tells it.
pub(crate) fn processor() -> String {
    himuon::tuning::DeviceFingerprint::cpu().name
}
