//! The diagnosis of a matrix against singular value decompositions in f64.
#![allow(clippy::unwrap_used, reason = "a diagnosis that fails fails its test")]

use himuon::Tile;
use himuon::diagnose::{DiagnoseError, DiagnosisOptions, MatrixDiagnosis, Method, diagnose};
use himuon::reference::Matrix;
use himuon::templates::{CoefficientSet, Finite, Power};
use himuon_tests::inputs::{Input, gaussian, product};
use himuon_tests::random::Random;
use himuon_tests::svd::{cosine, singular_values, spectral_norm, svd, tiled_polar};

/// Nearly the polar factor: ten steps that take every singular value above 1e-3 of X to 1 within 1e-6.
fn nearly_exact(tiles: &[u32], powers: &[(u32, u32)]) -> DiagnosisOptions {
    DiagnosisOptions {
        tiles: tiles
            .iter()
            .map(|edge| Tile::square(*edge))
            .chain([Tile::Full])
            .collect(),
        powers: powers
            .iter()
            .filter_map(|(n, d)| Power::new(*n, *d))
            .collect(),
        coefficients: Finite::new(1e-3).map(|lower| CoefficientSet::Minimax { lower }),
        steps: Some(10),
        ..DiagnosisOptions::default()
    }
}

fn measured(matrix: &Matrix, options: &DiagnosisOptions) -> MatrixDiagnosis {
    diagnose(&matrix.to_f32(), matrix.rows(), matrix.columns(), options).unwrap()
}

#[test]
fn the_spectrum_is_that_of_the_decomposition() {
    for (rows, columns) in [(60, 150), (150, 60), (1, 40), (40, 1)] {
        let matrix =
            Input::IllConditioned.matrix(rows, columns, 16, himuon::templates::Element::F32, 1);
        let expected = singular_values(&matrix);
        let options = nearly_exact(&[16], &[(0, 1)]);
        let found = measured(&matrix, &options);
        assert_eq!(found.method, Method::Exact);
        let pairs = found.spectrum.values.iter().zip(&expected);
        let worst = pairs
            .map(|(found, expected)| (found - expected).abs())
            .fold(0.0, f64::max);
        println!(
            "{rows} x {columns}: {:.1e} of the norm",
            worst / matrix.norm()
        );
        // The square root of rounding, at most: eigenvalues of the Gram matrix.
        assert!(worst < 1e-7 * matrix.norm(), "{worst}");
        let squares: Vec<f64> = expected.iter().map(|s| s * s).collect();
        let (sum, largest) = (squares.iter().sum::<f64>(), squares[0]);
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-6;
        assert!(near(found.spectrum.stable_rank, sum / largest));
        let fourth: f64 = squares.iter().map(|s| s * s).sum();
        assert!(near(found.spectrum.participation_ratio, sum * sum / fourth));
        let nuclear: f64 = expected.iter().sum();
        assert!(near(found.spectrum.nuclear_rank, nuclear * nuclear / sum));
        assert!(near(found.norm, matrix.norm()));
    }
}

#[test]
fn cosine_orthogonality_and_spectral_norm_are_those_of_the_polar_factors() {
    // Tiles far from singular: their exact polar factors are what ten steps reach.
    let matrix = gaussian(96, 160, &mut Random::new(2));
    let options = DiagnosisOptions {
        tiles: vec![
            Tile::Sized {
                rows: 16,
                columns: 40,
            },
            Tile::Full,
        ],
        ..nearly_exact(&[], &[(0, 1)])
    };
    let found = measured(&matrix, &options);
    let tile = &found.tiles[0];
    let full = svd(&matrix).polar();
    let tiled = tiled_polar(&matrix, options.tiles[0]);
    let map = &tile.maps[0];
    println!("{}", map.cosine.value - cosine(&tiled, &full));
    assert!(
        (map.cosine.value - cosine(&tiled, &full)).abs() < 1e-4,
        "{:?}",
        map.cosine
    );
    assert_eq!(map.cosine.standard_error, None);
    assert!(map.worst_orthogonality_error.unwrap() < 1e-2, "{map:?}");
    let expected = spectral_norm(&tiled.scaled(0.2 * 40f64.sqrt()));
    // From below, by sixteen Lanczos steps.
    let ratio = map.spectral_norm / expected;
    assert!((0.97..1.001).contains(&ratio), "{ratio}");
    let full = found.tiles[1].maps[0].full_spectral_norm / (0.2 * 160f64.sqrt());
    assert!((0.99..1.01).contains(&full), "{full}");
}

