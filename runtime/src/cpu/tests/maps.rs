//! The bare map.

use super::inputs::{Normal, low_rank};
use crate::cpu::{ApplyScale, CpuKernel, Pool, Workspace};
use crate::reference::{Matrix, ReferenceMap};
use crate::tensor::TensorRef;
use himuon_templates::{CoefficientSet, KernelSpec, Mode, Power, Recurrence, Tile};

pub(super) fn sized(rows: u32, columns: u32) -> Tile {
    Tile::Sized { rows, columns }
}

pub(super) fn with(
    tile: Tile,
    recurrence: Recurrence,
    steps: u32,
    power: (u32, u32),
) -> KernelSpec {
    KernelSpec {
        steps,
        power: Power::new(power.0, power.1).expect("a power in [0, 1]"),
        recurrence,
        ..KernelSpec::new(tile)
    }
}

/// Every recurrence, for a tile.
pub(super) fn recurrences(tile: Tile) -> Vec<KernelSpec> {
    use CoefficientSet::{Cans, Cubic, Muon, PolarExpress, Quintic, Turbo, You};
    let odd = |set, steps| with(tile, Recurrence::NewtonSchulz(set), steps, (0, 1));
    vec![
        odd(Muon, 5),
        odd(Cubic, 7),
        odd(Quintic, 4),
        odd(PolarExpress, 6),
        odd(You, 5),
        odd(Turbo, 4),
        odd(Cans, 9),
        with(tile, Recurrence::Fitted, 6, (1, 2)),
        with(tile, Recurrence::Fitted, 3, (1, 4)),
        with(tile, Recurrence::Coupled, 7, (1, 2)),
        with(tile, Recurrence::Coupled, 6, (1, 3)),
        with(tile, Recurrence::Authors, 6, (1, 3)),
        with(tile, Recurrence::Identity, 0, (1, 1)),
    ]
}

pub(super) fn apply(spec: &KernelSpec, input: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let kernel = CpuKernel::new(spec).expect("a kernel");
    let mut output = vec![f32::NAN; rows * columns];
    let pool = Pool::new(1).expect("a pool");
    let input = TensorRef::F32(input);
    let mut workspace = Workspace::new();
    kernel
        .map(
            &pool,
            input,
            rows,
            columns,
            &mut output,
            ApplyScale::None,
            &mut workspace,
        )
        .expect("a map");
    output
}

/// Relative Frobenius error against the same map in `f64`.
fn error(spec: &KernelSpec, input: &[f32], rows: usize, columns: usize) -> f64 {
    let reference = ReferenceMap::new(spec).expect("a reference");
    let expected = reference
        .matrix(&Matrix::from_f32(rows, columns, input))
        .values;
    let found = Matrix::from_f32(rows, columns, &apply(spec, input, rows, columns));
    let norm = expected.norm();
    let difference = found.combined(1.0, -1.0, &expected).norm();
    if norm > 0.0 {
        difference / norm
    } else {
        difference
    }
}

const SHAPES: [(Tile, usize, usize); 15] = [
    (Tile::square(1), 7, 75),
    (Tile::square(16), 48, 64),
    (Tile::square(32), 70, 100),
    (Tile::square(64), 128, 64),
    (Tile::square(128), 130, 256),
    (Tile::square(2), 5, 7),
    (Tile::square(5), 23, 31),
    (Tile::square(17), 40, 20),
    (Tile::square(100), 100, 250),
    (
        Tile::Sized {
            rows: 64,
            columns: 24,
        },
        150,
        50,
    ),
    (
        Tile::Sized {
            rows: 24,
            columns: 72,
        },
        50,
        150,
    ),
    (
        Tile::Sized {
            rows: 1,
            columns: 33,
        },
        3,
        66,
    ),
    (
        Tile::Sized {
            rows: 40,
            columns: 1,
        },
        80,
        5,
    ),
    (Tile::Full, 96, 160),
    (Tile::Full, 145, 81),
];

/// Worst measured: 4e-6 where both edges are at least 16. Thinner tiles have singular values at 1, which `cans`
/// takes through 5.1825 s - 5.1781 s^3 = 4.4e-3 in its first step: the cancellation costs three digits (4.2e-5).
#[test]
fn gaussian_tiles_match_f64() {
    for (tile, rows, columns) in SHAPES {
        let input = Normal::new(7).numbers(rows * columns);
        for spec in recurrences(tile) {
            let error = error(&spec, &input, rows, columns);
            let thin = matches!(tile, Tile::Sized { rows, columns } if rows.min(columns) < 16);
            let bound = if thin { 1e-4 } else { 1e-5 };
            assert!(error <= bound, "{error:e} {rows}x{columns} {spec:?}");
        }
    }
}

