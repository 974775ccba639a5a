//! The two-level map against closed forms.

use super::two_levels::two_level_step;
use super::*;
use crate::launch::ScaleRule;
use crate::reference::checks::{random, scalars};
use crate::reference::{ReferenceMap, RowMoments, StepState, singular_values, step};
use himuon_templates::{Coarse, CoefficientSet, Fine, KernelSpec, Power, Recurrence, Tile};

fn spec(tile: usize, rank: u32, fine: Fine) -> KernelSpec {
    KernelSpec {
        steps: 10,
        recurrence: Recurrence::NewtonSchulz(CoefficientSet::Quintic),
        coarse: Coarse::Polar { rank, fine },
        ..KernelSpec::new(Tile::square(tile as u32))
    }
}

fn state(rows: usize, columns: usize) -> StepState {
    StepState {
        weight: Matrix::zeros(rows, columns),
        momentum: Matrix::zeros(rows, columns),
        row_moments: None,
    }
}

/// One step on `gradient` from the seeded basis; the weight and the basis afterwards.
fn stepped(spec: &KernelSpec, gradient: &Matrix) -> (Matrix, Matrix) {
    let map = ReferenceMap::new(spec).unwrap();
    let (rows, columns) = gradient.shape();
    let mut state = state(rows, columns);
    let mut basis = seeded_basis(columns, crate::coarse::coarse_rank(spec, rows, columns));
    two_level_step(&map, &scalars(), gradient, &mut state, &mut basis, true).unwrap();
    (state.weight, basis)
}

fn distance(a: &Matrix, b: &Matrix) -> f64 {
    a.combined(1.0, -1.0, b).norm() / b.norm()
}

#[test]
fn at_full_rank_the_map_is_that_of_the_whole_matrix() {
    for (rows, columns) in [(12, 12), (9, 14), (14, 9)] {
        let gradient = random(rows, columns, 1);
        let mut whole = spec(4, 1, Fine::Projected);
        (whole.tile, whole.coarse) = (Tile::Full, Coarse::Off);
        let mut expected = state(rows, columns);
        step(
            &ReferenceMap::new(&whole).unwrap(),
            &scalars(),
            &gradient,
            &mut expected,
        )
        .unwrap();
        for fine in [Fine::Projected, Fine::Fused, Fine::Nothing] {
            let (found, _) = stepped(&spec(4, 64, fine), &gradient);
            let distance = distance(&found, &expected.weight);
            assert!(distance < 1e-7, "{rows}x{columns} {fine:?}: {distance:e}");
        }
    }
}

#[test]
fn one_tile_and_rank_zero_are_the_tiles_alone() {
    let gradient = random(10, 7, 2);
    let mut alone = spec(4, 1, Fine::Projected);
    alone.coarse = Coarse::Off;
    for (coupled, plain) in [
        (
            spec(16, 3, Fine::Projected),
            KernelSpec {
                tile: Tile::square(16),
                ..alone.clone()
            },
        ),
        (
            KernelSpec {
                coarse: spec(4, 3, Fine::Fused).coarse.with_rank(0),
                ..alone.clone()
            },
            alone,
        ),
    ] {
        let mut expected = state(10, 7);
        step(
            &ReferenceMap::new(&plain).unwrap(),
            &scalars(),
            &gradient,
            &mut expected,
        )
        .unwrap();
        assert_eq!(stepped(&coupled, &gradient).0, expected.weight);
    }
}

/// Singular values 2^-k: subspace iteration converges by (s_4 / s_3)^2 a step.
#[test]
fn the_basis_converges_to_the_leading_singular_space() {
    let orthogonal = |rows, columns, seed| qr(&random(rows, columns, seed)).q;
    let (left, right) = (orthogonal(20, 9, 3), orthogonal(15, 9, 4));
    let scaled = Matrix::from_fn(20, 9, |i, j| left.get(i, j) * 0.5_f64.powi(j as i32));
    let matrix = scaled.product(&right.transpose());
    let mut basis = seeded_basis(15, 4);
    let mut last = f64::INFINITY;
    for iteration in 0..16 {
        basis = coarse_part(&matrix, &basis, 0.0, true).unwrap().basis;
        let leading = Matrix::from_fn(15, 4, |i, j| right.get(i, j));
        let inside = leading.product(&leading.transpose().product(&basis));
        let outside = inside.combined(1.0, -1.0, &basis).norm();
        assert!(
            outside < 0.6 * last || outside < 1e-8,
            "{iteration}: {outside:e} after {last:e}"
        );
        last = outside;
    }
    assert!(last < 1e-8, "{last:e}");
}