#[test]
fn published_cosines_of_gaussian_and_of_structured_matrices() {
    let sizes = [16, 128, 512];
    let mut random = Random::new(1);
    let noise = gaussian(1024, 1024, &mut random);
    let low = product(1024, 1024, 64, &mut random);
    let structured = low.combined(1.0, 0.1, &gaussian(1024, 1024, &mut random));
    for (matrix, expected) in [
        (noise, [0.716, 0.735, 0.795]),
        (structured, [0.27, 0.47, 0.757]),
    ] {
        // Sampled: the same figures without a decomposition, at a fraction of its time.
        let options = DiagnosisOptions {
            dense_limit: 0,
            ..nearly_exact(&sizes, &[(0, 1)])
        };
        let found = measured(&matrix, &options);
        assert!(matches!(found.method, Method::Sampled { .. }));
        for (tile, expected) in found.tiles.iter().zip(expected) {
            let cosine = tile.maps[0].cosine;
            let error = cosine.standard_error.unwrap();
            println!(
                "{}: {:.3} +- {error:.3} for {expected}",
                tile.tile, cosine.value
            );
            assert!(error < 0.03, "{error}");
            // What 48 Lanczos steps do not resolve: at most 0.02.
            let allowed = 3.0 * error + 0.02;
            assert!(
                (cosine.value - expected).abs() < allowed,
                "{}: {cosine:?}",
                tile.tile
            );
        }
    }
}

#[test]
fn sampling_agrees_with_the_whole_computation() {
    let mut random = Random::new(3);
    for (rows, columns) in [(300, 500), (500, 300)] {
        let low = product(rows, columns, 20, &mut random);
        let matrix = low.combined(1.0, 0.2, &gaussian(rows, columns, &mut random));
        let whole = DiagnosisOptions {
            tiles: vec![Tile::square(32), Tile::square(128), Tile::Full],
            ..DiagnosisOptions::default()
        };
        let sampled = DiagnosisOptions {
            dense_limit: 1,
            ..whole.clone()
        };
        let (whole, sampled) = (measured(&matrix, &whole), measured(&matrix, &sampled));
        let near = |found: f64, expected: f64, tolerance: f64| {
            assert!(
                (found / expected - 1.0).abs() < tolerance,
                "{found} for {expected}"
            );
        };
        near(
            sampled.spectrum.stable_rank,
            whole.spectrum.stable_rank,
            0.1,
        );
        // Relative errors; eight random vectors see the twenty large directions with an error of a ninth each. The
        // worst of 16 such matrices: participation ratio 0.27, nuclear rank 0.30, spectral norm of an update 0.11.
        near(
            sampled.spectrum.participation_ratio,
            whole.spectrum.participation_ratio,
            0.4,
        );
        near(
            sampled.spectrum.nuclear_rank,
            whole.spectrum.nuclear_rank,
            0.4,
        );
        let count: f64 = sampled.spectrum.weights.iter().sum();
        near(count, 300.0, 1e-9);
        for (found, expected) in sampled.tiles.iter().zip(&whole.tiles) {
            for (found, expected) in found.maps.iter().zip(&expected.maps) {
                let difference = (found.cosine.value - expected.cosine.value).abs();
                let allowed = 3.0 * found.cosine.standard_error.unwrap_or(0.0) + 0.02;
                assert!(difference < allowed, "{found:?} for {expected:?}");
                near(found.full_spectral_norm, expected.full_spectral_norm, 0.15);
            }
        }
    }
}

