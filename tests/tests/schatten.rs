//! U S^p V^T is the direction of steepest ascent under a Schatten norm: of all D with ||D||_q <= 1, q = 1 + 1/p, it
//! maximises <G, D> once its own norm is 1, and the maximum is ||G||_(1+p) (Hoelder; p = 0: the spectral ball, and
//! the nuclear norm).

use himuon::KernelSpec;
use himuon::Tile;
use himuon::reference::{Matrix, ReferenceMap};
use himuon::templates::{Power, SpecFields};
use himuon_tests::inputs::{gaussian, product};
use himuon_tests::random::Random;
use himuon_tests::svd::{singular_values, svd};
use proptest::prelude::*;

/// (sum s^q)^(1/q); the largest for q infinite.
fn schatten(values: &[f64], q: f64) -> f64 {
    let largest = values.iter().copied().fold(0.0, f64::max);
    if q.is_infinite() || largest == 0.0 {
        return largest;
    }
    let sum: f64 = values.iter().map(|s| (s / largest).powf(q)).sum();
    largest * sum.powf(1.0 / q)
}

fn in_ball(direction: &Matrix, q: f64) -> Matrix {
    direction.scaled(1.0 / schatten(&singular_values(direction), q))
}

fn ball(power: f64) -> f64 {
    1.0 + 1.0 / power
}

fn exact(matrix: &Matrix, power: f64) -> Matrix {
    svd(matrix).with_values(|s| s.powf(power))
}

prop_compose! {
    /// Full rank, low rank with noise, or scaled rows.
    fn any_matrix()(
        rows in 1usize..14,
        columns in 1usize..14,
        kind in 0..3,
        seed in any::<u64>(),
    ) -> Matrix {
        let mut random = Random::new(seed);
        let noise = gaussian(rows, columns, &mut random);
        match kind {
            0 => noise,
            1 => product(rows, columns, 1, &mut random).combined(1.0, 0.05, &noise),
            _ => Matrix::from_fn(rows, columns, |row, column| noise.get(row, column) * 0.5f64.powi(row as i32)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_in_the_ball_ascends_more(
        matrix in any_matrix(),
        power in prop::sample::select(vec![0.0, 0.25, 1.0 / 3.0, 0.5, 2.0 / 3.0, 0.75, 1.0]),
        seed in any::<u64>(),
        size in 1e-4f64..3.0,
    ) {
        let q = ball(power);
        let best = in_ball(&exact(&matrix, power), q);
        let gain = matrix.inner_product(&best);
        let expected = schatten(&singular_values(&matrix), 1.0 + power);
        prop_assert!((gain / expected - 1.0).abs() < 1e-9, "{gain} for {expected}");
        let mut random = Random::new(seed);
        let other = gaussian(matrix.rows(), matrix.columns(), &mut random);
        // Anywhere in the ball, and beside the maximum.
        let beside = best.combined(1.0, size * best.norm() / other.norm(), &other);
        for candidate in [&other, &beside, &matrix, &exact(&matrix, 0.5 * power)] {
            let candidate = in_ball(candidate, q);
            prop_assert!(matrix.inner_product(&candidate) <= gain * (1.0 + 1e-9));
        }
    }
}

/// The recurrences that kernels run come close to the maximum: what is lost is second order in their error.
#[test]
fn the_maps_of_the_kernels_nearly_reach_the_maximum() {
    for (numerator, denominator) in [(1, 4), (1, 3), (1, 2), (2, 3), (3, 4)] {
        let power = Power::new(numerator, denominator).unwrap();
        let spec: KernelSpec = SpecFields {
            tile: Some(Tile::Full),
            power: Some(power),
            steps: Some(8),
            ..SpecFields::default()
        }
        .resolve()
        .unwrap();
        let map = ReferenceMap::new(&spec).unwrap();
        for seed in 1..=6 {
            let matrix = gaussian(24, 40, &mut Random::new(seed));
            let mapped = in_ball(&map.polynomial(&matrix), ball(power.to_f64()));
            let expected = schatten(&singular_values(&matrix), 1.0 + power.to_f64());
            let reached = matrix.inner_product(&mapped) / expected;
            println!("p = {power}, seed {seed}: {reached}");
            assert!(
                reached > 0.999 && reached <= 1.0 + 1e-9,
                "p = {power}: {reached}"
            );
        }
    }
}
