//! Tiles against the crates `gemm` and `faer` doing the same tiles, and against the machine's own peak, all in one
//! process on one thread: `cargo bench -p himuon-tests --bench cpu_tiles`. Pin it (`taskset -c 0`) for steady figures.
//!
//! The table comes first: samples of all contestants and of the peak alternate, and the best of each counts.
//! Criterion's own measurement of each contestant follows, unless the run is `... -- table`.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark"
)]

mod peers;
mod table;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use himuon::cpu::{ApplyScale, CpuKernel, InstructionSet, Pool, Workspace, measure_peak};
use himuon::plan::operations;
use himuon::tensor::TensorRef;
use himuon::{KernelSpec, Tile};
use peers::{Faer, Gemm, Product};
use std::time::Duration;

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

/// One row of the table; `edge` of the matrix, `None` for the full matrix.
fn row(tile: Option<usize>, edge: usize, rounds: usize, time: Duration) {
    let size = tile.unwrap_or(edge);
    let spec = KernelSpec::new(tile.map_or(Tile::Full, |t| Tile::square(t as u32)));
    let input = table::numbers(1, edge * edge);
    let mut output = vec![0.0; edge * edge];
    let (mut peer_output, mut other_output) = (output.clone(), output.clone());
    let (mut ours, mut peer) = (Ours::new(&spec), peers::Tile::new(size));
    let mut other = peers::Tile::new(size);
    let mut peak: f64 = 0.0;
    let [own, gemm, faer] = table::best(
        rounds,
        time,
        || peak = peak.max(measure_peak(InstructionSet::best(), 4)),
        [
            &mut || ours.map(&input, &mut output, edge),
            &mut || peer.map_all::<Gemm>(STEPS, &input, &mut peer_output, edge),
            &mut || other.map_all::<Faer>(STEPS, &input, &mut other_output, edge),
        ],
    );
    let nominal = operations(&spec, edge, edge).expect("a specification") as f64;
    println!(
        "{:>6} of {edge:>4}  ours {:>9.3} ms {:>6.1} % of {:.0} GFLOP/s   {} {:>9.3} ms ({:.2}x)   {} {:>9.3} ms ({:.2}x)   better {:.2}x",
        tile.map_or("full".into(), |t| format!("T={t}")),
        own * 1e3,
        100.0 * nominal / own / peak,
        peak / 1e9,
        Gemm::NAME,
        gemm * 1e3,
        gemm / own,
        Faer::NAME,
        faer * 1e3,
        faer / own,
        gemm.min(faer) / own,
    );
}

fn table() {
    println!(
        "K = {STEPS}, one thread, {}, {}",
        InstructionSet::best().name(),
        table::processor()
    );
    for tile in TILES {
        row(Some(tile), EDGE, 40, Duration::from_secs(3));
    }
    for edge in [768, 1024, 2048, 4096] {
        row(None, edge, 1, Duration::from_secs(3));
    }
}

fn tiles(criterion: &mut Criterion) {
    if table::wanted() {
        table();
    }
    let input = table::numbers(1, EDGE * EDGE);
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