#[test]
fn a_power_brings_tiles_closer_to_the_whole_map() {
    let matrix = gaussian(512, 512, &mut Random::new(4));
    let found = measured(
        &matrix,
        &nearly_exact(&[128], &[(0, 1), (1, 3), (1, 2), (1, 1)]),
    );
    let cosines: Vec<f64> = found.tiles[0]
        .maps
        .iter()
        .map(|map| map.cosine.value)
        .collect();
    println!("{cosines:?}");
    for (cosine, (low, high)) in
        cosines
            .iter()
            .zip([(0.65, 0.76), (0.86, 0.93), (0.94, 0.97), (0.9999, 1.0001)])
    {
        assert!((low..=high).contains(cosine), "{cosines:?}");
    }
    assert_eq!(found.recommendation.tile, "128");
}

#[test]
fn criteria_count_the_tiles_that_they_would_leave_alone() {
    // Four 16 x 16 tiles: noise, rank 1, zero, and tiny noise.
    let noise = gaussian(32, 32, &mut Random::new(5));
    let matrix = Matrix::from_fn(32, 32, |row, column| match (row < 16, column < 16) {
        (true, true) => noise.get(row, column),
        (true, false) => (1.0 + row as f64) * (1.0 + column as f64),
        (false, true) => 0.0,
        (false, false) => 1e-9 * noise.get(row, column),
    });
    let found = measured(&matrix, &nearly_exact(&[16], &[(0, 1)]));
    let statistics = &found.tiles[0].statistics;
    assert_eq!(
        (statistics.tiles, statistics.measured, statistics.zero),
        (4, 4, 1)
    );
    let left: Vec<_> = statistics
        .criteria
        .iter()
        .map(|c| (c.measure, c.left_alone))
        .collect();
    // Below 1e-6 in norm: the zero and the tiny one. Of low rank: the zero one and that of rank 1.
    assert_eq!(left[0], ("fro_norm", 2));
    assert_eq!(left[1], ("effective_rank", 2));
    assert_eq!(left[2], ("nuclear_rank", 2));
    assert_eq!(statistics.grid.norms.len(), 4);
}

#[test]
fn extreme_sizes_and_what_cannot_be_measured() {
    let options = nearly_exact(&[8], &[(0, 1), (1, 2)]);
    for input in [Input::Huge, Input::Tiny] {
        let matrix = input.matrix(24, 40, 8, himuon::templates::Element::F32, 1);
        let found = measured(&matrix, &options);
        let map = &found.tiles[0].maps[1];
        assert!(
            map.cosine.value > 0.8 && map.cosine.value < 1.0,
            "{input:?}: {map:?}"
        );
        assert!(found.spectrum.stable_rank > 2.0);
    }
    let refused =
        |values: &[f32], rows, columns| diagnose(values, rows, columns, &options).unwrap_err();
    assert!(matches!(refused(&[], 0, 3), DiagnoseError::Empty { .. }));
    assert!(matches!(
        refused(&[1.0; 5], 2, 3),
        DiagnoseError::Length { found: 5, .. }
    ));
    assert!(matches!(
        refused(&[0.0; 6], 2, 3),
        DiagnoseError::Zero { .. }
    ));
    let share = DiagnosisOptions {
        coarse_share: 50.0,
        ..options.clone()
    };
    assert!(matches!(
        diagnose(&[1.0; 6], 2, 3, &share).unwrap_err(),
        DiagnoseError::Share {
            option: "coarse_share",
            ..
        }
    ));
    let threads = DiagnosisOptions {
        threads: 100_000,
        ..options.clone()
    };
    assert!(matches!(
        diagnose(&[1.0; 6], 2, 3, &threads).unwrap_err(),
        DiagnoseError::Threads(_)
    ));
    let mut values = [1.0; 6];
    values[4] = f32::NAN;
    assert!(matches!(
        refused(&values, 2, 3),
        DiagnoseError::NonFinite {
            count: 1,
            row: 1,
            column: 1
        }
    ));
}
