//! A real kernel from CUDA source to checked results: Newton-Schulz on tensor cores, for every tile size, three
//! architectures (both PTX dialects) and ragged matrices, against the same iteration in f64.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use common::{
    Numbers, Params, Shape, compile, device_for, download, launch, le_bytes16, upload, words16,
};
use half::bf16;
use himuon_emulator::{Counters, ExecutionOptions, InstructionKind, Module, Order};

const SOURCE: &str = include_str!("fixtures/newton_schulz.cu");
const STEPS: usize = 5;
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
const EPS: f32 = 1e-7;

/// Largest relative Frobenius error against f64, on Gaussian tiles: bf16 operands with X in f32 leave 1.7e-2 at
/// T = 128; the bf16 output adds 2^-9.
const BOUND: f64 = 2.5e-2;

/// A row-major matrix of f64.
struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

impl Matrix {
    fn new(rows: usize, columns: usize, element: impl FnMut(usize) -> f64) -> Self {
        Self {
            rows,
            columns,
            data: (0..rows * columns).map(element).collect(),
        }
    }

    fn product(&self, other: &Self) -> Self {
        Self::new(self.rows, other.columns, |index| {
            let (row, column) = (index / other.columns, index % other.columns);
            (0..self.columns)
                .map(|k| self.data[row * self.columns + k] * other.data[k * other.columns + column])
                .sum()
        })
    }

    fn transposed(&self) -> Self {
        Self::new(self.columns, self.rows, |index| {
            self.data[index % self.rows * self.columns + index / self.rows]
        })
    }

    fn norm(&self) -> f64 {
        self.data.iter().map(|x| x * x).sum::<f64>().sqrt()
    }
}

/// The iteration in f64, with nothing rounded.
fn reference(tile: &Matrix) -> Matrix {
    let [a, b, c] = COEFFICIENTS.map(f64::from);
    let norm = tile.norm() + f64::from(EPS);
    let mut x = Matrix::new(tile.rows, tile.columns, |index| tile.data[index] / norm);
    for _ in 0..STEPS {
        let gram = x.product(&x.transposed());
        let square = gram.product(&gram);
        let factor = Matrix::new(gram.rows, gram.columns, |index| {
            b * gram.data[index] + c * square.data[index]
        });
        let update = factor.product(&x);
        x = Matrix::new(x.rows, x.columns, |index| {
            a * x.data[index] + update.data[index]
        });
    }
    x
}

struct Run {
    input: Vec<u16>,
    output: Vec<u16>,
    counters: Counters,
}

/// Runs the kernel on a Gaussian matrix. The result is checked to be there in full: the output starts uninitialised.
fn run(
    module: &Module,
    arch: &str,
    tile: usize,
    (rows, columns): (usize, usize),
    options: ExecutionOptions,
) -> Run {
    let device = device_for(arch);
    let mut numbers = Numbers(tile as u64 * 1000 + rows as u64);
    let input: Vec<u16> = (0..rows * columns)
        .map(|_| bf16::from_f64(numbers.normal()).to_bits())
        .collect();
    let source = upload(&device, &le_bytes16(&input));
    let target = device.memory.alloc(2 * input.len() as u64).unwrap();
    let [a, b, c] = COEFFICIENTS;
    let extents = [rows, columns, columns].map(|extent| extent as u32);
    let params = Params::new()
        .pointer(source)
        .pointer(target)
        .u32(extents[0])
        .u32(extents[1])
        .u32(extents[2]);
    let params = params.f32(a).f32(b).f32(c).f32(EPS);
    let shape = Shape {
        grid: [columns.div_ceil(tile) as u32, rows.div_ceil(tile) as u32, 1],
        block: [2 * tile as u32, 1, 1],
        dynamic_shared_bytes: (4 * tile * tile + 4 * tile / 16) as u32,
    };
    let counters = launch(&device, module, "newton_schulz", shape, &params, options)
        .unwrap_or_else(|fault| panic!("{fault}"));
    assert!(
        device
            .memory
            .is_initialised(target, 2 * input.len() as u64)
            .unwrap(),
        "a part of the output was not written"
    );
    let output = words16(&download(&device, target, 2 * input.len()));
    Run {
        input,
        output,
        counters,
    }
}

/// Largest error over the tiles of a matrix.
fn worst_error(run: &Run, tile: usize, (rows, columns): (usize, usize)) -> f64 {
    let mut worst: f64 = 0.0;
    for first_row in (0..rows).step_by(tile) {
        for first_column in (0..columns).step_by(tile) {
            let element = |data: &[u16], index: usize| {
                let (row, column) = (first_row + index / tile, first_column + index % tile);
                if row < rows && column < columns {
                    bf16::from_bits(data[row * columns + column]).to_f64()
                } else {
                    0.0
                }
            };
            let expected = reference(&Matrix::new(tile, tile, |index| element(&run.input, index)));
            let found = Matrix::new(tile, tile, |index| element(&run.output, index));
            let gap = Matrix::new(tile, tile, |index| found.data[index] - expected.data[index]);
            worst = worst.max(gap.norm() / expected.norm());
        }
    }
    worst
}