#[test]
fn t256_matches_f64() {
    let input = Normal::new(8).numbers(256 * 300);
    let spec = KernelSpec::new(Tile::square(256));
    let error = error(&spec, &input, 256, 300);
    assert!(error <= 1e-5, "{error:e}");
}

/// Large enough that all threads share it.
#[test]
fn a_shared_tile_matches_f64() {
    let input = Normal::new(10).numbers(500 * 530);
    let spec = KernelSpec::new(Tile::Full);
    let error = error(&spec, &input, 500, 530);
    assert!(error <= 1e-5, "{error:e}");
}

#[test]
fn low_rank_tiles_match_f64() {
    for (rank, noise, bound) in [(16, 1e-3, 5e-5), (1, 0.0, 2e-4)] {
        let input = low_rank(3, 128, 128, rank, noise);
        let spec = KernelSpec::new(Tile::square(128));
        let error = error(&spec, &input, 128, 128);
        assert!(error <= bound, "{error:e} at rank {rank}");
    }
}

#[test]
fn huge_and_tiny_tiles_are_mapped_like_others() {
    for spec in recurrences(Tile::square(32)) {
        for magnitude in [1e20, 1e-25, 1e37, 1e-37] {
            let input: Vec<f32> = Normal::new(9)
                .numbers(64 * 64)
                .iter()
                .map(|x| x * magnitude)
                .collect();
            let error = error(&spec, &input, 64, 64);
            assert!(error <= 1e-5, "{error:e} at {magnitude:e} {spec:?}");
        }
    }
}

#[test]
fn a_zero_tile_gives_exactly_zero() {
    for tile in [Tile::square(16), Tile::square(24), Tile::square(64)] {
        for spec in recurrences(tile) {
            let output = apply(&spec, &vec![0.0; 64 * 96], 64, 96);
            assert!(output.iter().all(|x| *x == 0.0), "{spec:?}");
        }
    }
}

/// A ragged tile gives the bits of the same tile on its own: the padding is exact.
#[test]
fn padding_is_exact() {
    for spec in recurrences(Tile::square(32)) {
        let input = Normal::new(4).numbers(32 * 45);
        let whole = apply(&spec, &input, 32, 45);
        let ragged: Vec<f32> = (0..32)
            .flat_map(|row| input[row * 45 + 32..(row + 1) * 45].to_vec())
            .collect();
        let alone = apply(&spec, &ragged, 32, 13);
        for row in 0..32 {
            assert_eq!(
                whole[row * 45 + 32..(row + 1) * 45],
                alone[row * 13..(row + 1) * 13]
            );
        }
    }
}

#[test]
fn a_tile_that_covers_the_matrix_is_the_matrix() {
    let input = Normal::new(5).numbers(40 * 56);
    for full in recurrences(Tile::Full) {
        let larger = KernelSpec {
            tile: Tile::square(64),
            ..full.clone()
        };
        assert_eq!(apply(&full, &input, 40, 56), apply(&larger, &input, 40, 56));
    }
}

/// Rounding points agree, roundings of sums may not: one bf16 unit here and there. Worst measured 2.1e-2.
#[test]
fn reference_mode_matches_its_rounding_points() {
    for (tile, rows, columns) in SHAPES {
        let input = Normal::new(11).numbers(rows * columns);
        let spec = KernelSpec {
            mode: Mode::Reference,
            ..KernelSpec::new(tile)
        };
        let error = error(&spec, &input, rows, columns);
        assert!(error <= 3e-2, "{error:e} {rows}x{columns} {tile:?}");
    }
}

#[test]
fn a_non_finite_tile_is_zero_and_counted() {
    let mut input = Normal::new(6).numbers(64 * 64);
    input[40 * 64 + 3] = f32::NAN;
    input[3 * 64 + 60] = f32::INFINITY;
    let kernel = CpuKernel::new(&KernelSpec::new(Tile::square(32))).expect("a kernel");
    let mut output = vec![f32::NAN; 64 * 64];
    let (pool, mut workspace) = (Pool::new(1).expect("a pool"), Workspace::new());
    let tensor = TensorRef::F32(&input);
    let report = kernel
        .map(
            &pool,
            tensor,
            64,
            64,
            &mut output,
            ApplyScale::None,
            &mut workspace,
        )
        .expect("a map");
    assert_eq!((report.tiles, report.non_finite_tiles), (4, 2));
    let expected = apply(kernel.spec(), &Normal::new(6).numbers(64 * 64), 64, 64);
    for row in 0..64 {
        for column in 0..64 {
            let poisoned = (row < 32) != (column < 32);
            let expected = if poisoned {
                0.0
            } else {
                expected[row * 64 + column]
            };
            assert_eq!(output[row * 64 + column], expected, "({row}, {column})");
        }
    }
}
