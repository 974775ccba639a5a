//! Whole optimizer steps on the matrices of GPT-2 small: `cargo bench -p himuon-tests --bench optimizer_step`.
//! AdamW, full-matrix Muon and HiMuon with T = 16..256 in one process; a table of ratios first, and with `-- table` alone.
//! `HIMUON_BENCH_LAYERS` (default 12) and `HIMUON_BENCH_THREADS` (default 1) change the size of the run.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark")]

mod table;

use criterion::{Criterion, criterion_group, criterion_main};
use himuon::cpu::{CpuKernel, Pool, Workspace, adamw_step};
use himuon::launch::{AdamWScalars, AdamWTensor, GroupScalars, MatrixStep, ScaleRule};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{KernelSpec, Tile};
use std::time::Duration;

const LAYER: [(usize, usize); 4] = [(768, 2304), (768, 768), (768, 3072), (3072, 768)];
const TILES: [u32; 5] = [16, 32, 64, 128, 256];

const SCALARS: GroupScalars = GroupScalars {
    learning_rate: 0.02,
    weight_decay: 0.1,
    mu: 0.95,
    c: 1.0,
    alpha: 1.0,
    beta: 0.95,
    scale_factor: 0.2,
    scale: ScaleRule::Exact,
    coarse_factor: 1.0,
    captured_decay: 0.0,
};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

struct Matrix {
    rows: usize,
    columns: usize,
    weight: Vec<f32>,
    gradient: Vec<f32>,
    momentum: Vec<f32>,
    second: Vec<f32>,
}

struct Model {
    matrices: Vec<Matrix>,
    pool: Pool,
    workspace: Workspace,
}

impl Model {
    fn new() -> Model {
        let layers = setting("HIMUON_BENCH_LAYERS", 12);
        let shapes = (0..layers).flat_map(|_| LAYER).enumerate();
        let matrix = |(seed, (rows, columns)): (usize, (usize, usize))| Matrix {
            rows,
            columns,
            weight: table::numbers(2 * seed as u64, rows * columns),
            gradient: table::numbers(2 * seed as u64 + 1, rows * columns),
            momentum: vec![0.0; rows * columns],
            second: vec![0.0; rows * columns],
        };
        Model {
            matrices: shapes.map(matrix).collect(),
            pool: Pool::new(setting("HIMUON_BENCH_THREADS", 1)).expect("a pool"),
            workspace: Workspace::new(),
        }
    }

    fn adamw(&mut self, step: u64) {
        let scalars = AdamWScalars {
            learning_rate: 1e-3,
            beta1: 0.95,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            step,
        };
        let mut tensors: Vec<AdamWTensor<'_>> = self
            .matrices
            .iter_mut()
            .map(|matrix| AdamWTensor {
                weight: TensorMut::F32(&mut matrix.weight),
                gradient: TensorRef::F32(&matrix.gradient),
                first_moment: matrix.momentum.as_mut_slice(),
                second_moment: matrix.second.as_mut_slice(),
                remainder: None,
                scalars,
            })
            .collect();
        adamw_step(&self.pool, &mut tensors).expect("a step");
    }

    fn muon(&mut self, kernel: &CpuKernel) {
        let mut matrices: Vec<MatrixStep<'_>> = self
            .matrices
            .iter_mut()
            .map(|matrix| MatrixStep {
                rows: matrix.rows,
                columns: matrix.columns,
                gradient: TensorRef::F32(&matrix.gradient),
                gradient_leading: matrix.columns,
                momentum: TensorMut::F32(&mut matrix.momentum),
                weight: TensorMut::F32(&mut matrix.weight),
                weight_leading: matrix.columns,
                remainder: None,
                row_normalisation: None,
                coarse: None,
                scalars: SCALARS,
                diagnostics: None,
            })
            .collect();
        kernel
            .step(&self.pool, &mut matrices, &mut self.workspace)
            .expect("a step");
    }
}

fn kernel(tile: Tile) -> CpuKernel {
    CpuKernel::new(&KernelSpec::new(tile)).expect("a kernel")
}

fn best(samples: usize, mut task: impl FnMut()) -> f64 {
    let [time] = table::best(samples, Duration::ZERO, || {}, [&mut task]);
    time
}

/// Every optimizer over the same matrices, in turns of its own.
fn table(model: &mut Model) {
    println!("{}, {} threads", table::processor(), model.pool.threads());
    let full = kernel(Tile::Full);
    let slowest = best(2, || model.muon(&full));
    let mut step = 0;
    let adamw = best(5, || {
        step += 1;
        model.adamw(step);
    });
    let line = |name: &str, time: f64| {
        println!(
            "{name:>8} {:>9.1} ms   {:>5.2}x of AdamW   Muon takes {:>5.2}x",
            time * 1e3,
            time / adamw,
            slowest / time
        );
    };
    line("AdamW", adamw);
    line("Muon", slowest);
    for tile in TILES {
        let tiled = kernel(Tile::square(tile));
        let time = best(3, || model.muon(&tiled));
        line(&format!("T = {tile}"), time);
    }
}

fn steps(criterion: &mut Criterion) {
    let mut model = Model::new();
    if table::wanted() {
        table(&mut model);
    }
    let mut group = criterion.benchmark_group("optimizer_step");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(2));
    let mut step = 0;
    group.bench_function("adamw", |bencher| {
        bencher.iter(|| {
            step += 1;
            model.adamw(step);
        });
    });
    for tile in TILES {
        let tiled = kernel(Tile::square(tile));
        group.bench_function(format!("himuon_t{tile}"), |bencher| {
            bencher.iter(|| model.muon(&tiled));
        });
    }
    let full = kernel(Tile::Full);
    group.bench_function("muon_full", |bencher| bencher.iter(|| model.muon(&full)));
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
