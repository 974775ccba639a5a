//! The fused step: against separate passes over the same matrices, on two threads against one, and over sizes of
//! matrices: `cargo bench -p himuon-tests --bench fused_step`, with `-- table` the tables alone.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark"
)]

mod table;

use criterion::{Criterion, criterion_group, criterion_main};
use himuon::cpu::{ApplyScale, CpuKernel, Pool, Workspace};
use himuon::launch::{GroupScalars, MatrixStep, ScaleRule};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{KernelSpec, Tile};
use std::time::Duration;

/// Matrices of two layers of GPT-2 small: 14 million parameters, 170 MB with gradient and momentum.
const MATRICES: [(usize, usize); 8] = [
    (768, 2304),
    (768, 768),
    (768, 3072),
    (3072, 768),
    (768, 2304),
    (768, 768),
    (768, 3072),
    (3072, 768),
];

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

struct Matrix {
    rows: usize,
    columns: usize,
    weight: Vec<f32>,
    gradient: Vec<f32>,
    momentum: Vec<f32>,
}

impl Matrix {
    fn new(seed: usize, (rows, columns): (usize, usize)) -> Matrix {
        let numbers = |seed: usize| table::numbers(seed as u64, rows * columns);
        Matrix {
            rows,
            columns,
            weight: numbers(3 * seed),
            gradient: numbers(3 * seed + 1),
            momentum: numbers(3 * seed + 2),
        }
    }

    fn step(&mut self) -> MatrixStep<'_> {
        MatrixStep {
            rows: self.rows,
            columns: self.columns,
            gradient: TensorRef::F32(&self.gradient),
            gradient_leading: self.columns,
            momentum: TensorMut::F32(&mut self.momentum),
            weight: TensorMut::F32(&mut self.weight),
            weight_leading: self.columns,
            remainder: None,
            row_normalisation: None,
            coarse: None,
            scalars: SCALARS,
            diagnostics: None,
        }
    }
}

struct Model {
    matrices: Vec<Matrix>,
    pool: Pool,
    workspace: Workspace,
}

impl Model {
    fn new(shapes: &[(usize, usize)], threads: usize) -> Model {
        Model {
            matrices: shapes
                .iter()
                .enumerate()
                .map(|(seed, shape)| Matrix::new(seed, *shape))
                .collect(),
            pool: Pool::new(threads).expect("a pool"),
            workspace: Workspace::new(),
        }
    }

    /// M and its map of every matrix, or of one at a time: what separate passes need beside the tensors.
    fn buffers(&self, order: Order) -> Vec<[Vec<f32>; 2]> {
        let lengths = self.matrices.iter().map(|matrix| matrix.weight.len());
        let pair = |length| [vec![0.0; length], vec![0.0; length]];
        match order {
            Order::Matrices => vec![pair(lengths.max().unwrap_or(0))],
            Order::Passes => lengths.map(pair).collect(),
        }
    }

    fn elements(&self) -> usize {
        self.matrices.iter().map(|m| m.weight.len()).sum()
    }

    fn fused(&mut self, kernel: &CpuKernel) {
        let mut matrices: Vec<MatrixStep<'_>> =
            self.matrices.iter_mut().map(Matrix::step).collect();
        kernel
            .step(&self.pool, &mut matrices, &mut self.workspace)
            .expect("a step");
    }

    /// The same step as three passes: momentum, map of all tiles, update.
    fn separate(&mut self, kernel: &CpuKernel, order: Order, buffers: &mut [[Vec<f32>; 2]]) {
        match order {
            Order::Matrices => {
                for index in 0..self.matrices.len() {
                    for number in 0..3 {
                        self.one_pass(kernel, number, index, &mut buffers[0]);
                    }
                }
            }
            Order::Passes => {
                for number in 0..3 {
                    for (index, pair) in buffers.iter_mut().enumerate() {
                        self.one_pass(kernel, number, index, pair);
                    }
                }
            }
        }
    }

    fn one_pass(
        &mut self,
        kernel: &CpuKernel,
        number: usize,
        index: usize,
        [m, mapped]: &mut [Vec<f32>; 2],
    ) {
        let matrix = &mut self.matrices[index];
        let (rows, columns) = (matrix.rows, matrix.columns);
        let (m, mapped) = (&mut m[..rows * columns], &mut mapped[..rows * columns]);
        let tile = kernel.spec().tile;
        match number {
            0 => pass(|| momentum(&matrix.gradient, &mut matrix.momentum, m)),
            1 => {
                let input = TensorRef::F32(m);
                let (pool, workspace) = (&self.pool, &mut self.workspace);
                kernel
                    .map(
                        pool,
                        input,
                        rows,
                        columns,
                        mapped,
                        ApplyScale::None,
                        workspace,
                    )
                    .expect("a map");
            }
            _ => {
                let (height, width) = tile.effective(rows, columns);
                let edge = height.max(width) as f32;
                let rate = SCALARS.learning_rate * SCALARS.scale_factor * edge.sqrt();
                pass(|| update(mapped, rate, &mut matrix.weight));
            }
        }
    }
}

/// What follows first: the next pass over a matrix, whose buffers the last-level cache may still hold, or the same
/// pass over the next matrix, as where an optimizer calls one function after the other on lists of tensors.
#[derive(Clone, Copy)]
enum Order {
    Matrices,
    Passes,
}