fn module(arch: &str, tile: usize) -> Module {
    let ptx = compile(
        SOURCE,
        arch,
        &[format!("TILE={tile}"), format!("STEPS={STEPS}")],
    );
    Module::parse(&ptx).unwrap_or_else(|error| panic!("{error}"))
}

fn check(tile: usize, arch: &str) {
    let module = module(arch, tile);
    // Whole tiles, and a corner of which three tiles stick out.
    for shape in [(tile, tile), (tile + tile / 2 + 3, tile + 8)] {
        let run = run(&module, arch, tile, shape, ExecutionOptions::default());
        let worst = worst_error(&run, tile, shape);
        println!("T={tile} {arch} {shape:?}: worst relative Frobenius error {worst:.2e}");
        assert!(
            worst < BOUND,
            "T={tile} {arch} {shape:?}: error {worst:.2e}, bound {BOUND:.2e}"
        );
    }
}

#[test]
fn tiles_of_16_are_right() {
    ["sm_80", "sm_90a", "sm_120"]
        .into_iter()
        .for_each(|arch| check(16, arch));
}

#[test]
fn tiles_of_32_are_right() {
    ["sm_80", "sm_90a", "sm_120"]
        .into_iter()
        .for_each(|arch| check(32, arch));
}

#[test]
fn tiles_of_64_are_right() {
    ["sm_80", "sm_90a", "sm_120"]
        .into_iter()
        .for_each(|arch| check(64, arch));
}

#[test]
fn tiles_of_128_are_right() {
    ["sm_80", "sm_90a", "sm_120"]
        .into_iter()
        .for_each(|arch| check(128, arch));
}

/// PTX of NVRTC 12.9 for the same source with TILE = 16, in both dialects.
const NVRTC_12: [(&str, &str); 2] = [
    (
        "sm_80",
        include_str!("fixtures/newton_schulz_t16_nvrtc12_sm80.ptx"),
    ),
    (
        "sm_120",
        include_str!("fixtures/newton_schulz_t16_nvrtc12_sm120.ptx"),
    ),
];

#[test]
fn ptx_of_the_older_compiler_is_right() {
    for (arch, ptx) in NVRTC_12 {
        let module = Module::parse(ptx).unwrap_or_else(|error| panic!("{error}"));
        let shape = (27, 24);
        let worst = worst_error(
            &run(&module, arch, 16, shape, ExecutionOptions::default()),
            16,
            shape,
        );
        assert!(
            worst < BOUND,
            "{arch}: error {worst:.2e}, bound {BOUND:.2e}"
        );
    }
}

#[test]
fn the_order_of_blocks_and_warps_changes_no_bit() {
    let module = module("sm_80", 32);
    let fixed = run(&module, "sm_80", 32, (80, 72), ExecutionOptions::default());
    for seed in 0..4 {
        let options = ExecutionOptions {
            order: Order::Random(seed),
            ..ExecutionOptions::default()
        };
        assert_eq!(
            run(&module, "sm_80", 32, (80, 72), options).output,
            fixed.output,
            "seed {seed}"
        );
    }
    let unchecked = ExecutionOptions {
        checks: false,
        threads: 1,
        ..ExecutionOptions::default()
    };
    assert_eq!(
        run(&module, "sm_80", 32, (80, 72), unchecked).output,
        fixed.output
    );
}

#[test]
fn counters_agree_with_the_algorithm() {
    let tile = 64;
    let counters = run(
        &module("sm_80", tile),
        "sm_80",
        tile,
        (tile, tile),
        ExecutionOptions::default(),
    )
    .counters;
    // Three products of T^3 multiply-adds a step, 16 * 8 * 16 in an instruction.
    let products = STEPS * 3 * tile.pow(3) / (16 * 8 * 16);
    assert_eq!(counters.mma.values().sum::<u64>(), products as u64);
    assert_eq!(counters.kind(InstructionKind::Mma), products as u64);
    // The tile is read once and written once.
    assert_eq!(counters.global.bytes_read, 2 * (tile * tile) as u64);
    assert_eq!(counters.global.bytes_written, 2 * (tile * tile) as u64);
    assert_eq!(counters.global.sectors_read, (2 * tile * tile / 32) as u64);
    // Two barriers before the loop, one after the scaling, three a step.
    assert_eq!(counters.barriers.completed, 3 + 3 * STEPS as u64);
    assert_eq!(counters.barriers.arrivals, counters.barriers.completed * 4);
    // Each of the four warps sends its first lane to write the partial sum of squares.
    assert_eq!(counters.divergent_branches, 4);
    assert_eq!(
        counters.shared.wavefronts, counters.shared.ideal_wavefronts,
        "the swizzle leaves no bank conflict"
    );
}
