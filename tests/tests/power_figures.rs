//! Muon^p: how near the recurrences come to s^p, and how much less tiling costs than at p = 0.
#![allow(
    clippy::unwrap_used,
    reason = "a specification of the test is legal, or the test fails"
)]

use himuon::Tile;
use himuon::reference::{Matrix, tiles};
use himuon::templates::{KernelSpec, Recurrence};
use himuon_tests::inputs::{gaussian, product};
use himuon_tests::random::Random;
use himuon_tests::specs::power;
use himuon_tests::svd::{Svd, cosine, svd};

fn worst(spec: &KernelSpec, lower: f64) -> f64 {
    spec.step_table()
        .unwrap()
        .worst_deviation(spec.power, lower)
}

#[test]
fn fitted_lists() {
    // Largest relative error to s^p on [1e-2, 1] as published with the lists.
    let figures = [
        (4, [0.359, 0.349, 0.225, 0.154, 0.102]),
        (6, [0.065, 0.054, 0.051, 0.073, 0.024]),
        (8, [0.018, 0.018, 0.016, 0.008, 0.005]),
    ];
    for (steps, errors) in figures {
        for ((numerator, denominator), error) in [(1, 4), (1, 3), (1, 2), (2, 3), (3, 4)]
            .into_iter()
            .zip(errors)
        {
            let found = worst(
                &power(Recurrence::Fitted, numerator, denominator, steps),
                1e-2,
            );
            assert!(
                (found - error).abs() <= 0.001,
                "{numerator}/{denominator} K = {steps}: {found} for {error}"
            );
        }
    }
}

#[test]
fn coupled_square_root() {
    for (steps, at_most) in [(6, 0.095), (7, 0.0095)] {
        let found = worst(&power(Recurrence::Coupled, 1, 2, steps), 1e-3);
        assert!(found <= at_most, "K = {steps}: {found}");
    }
}

#[test]
fn the_authors_cube_root_is_far_off_for_small_singular_values() {
    let table = power(Recurrence::Authors, 1, 3, 6).step_table().unwrap();
    let found = (0..=1000)
        .map(|i| 0.01 * 20f64.powf(f64::from(i) / 1000.0))
        .map(|s| (table.response(s) / s.cbrt() - 1.0).abs())
        .fold(0.0, f64::max);
    assert!((found - 0.77).abs() <= 0.01, "{found}");
}

/// Relative error of the fitted recurrence over the singular values of an n x n Gaussian of norm 1, which
/// follow the quarter-circle law: s = 2 x / sqrt(n), density sqrt(1 - x^2).
fn on_a_large_gaussian(spec: &KernelSpec, n: f64, rescaled: bool) -> f64 {
    let table = spec.step_table().unwrap();
    let p = spec.power.to_f64();
    // ||X X^T||_F^2 = sum of s^4 = n E[s^4] = 2/n for the law above.
    let nu = if rescaled { (2.0 / n).powf(0.25) } else { 1.0 };
    let (mut difference, mut norm) = (0.0, 0.0);
    for i in 0..4096 {
        let x = (f64::from(i) + 0.5) / 4096.0;
        let (s, density) = (2.0 * x / n.sqrt(), (1.0 - x * x).sqrt());
        let mapped = table.response(s / nu) * nu.powf(p);
        difference += density * (mapped - s.powf(p)).powi(2);
        norm += density * s.powf(2.0 * p);
    }
    (difference / norm).sqrt()
}

#[test]
fn the_rescale_pays_on_large_tiles() {
    let figures = [
        ((1, 4), 0.196, 0.057),
        ((1, 3), 0.157, 0.044),
        ((1, 2), 0.103, 0.035),
    ];
    for ((numerator, denominator), plain, rescaled) in figures {
        let spec = power(Recurrence::Fitted, numerator, denominator, 6);
        for (with, expected) in [(false, plain), (true, rescaled)] {
            let found = on_a_large_gaussian(&spec, 4096.0, with);
            assert!(
                (found - expected).abs() <= 0.003,
                "{numerator}/{denominator}, rescaled {with}: {found} for {expected}"
            );
        }
    }
}

/// A matrix, its decomposition and those of its tiles.
struct Decomposed {
    whole: Svd,
    tiles: Vec<(himuon::reference::TileBounds, Svd)>,
    edge: usize,
}

impl Decomposed {
    fn new(matrix: &Matrix, tile: u32) -> Decomposed {
        let edge = matrix.rows();
        Decomposed {
            whole: svd(matrix),
            tiles: tiles(Tile::square(tile), edge, edge)
                .into_iter()
                .map(|bounds| (bounds, svd(&matrix.cut(&bounds))))
                .collect(),
            edge,
        }
    }

    /// Cosine of the tiled U S^p V^T to the full one; `alike`: each tile divided by its norm.
    fn closeness(&self, p: f64, alike: bool) -> f64 {
        let mut tiled = Matrix::zeros(self.edge, self.edge);
        for (bounds, svd) in &self.tiles {
            let mapped = svd.with_values(|s| s.powf(p));
            let factor = if alike { 1.0 / mapped.norm() } else { 1.0 };
            tiled.paste(bounds, &mapped.scaled(factor));
        }
        cosine(&tiled, &self.whole.with_values(|s| s.powf(p)))
    }
}

#[test]
fn tiling_costs_less_the_larger_p() {
    let mut random = Random::new(1);
    let normal = gaussian(512, 512, &mut random);
    let low = product(512, 512, 32, &mut random);
    let low = low.combined(1.0, 0.3, &gaussian(512, 512, &mut random));
    for (name, matrix) in [("Gaussian", &normal), ("rank 32 and noise", &low)] {
        let decomposed = Decomposed::new(matrix, 128);
        // Measured over three seeds: 0.66 and 0.75; 0.87 and 0.92; 0.94 and 0.96.
        for (p, range) in [
            (0.0, 0.64..0.77),
            (1.0 / 3.0, 0.85..0.93),
            (0.5, 0.93..0.97),
        ] {
            let found = decomposed.closeness(p, false);
            assert!(range.contains(&found), "{name}, p = {p}: {found}");
        }
    }
}

#[test]
fn one_normalisation_of_the_whole_matrix_keeps_the_proportions_of_the_tiles() {
    let normal = gaussian(512, 512, &mut Random::new(1));
    let rows = Matrix::from_fn(512, 512, |row, column| {
        normal.get(row, column) * 10f64.powf(-2.0 * row as f64 / 511.0)
    });
    let decomposed = Decomposed::new(&rows, 128);
    let (together, alike) = (
        decomposed.closeness(0.5, false),
        decomposed.closeness(0.5, true),
    );
    assert!((together - 0.963).abs() <= 0.005, "{together}");
    assert!((alike - 0.786).abs() <= 0.01, "{alike}");
}
