//! A kernel that Triton compiled (`fixtures/triton_dot.py`, its PTX beside it) against plain sums in f64.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod common;

use common::{Numbers, Params, Shape, device_for, download, launch, le_bytes16, upload, words32};
use half::bf16;
use himuon_emulator::{ExecutionOptions, Module, Order};

const PTX: &str = include_str!("fixtures/triton_dot.ptx");
const BLOCK: usize = 32;
/// `tl.dot` takes its shared memory dynamically; Triton's metadata states this much.
const SHARED_BYTES: u32 = 4096;

/// Runs the kernel; returns the product and the sums of squares of its rows for each column of tiles.
fn run([n, m, k]: [usize; 3], a: &[u16], b: &[u16], order: Order) -> (Vec<f32>, Vec<f32>) {
    let device = device_for("sm_80");
    let module = Module::parse(PTX).unwrap_or_else(|error| panic!("{error}"));
    let (rows, columns) = (n.div_ceil(BLOCK), m.div_ceil(BLOCK));
    let c = device.memory.alloc(4 * (n * m) as u64).unwrap();
    let norms = device.memory.alloc(4 * (n * columns) as u64).unwrap();
    let params = Params::new()
        .pointer(upload(&device, &le_bytes16(a)))
        .pointer(upload(&device, &le_bytes16(b)))
        .pointer(c)
        .pointer(norms);
    let params = params.u32(n as u32).u32(m as u32).u32(k as u32);
    // Triton appends two scratch pointers, which this kernel does not use.
    let params = params.pointer(0).pointer(0);
    let shape = Shape {
        grid: [rows as u32, columns as u32, 1],
        block: [128, 1, 1],
        dynamic_shared_bytes: SHARED_BYTES,
    };
    let options = ExecutionOptions {
        order,
        ..ExecutionOptions::default()
    };
    launch(&device, &module, "tile_product", shape, &params, options)
        .unwrap_or_else(|fault| panic!("{fault}"));
    let floats = |address, count| {
        words32(&download(&device, address, 4 * count))
            .into_iter()
            .map(f32::from_bits)
            .collect()
    };
    (floats(c, n * m), floats(norms, n * columns))
}

#[test]
fn a_triton_dot_is_right() {
    for extents @ [n, m, k] in [[32, 32, 32], [64, 32, 96], [50, 41, 35]] {
        let mut numbers = Numbers(n as u64);
        let mut normal = |count: usize| -> Vec<u16> {
            (0..count)
                .map(|_| bf16::from_f64(numbers.normal()).to_bits())
                .collect()
        };
        let (a, b) = (normal(n * k), normal(k * m));
        let (c, norms) = run(extents, &a, &b, Order::Lockstep);
        let value = |bits: u16| bf16::from_bits(bits).to_f64();
        for row in 0..n {
            for column in 0..m {
                let terms =
                    (0..k).map(|depth| value(a[row * k + depth]) * value(b[depth * m + column]));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| {
                    (sum + term, size + term.abs())
                });
                let error = (f64::from(c[row * m + column]) - sum).abs();
                // One rounding to f32 after each of the k / 16 products of depth 16.
                let bound = size * f64::from(f32::EPSILON) * (k / 16 + 1) as f64;
                assert!(
                    error <= bound,
                    "{extents:?} row {row} column {column}: error {error:e}, bound {bound:e}"
                );
            }
        }
        for (index, norm) in norms.iter().enumerate() {
            let (row, first) = (index % n, index / n * BLOCK);
            let squares =
                (first..m.min(first + BLOCK)).map(|column| f64::from(c[row * m + column]).powi(2));
            let expected: f64 = squares.sum();
            assert!(
                (f64::from(*norm) - expected).abs() <= 1e-5 * expected,
                "{extents:?} row {row}: {norm}, expected {expected}"
            );
        }
        assert_eq!(
            run(extents, &a, &b, Order::Random(7)),
            (c, norms),
            "the order changes no bit"
        );
    }
}
