//! Every form of the map against the square quintic, per operation: other recurrences, rectangles, ragged edges,
//! sizes outside the stock grid: `cargo bench -p himuon-tests --bench cpu_forms`, with `-- table` the table alone.
//!
//! Operations are those that no algorithm of this kind can avoid: a symmetric product counts N (N + 1) / 2 of its
//! N^2 elements.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark")]

mod table;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use himuon::KernelSpec;
use himuon::cpu::{ApplyScale, CpuKernel, Pool, Workspace};
use himuon::templates::{CoefficientSet, Power, Recurrence, Tile};
use himuon::tensor::TensorRef;
use std::time::Duration;

struct Form {
    name: String,
    spec: KernelSpec,
    shape: (usize, usize),
    workspace: Workspace,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Form {
    fn new(name: &str, spec: KernelSpec, shape: (usize, usize)) -> Form {
        let elements = shape.0 * shape.1;
        Form {
            name: name.to_owned(),
            spec,
            shape,
            workspace: Workspace::new(),
            input: table::numbers(1, elements),
            output: vec![0.0; elements],
        }
    }

    fn run(&mut self, kernel: &CpuKernel, pool: &Pool) {
        let input = TensorRef::F32(&self.input);
        let (rows, columns) = self.shape;
        kernel
            .map(
                pool,
                input,
                rows,
                columns,
                &mut self.output,
                ApplyScale::None,
                &mut self.workspace,
            )
            .expect("a map");
    }

    /// Needed operations of the whole matrix.
    fn operations(&self) -> f64 {
        let (tile_rows, tile_columns) = self.spec.tile.effective(self.shape.0, self.shape.1);
        let mut total = 0.0;
        for row in (0..self.shape.0).step_by(tile_rows) {
            for column in (0..self.shape.1).step_by(tile_columns) {
                let height = tile_rows.min(self.shape.0 - row);
                let width = tile_columns.min(self.shape.1 - column);
                total += self.tile_operations(height.max(width) as f64, height.min(width) as f64);
            }
        }
        total
    }

    /// `m` x `n`, m >= n.
    fn tile_operations(&self, m: f64, n: f64) -> f64 {
        let half = n * (n + 1.0) / 2.0;
        let (gram, square, update) = (2.0 * m * half, 2.0 * n * half, 2.0 * m * n * n);
        let steps = f64::from(self.spec.steps);
        match &self.spec.recurrence {
            Recurrence::NewtonSchulz(CoefficientSet::Cubic) => steps * (gram + update),
            Recurrence::NewtonSchulz(_) => steps * (gram + square + update),
            // p = 1/2: one multiplication of Z and two of Y, which the last step does without.
            Recurrence::Coupled => steps * (gram + 3.0 * update) - 2.0 * update,
            _ => steps * (gram + update),
        }
    }
}

fn with(tile: Tile, recurrence: Recurrence, steps: u32, power: (u32, u32)) -> KernelSpec {
    KernelSpec {
        recurrence,
        steps,
        power: Power::new(power.0, power.1).expect("a power"),
        ..KernelSpec::new(tile)
    }
}

fn forms() -> Vec<Form> {
    use CoefficientSet::{Cubic, Muon, PolarExpress, Turbo};
    let square = Tile::square(64);
    let odd = |set, steps| with(square, Recurrence::NewtonSchulz(set), steps, (0, 1));
    let tile = |rows, columns| KernelSpec::new(Tile::Sized { rows, columns });
    let whole = (1024, 1024);
    vec![
        Form::new("64x64 muon, K = 5", odd(Muon, 5), whole),
        Form::new("polar-express, K = 6", odd(PolarExpress, 6), whole),
        Form::new("cubic, K = 7", odd(Cubic, 7), whole),
        Form::new("turbo, K = 4", odd(Turbo, 4), whole),
        Form::new(
            "fitted p = 1/2, K = 6",
            with(square, Recurrence::Fitted, 6, (1, 2)),
            whole,
        ),
        Form::new(
            "coupled p = 1/2, K = 7",
            with(square, Recurrence::Coupled, 7, (1, 2)),
            whole,
        ),
        Form::new("64x256", tile(64, 256), whole),
        Form::new("256x64", tile(256, 64), whole),
        Form::new("48x128", tile(48, 128), (960, 1024)),
        Form::new("96x96", tile(96, 96), (960, 960)),
        Form::new("64x64 of 1000x1000", tile(64, 64), (1000, 1000)),
        Form::new("100x100", tile(100, 100), (1000, 1000)),
        Form::new("128x128 of 1100x1100", tile(128, 128), (1100, 1100)),
    ]
}

fn table(pool: &Pool) {
    println!(
        "{}, one thread: needed operations a second",
        table::processor()
    );
    let mut square = Form::new("", KernelSpec::new(Tile::square(64)), (1024, 1024));
    let kernel = CpuKernel::new(&square.spec).expect("a kernel");
    for mut form in forms() {
        let own = CpuKernel::new(&form.spec).expect("a kernel");
        let [base, time] = table::best(
            3,
            Duration::from_millis(700),
            || {},
            [&mut || square.run(&kernel, pool), &mut || {
                form.run(&own, pool)
            }],
        );
        let speed = form.operations() / time;
        println!(
            "{:>24}  {:>8.3} ms  {:>6.1} GFLOP/s   {:.2} of the square quintic",
            form.name,
            time * 1e3,
            speed * 1e-9,
            speed / (square.operations() / base)
        );
    }
}

fn maps(criterion: &mut Criterion) {
    let pool = Pool::new(1).expect("a pool");
    if table::wanted() {
        table(&pool);
    }
    let mut group = criterion.benchmark_group("cpu_forms");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(1));
    for mut form in forms() {
        let kernel = CpuKernel::new(&form.spec).expect("a kernel");
        group.bench_function(BenchmarkId::from_parameter(&form.name), |bencher| {
            bencher.iter(|| form.run(&kernel, &pool));
        });
    }
    group.finish();
}

criterion_group!(benches, maps);
criterion_main!(benches);