#[inline(always)]
fn momentum(gradient: &[f32], momentum: &mut [f32], m: &mut [f32]) {
    for ((g, buffer), m) in gradient.iter().zip(momentum).zip(m) {
        *buffer = SCALARS.mu * *buffer + g;
        *m = g + SCALARS.beta * *buffer;
    }
}

#[inline(always)]
fn update(mapped: &[f32], rate: f32, weight: &mut [f32]) {
    let keep = 1.0 - SCALARS.learning_rate * SCALARS.weight_decay;
    for (mapped, weight) in mapped.iter().zip(weight) {
        *weight = keep * *weight - rate * mapped;
    }
}

/// Runs a pass compiled with the processor's vectors, as its kernels are.
fn pass(task: impl FnOnce()) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn widest(task: impl FnOnce()) {
            task();
        }
        #[target_feature(enable = "avx2,fma")]
        fn wide(task: impl FnOnce()) {
            task();
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the feature.
            return unsafe { widest(task) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the features.
            return unsafe { wide(task) };
        }
    }
    task();
}

fn kernel(tile: Tile) -> CpuKernel {
    CpuKernel::new(&KernelSpec::new(tile)).expect("a kernel")
}

/// The fused step moves 20 bytes an element (W, G and momentum read, W and momentum written); separate passes 36.
fn fused_table() {
    println!("one thread: fused (20 bytes an element), separate passes (36 bytes an element)");
    let models = || Model::new(&MATRICES, 1);
    let (mut fused, mut each, mut list) = (models(), models(), models());
    let mut one = each.buffers(Order::Matrices);
    let mut all = list.buffers(Order::Passes);
    let elements = fused.elements() as f64;
    for tile in [1, 16, 32, 64, 128, 256] {
        let kernel = kernel(Tile::square(tile));
        let times = table::best(
            3,
            Duration::from_secs(3),
            || {},
            [
                &mut || fused.fused(&kernel),
                &mut || each.separate(&kernel, Order::Matrices, &mut one),
                &mut || list.separate(&kernel, Order::Passes, &mut all),
            ],
        );
        let gigabytes = |bytes: f64, time: f64| bytes * elements / time * 1e-9;
        println!(
            "{:>6}  fused {:>7.2} ms {:>4.1} GB/s   separate, matrix by matrix {:>7.2} ms {:>4.1} GB/s {:.2}x   pass by pass {:>7.2} ms {:>4.1} GB/s {:.2}x",
            format!("T={tile}"),
            times[0] * 1e3,
            gigabytes(20.0, times[0]),
            times[1] * 1e3,
            gigabytes(36.0, times[1]),
            times[1] / times[0],
            times[2] * 1e3,
            gigabytes(36.0, times[2]),
            times[2] / times[0],
        );
    }
}

fn threads_table() {
    println!("two threads against one, fused step (20 bytes an element)");
    let mut one = Model::new(&MATRICES[..4], 1);
    let mut two = Model::new(&MATRICES[..4], 2);
    let bytes = 20.0 * one.elements() as f64;
    for tile in [1, 16, 64, 256]
        .map(Tile::square)
        .into_iter()
        .chain([Tile::Full])
    {
        let kernel = kernel(tile);
        let [single, double] = table::best(
            2,
            Duration::from_secs(2),
            || {},
            [&mut || one.fused(&kernel), &mut || two.fused(&kernel)],
        );
        println!(
            "{:>6}  {:>8.2} ms {:>4.1} GB/s, {:>8.2} ms {:>4.1} GB/s   {:.2}x",
            tile.to_string(),
            single * 1e3,
            bytes / single * 1e-9,
            double * 1e3,
            bytes / double * 1e-9,
            single / double
        );
    }
}

fn sizes_table() {
    println!("nanoseconds an element, fused step, one thread");
    for tile in [16, 64, 128] {
        let kernel = kernel(Tile::square(tile));
        print!("{:>6}", format!("T={tile}"));
        for shape in [(256, 1024), (1024, 1024), (2048, 2048), (4096, 4096)] {
            let mut model = Model::new(&[shape], 1);
            let [time] = table::best(
                3,
                Duration::from_millis(500),
                || {},
                [&mut || model.fused(&kernel)],
            );
            let name = format!("{}x{}", shape.0, shape.1);
            print!("   {name} {:.3}", time * 1e9 / model.elements() as f64);
        }
        println!();
    }
}

fn steps(criterion: &mut Criterion) {
    if table::wanted() {
        println!("{}", table::processor());
        fused_table();
        threads_table();
        sizes_table();
    }
    let mut group = criterion.benchmark_group("fused_step");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(2));
    let mut model = Model::new(&MATRICES[..4], 1);
    let mut buffers = model.buffers(Order::Passes);
    for tile in [16, 64] {
        let kernel = kernel(Tile::square(tile));
        group.bench_function(format!("fused_t{tile}"), |bencher| {
            bencher.iter(|| model.fused(&kernel));
        });
        group.bench_function(format!("separate_t{tile}"), |bencher| {
            bencher.iter(|| model.separate(&kernel, Order::Passes, &mut buffers));
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
