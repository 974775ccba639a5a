//! What tiling costs: the tiled against the full polar factor, both by singular value decomposition.

use himuon::Tile;
use himuon::reference::Matrix;
use himuon_tests::grid::long_tests;
use himuon_tests::inputs::{gaussian, product};
use himuon_tests::random::Random;
use himuon_tests::svd::{cosine, spectral_norm, svd, tiled_polar};

fn cosines(matrix: &Matrix, tiles: &[(u32, f64)]) -> Vec<(u32, f64, f64)> {
    let full = svd(matrix).polar();
    tiles
        .iter()
        .map(|(tile, expected)| {
            let tiled = tiled_polar(matrix, Tile::square(*tile));
            (*tile, cosine(&tiled, &full), *expected)
        })
        .collect()
}

fn seeds(what: &str) -> std::ops::RangeInclusive<u64> {
    if long_tests(&format!("seeds 2..=6 of {what}")) {
        1..=6
    } else {
        1..=1
    }
}

#[test]
fn gaussian_1024() {
    let figures = [
        (16, 0.716),
        (32, 0.721),
        (64, 0.727),
        (128, 0.735),
        (256, 0.752),
        (512, 0.795),
    ];
    for seed in seeds("the 1024 x 1024 Gaussian") {
        let matrix = gaussian(1024, 1024, &mut Random::new(seed));
        for (tile, found, expected) in cosines(&matrix, &figures) {
            println!("seed {seed}, T = {tile}: {found:.4}");
            // Worst of six seeds: 0.0014.
            assert!(
                (found - expected).abs() <= 0.004,
                "seed {seed}, T = {tile}: {found} for {expected}"
            );
        }
    }
}

#[test]
fn rank_64_and_noise_1024() {
    let figures = [(16, 0.27), (128, 0.47), (512, 0.757)];
    for seed in seeds("rank 64 and noise") {
        let mut random = Random::new(seed);
        // product() divides by sqrt(64) = 8.
        let low = product(1024, 1024, 64, &mut random);
        let matrix = low.combined(1.0, 0.1, &gaussian(1024, 1024, &mut random));
        for (tile, found, expected) in cosines(&matrix, &figures) {
            println!("seed {seed}, rank 64, T = {tile}: {found:.4}");
            // Worst of six seeds: 0.0032.
            assert!(
                (found - expected).abs() <= 0.008,
                "seed {seed}, T = {tile}: {found} for {expected}"
            );
        }
    }
}

#[test]
fn spectral_norm_after_scaling_is_at_most_the_root_of_the_tiles() {
    let (edge, tile) = (256usize, 32u32);
    let tiles_per_side = edge as f64 / f64::from(tile);
    let spread = gaussian(edge, edge, &mut Random::new(1));
    // Every tile the same: the tiles' polar factors add up.
    let repeated = Matrix::from_fn(edge, edge, |row, column| {
        spread.get(row % tile as usize, column % tile as usize)
    });
    for (matrix, at_least, at_most) in [
        (&spread, 1.0, tiles_per_side.sqrt()),
        (
            &repeated,
            0.999 * tiles_per_side.sqrt(),
            1.001 * tiles_per_side.sqrt(),
        ),
    ] {
        let tiled = tiled_polar(matrix, Tile::square(tile)).scaled(f64::from(tile).sqrt());
        let ratio = spectral_norm(&tiled) / (edge as f64).sqrt();
        assert!((at_least..=at_most).contains(&ratio), "{ratio}");
    }
}