#[test]
fn the_coarse_part_is_the_power_of_what_is_captured() {
    let matrix = random(13, 8, 5);
    for (p, refresh) in [(0.0, true), (0.0, false), (0.5, true), (0.5, false)] {
        let part = coarse_part(&matrix, &seeded_basis(8, 3), p, refresh).unwrap();
        let values = singular_values(&part.values);
        let captured = singular_values(&part.captured);
        for (found, s) in values.iter().zip(&captured).take(3) {
            assert!(
                (found - s.powf(p)).abs() < 1e-10,
                "{p} {refresh}: {found} for {s}"
            );
        }
        assert!(values[3] < 1e-10);
        // Same singular vectors: <U S^p V^T, U S V^T> is the sum of s^(p+1).
        let expected: f64 = captured.iter().take(3).map(|s| s.powf(p + 1.0)).sum();
        assert!((part.values.inner_product(&part.captured) - expected).abs() < 1e-9);
        let nuclear: f64 = captured.iter().take(3).sum();
        assert!((part.nuclear_norm - nuclear).abs() < 1e-9);
    }
}

#[test]
fn collapsed_columns_are_left_out_and_seeded_again() {
    let matrix = random(12, 2, 6).product(&random(2, 10, 7));
    let part = coarse_part(&matrix, &seeded_basis(10, 5), 0.0, true).unwrap();
    let values = singular_values(&part.values);
    assert!((values[0] - 1.0).abs() < 1e-9 && (values[1] - 1.0).abs() < 1e-9 && values[2] < 1e-9);
    let gram = part.basis.transpose().gram().plus_identity(-1.0);
    assert!(gram.norm() < 1e-12, "{}", gram.norm());
    // All of the matrix is captured: the tiles have nothing to map, not even rounding.
    for fine in [Fine::Projected, Fine::Fused] {
        let (found, _) = stepped(&spec(4, 5, fine), &matrix);
        let (alone, _) = stepped(&spec(4, 5, Fine::Nothing), &matrix);
        assert!(distance(&found, &alone) < 1e-9, "{fine:?}");
    }
    assert_eq!(
        coarse_part(&Matrix::zeros(6, 5), &seeded_basis(5, 2), 0.0, true),
        None
    );
}

#[test]
fn the_projected_parts_are_orthogonal() {
    let gradient = random(18, 11, 8);
    let map = ReferenceMap::new(&spec(4, 3, Fine::Projected)).unwrap();
    let mut basis = seeded_basis(11, 3);
    let both = two_level_step(
        &map,
        &scalars(),
        &gradient,
        &mut state(18, 11),
        &mut basis,
        true,
    );
    let both = both.unwrap().unwrap();
    let factor = f64::from(0.2_f32) * 18.0_f64.sqrt();
    let fine = both.update.combined(1.0, -factor, &both.coarse.values);
    assert!(both.coarse.left.transpose().product(&fine).norm() < 1e-12);
    assert!(fine.product(&both.coarse.right).norm() < 1e-12);
}

#[test]
fn a_matrix_that_is_not_finite_takes_its_tiles_alone_and_keeps_its_basis() {
    let mut gradient = random(8, 8, 9);
    gradient.set(5, 2, f64::INFINITY);
    let coupled = spec(4, 2, Fine::Projected);
    let (found, basis) = stepped(&coupled, &gradient);
    let alone = KernelSpec {
        coarse: Coarse::Off,
        ..coupled
    };
    let mut expected = state(8, 8);
    step(
        &ReferenceMap::new(&alone).unwrap(),
        &scalars(),
        &gradient,
        &mut expected,
    )
    .unwrap();
    assert_eq!(found, expected.weight);
    assert_eq!(basis, seeded_basis(8, 2));
}

#[test]
fn powers_and_normalised_rows_set_the_rms_of_the_sum() {
    let gradient = random(12, 9, 10);
    for (power, rows) in [
        (Power::new(1, 2), false),
        (Some(Power::ZERO), true),
        (Power::new(1, 3), true),
    ] {
        let power = power.unwrap();
        let mut spec = spec(4, 3, Fine::Projected);
        if power != Power::ZERO {
            (spec.power, spec.recurrence, spec.steps) = (power, Recurrence::Coupled, 8);
        }
        let mut state = state(12, 9);
        state.row_moments = rows.then(|| RowMoments {
            values: vec![0.0; 12],
            beta2: 0.95,
            epsilon: 1e-8,
        });
        let map = ReferenceMap::new(&spec).unwrap();
        let mut scalars = scalars();
        scalars.scale = ScaleRule::None;
        let both = two_level_step(
            &map,
            &scalars,
            &gradient,
            &mut state,
            &mut seeded_basis(9, 3),
            true,
        );
        assert!(both.unwrap().is_some());
        let rms = state.weight.norm() / 108.0_f64.sqrt();
        assert!((rms - 0.02 * 0.2).abs() < 1e-8, "{rms}");
    }
}
