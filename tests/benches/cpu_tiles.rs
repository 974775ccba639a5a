//! Tiles against the crates `gemm` and `faer` doing the same tiles, and against the machine's own peak, all in one
//! process on one thread: `cargo bench -p himuon-tests --bench cpu_tiles`. Pin it (`taskset -c 0`) for steady figures.
//!
//! The table comes first: samples of all contestants and of the peak alternate, and the best of each counts.
//! Criterion's own measurement of each contestant follows.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark"
)]

mod peers;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use himuon::cpu::{
    ApplyScale, CpuKernel, InstructionSet, Pool, Workspace, measure_peak, nominal_operations,
};
use himuon::tensor::TensorRef;
use himuon::{KernelSpec, Tile};
use peers::{Faer, Gemm, Product};
use std::time::{Duration, Instant};

const EDGE: usize = 1024;
const STEPS: usize = 5;
const TILES: [usize; 5] = [16, 32, 64, 128, 256];

struct Ours {
    kernel: CpuKernel,
    pool: Pool,
    workspace: Workspace,
}

impl Ours {
    fn new(spec: &KernelSpec) -> Ours {
        Ours {
            kernel: CpuKernel::new(spec).expect("a kernel"),
            pool: Pool::new(1).expect("a pool"),
            workspace: Workspace::new(),
        }
    }

    fn map(&mut self, input: &[f32], output: &mut [f32], edge: usize) {
        let input = TensorRef::F32(input);
        self.kernel
            .map(
                &self.pool,
                input,
                edge,
                edge,
                output,
                ApplyScale::None,
                &mut self.workspace,
            )
            .expect("a map");
    }
}

fn seconds(task: impl FnOnce()) -> f64 {
    let start = Instant::now();
    task();
    start.elapsed().as_secs_f64()
}

/// One row of the table; `edge` of the matrix, `None` for the full matrix.
fn row(tile: Option<usize>, edge: usize, time: Duration) {
    let size = tile.unwrap_or(edge);
    let spec = KernelSpec::new(tile.map_or(Tile::Full, |t| Tile::square(t as u32)));
    let input = peers::numbers(1, edge * edge);
    let mut output = vec![0.0; edge * edge];
    let (mut ours, mut peer) = (Ours::new(&spec), peers::Tile::new(size));
    let mut best = [f64::INFINITY; 3];
    let mut peak: f64 = 0.0;
    let start = Instant::now();
    while start.elapsed() < time || best[2].is_infinite() {
        peak = peak.max(measure_peak(InstructionSet::best(), 4));
        best[0] = best[0].min(seconds(|| ours.map(&input, &mut output, edge)));
        best[1] = best[1].min(seconds(|| {
            peer.map_all::<Gemm>(STEPS, &input, &mut output, edge)
        }));
        best[2] = best[2].min(seconds(|| {
            peer.map_all::<Faer>(STEPS, &input, &mut output, edge)
        }));
    }
    let nominal = nominal_operations(&spec, edge, edge).expect("a specification");
    let name = tile.map_or("full".into(), |t| format!("T={t}"));
    println!(
        "{name:>6} of {edge:>4}  ours {:>8.3} ms {:>6.1} % of {:.0} GFLOP/s   {} {:>8.3} ms ({:.2}x)   {} {:>8.3} ms ({:.2}x)",
        best[0] * 1e3,
        100.0 * nominal / best[0] / peak,
        peak / 1e9,
        Gemm::NAME,
        best[1] * 1e3,
        best[1] / best[0],
        Faer::NAME,
        best[2] * 1e3,
        best[2] / best[0],
    );
}

fn table() {
    println!("K = {STEPS}, one thread, {}", InstructionSet::best().name());
    for tile in TILES {
        row(Some(tile), EDGE, Duration::from_secs(3));
    }
    for edge in [768, 1024, 2048] {
        row(None, edge, Duration::from_secs(3));
    }
}

fn tiles(criterion: &mut Criterion) {
    if !std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        table();
    }
    let input = peers::numbers(1, EDGE * EDGE);
    let mut output = vec![0.0; EDGE * EDGE];
    let mut group = criterion.benchmark_group("tiles_1024");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(2));
    for tile in TILES {
        group.throughput(Throughput::Elements((EDGE * EDGE) as u64));
        let mut ours = Ours::new(&KernelSpec::new(Tile::square(tile as u32)));
        group.bench_function(BenchmarkId::new("himuon", tile), |bencher| {
            bencher.iter(|| ours.map(&input, &mut output, EDGE));
        });
        let mut peer = peers::Tile::new(tile);
        group.bench_function(BenchmarkId::new("gemm", tile), |bencher| {
            bencher.iter(|| peer.map_all::<Gemm>(STEPS, &input, &mut output, EDGE));
        });
        group.bench_function(BenchmarkId::new("faer", tile), |bencher| {
            bencher.iter(|| peer.map_all::<Faer>(STEPS, &input, &mut output, EDGE));
        });
    }
    group.finish();
}

criterion_group!(benches, tiles);
criterion_main!(benches);
