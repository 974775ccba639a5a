//! Unit checks of the reference against closed forms. The independent check by SVD is in the conformance
//! suite.

use super::*;
use crate::launch::{GroupScalars, ScaleRule};
use himuon_templates::{CoefficientSet, KernelSpec, Recurrence, Tile};

/// Numbers in [-1, 1) by a linear congruential generator (Knuth's MMIX constants).
pub(super) fn random(rows: usize, columns: usize, seed: u64) -> Matrix {
    let mut state = seed;
    Matrix::from_fn(rows, columns, |_, _| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

fn quintic(tile: Tile, steps: u32) -> ReferenceMap {
    let spec = KernelSpec {
        steps,
        recurrence: Recurrence::NewtonSchulz(CoefficientSet::Quintic),
        ..KernelSpec::new(tile)
    };
    ReferenceMap::new(&spec).unwrap()
}

pub(super) fn scalars() -> GroupScalars {
    GroupScalars {
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
    }
}

#[test]
fn product_agrees_with_the_definition() {
    let (a, b) = (random(7, 9, 1), random(9, 5, 2));
    let product = a.product(&b);
    for row in 0..7 {
        for column in 0..5 {
            let expected: f64 = (0..9).map(|k| a.get(row, k) * b.get(k, column)).sum();
            assert!((product.get(row, column) - expected).abs() < 1e-14);
        }
    }
}

#[test]
fn many_quintic_steps_are_orthogonal_in_every_orientation() {
    for (rows, columns) in [(6, 6), (4, 9), (9, 4), (1, 5), (5, 1)] {
        let mapped = quintic(Tile::Full, 10).polynomial(&random(rows, columns, 3));
        let gram = mapped.oriented().gram().plus_identity(-1.0);
        assert!(gram.norm() < 1e-9, "{rows}x{columns}: {}", gram.norm());
    }
}

#[test]
fn singular_values_of_a_known_product() {
    // U diag(s) V^T with U, V from many quintic steps.
    let left = quintic(Tile::Full, 10).polynomial(&random(5, 5, 4));
    let right = quintic(Tile::Full, 10).polynomial(&random(5, 8, 5));
    let expected = [3.0, 2.0, 0.5, 1e-3, 1e-7];
    let scaled = Matrix::from_fn(5, 8, |row, column| expected[row] * right.get(row, column));
    for (found, s) in singular_values(&left.product(&scaled)).iter().zip(expected) {
        assert!((found - s).abs() < 1e-9, "{found} for {s}");
    }
}

#[test]
fn tiles_cover_each_element_once() {
    let tile = Tile::Sized {
        rows: 3,
        columns: 4,
    };
    let mut cover = Matrix::zeros(7, 9);
    for bounds in tiles(tile, 7, 9) {
        let one_more = cover.cut(&bounds).map(|v| v + 1.0);
        cover.paste(&bounds, &one_more);
    }
    assert!(cover.values().iter().all(|v| *v == 1.0));
}

#[test]
fn exact_scale_gives_every_tile_the_same_rms() {
    let tile = Tile::square(4);
    let gradient = random(10, 7, 6);
    let mut state = StepState {
        weight: Matrix::zeros(10, 7),
        momentum: Matrix::zeros(10, 7),
        row_moments: None,
    };
    step(&quintic(tile, 10), &scalars(), &gradient, &mut state).unwrap();
    for bounds in tiles(tile, 10, 7) {
        let update = state.weight.cut(&bounds);
        let rms = update.norm() / ((bounds.rows * bounds.columns) as f64).sqrt();
        assert!((rms - 0.02 * 0.2).abs() < 1e-6, "{bounds:?}: {rms}");
    }
}

#[test]
fn a_non_finite_tile_alone_is_unchanged() {
    let (mut gradient, weight) = (random(8, 8, 7), random(8, 8, 8));
    gradient.set(1, 6, f64::NAN);
    let mut state = StepState {
        weight: weight.clone(),
        momentum: random(8, 8, 9),
        row_moments: None,
    };
    let before = state.momentum.clone();
    let report = step(
        &quintic(Tile::square(4), 5),
        &scalars(),
        &gradient,
        &mut state,
    )
    .unwrap();
    assert_eq!(report.non_finite_tiles(), 1);
    for bounds in tiles(Tile::square(4), 8, 8) {
        let unchanged = (bounds.row, bounds.column) == (0, 4);
        assert_eq!(state.weight.cut(&bounds) == weight.cut(&bounds), unchanged);
        assert_eq!(
            state.momentum.cut(&bounds) == before.cut(&bounds),
            unchanged
        );
        assert!(state.weight.cut(&bounds).is_finite());
    }
}

#[test]
fn row_normalisation_sets_the_rms_of_the_matrix() {
    let mut state = StepState {
        weight: Matrix::zeros(6, 8),
        momentum: Matrix::zeros(6, 8),
        row_moments: Some(RowMoments {
            values: vec![0.0; 6],
            beta2: 0.95,
            epsilon: 1e-8,
        }),
    };
    let gradient = Matrix::from_fn(6, 8, |row, column| {
        random(6, 8, 10).get(row, column) * 10f64.powi(row as i32)
    });
    step(
        &quintic(Tile::square(4), 5),
        &scalars(),
        &gradient,
        &mut state,
    )
    .unwrap();
    let rms = state.weight.norm() / 48f64.sqrt();
    assert!((rms - 0.02 * 0.2).abs() < 1e-9);
    let rows: Vec<f64> = (0..6)
        .map(|row| state.weight.row(row).iter().map(|v| v * v).sum::<f64>())
        .collect();
    // The smallest row is short of its limit by eps / sqrt(v): 1.1e-6 here.
    for row in &rows {
        assert!((row / rows[0] - 1.0).abs() < 1e-5, "{rows:?}");
    }
}

#[test]
fn the_four_scalars_express_both_conventions() {
    let (momentum, gradient) = (random(3, 4, 11), random(3, 4, 12));
    let mu = 0.95f32;
    let cases = [
        (MomentumConvention::HeavyBall, true, 1.0, 1.0, mu),
        (MomentumConvention::HeavyBall, false, 1.0, 0.0, 1.0),
        (
            MomentumConvention::MovingAverage,
            true,
            1.0 - mu,
            1.0 - mu,
            mu,
        ),
        (MomentumConvention::MovingAverage, false, 1.0 - mu, 0.0, 1.0),
    ];
    for (convention, nesterov, c, alpha, beta) in cases {
        let form = GroupScalars {
            mu,
            c,
            alpha,
            beta,
            ..scalars()
        };
        let expected = convention.step(f64::from(mu), nesterov, &momentum, &gradient);
        let found = momentum_step(&form, &momentum, &gradient);
        for (a, b) in [(expected.0, found.0), (expected.1, found.1)] {
            assert!(
                a.combined(1.0, -1.0, &b).norm() < 1e-7,
                "{convention:?} {nesterov}"
            );
        }
    }
}

#[test]
fn shapes_that_differ_change_nothing() {
    let mut state = StepState {
        weight: random(3, 4, 13),
        momentum: Matrix::zeros(3, 4),
        row_moments: None,
    };
    let before = state.clone();
    let found = step(
        &quintic(Tile::Full, 5),
        &scalars(),
        &Matrix::zeros(4, 3),
        &mut state,
    );
    let text = found.unwrap_err().to_string();
    assert!(
        text.contains("the gradient is (4, 3), but the weight is (3, 4)"),
        "{text}"
    );
    assert_eq!(state, before);
}
