//! How near the coefficient sets come to the polar factor: published figures on 128 x 128 tiles.
#![allow(
    clippy::unwrap_used,
    reason = "a specification of the test is legal, or the test fails"
)]

use himuon::reference::{Matrix, ReferenceMap};
use himuon::templates::{CoefficientSet, KernelSpec, StepTable};
use himuon_tests::inputs::{gaussian, product};
use himuon_tests::random::Random;
use himuon_tests::specs::{custom, minimax, newton_schulz};
use himuon_tests::svd::{cosine, relative_error, svd};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

/// Cosine and relative error to the polar factor, mean over the seeds.
fn quality(spec: &KernelSpec, matrix: impl Fn(&mut Random) -> Matrix) -> (f64, f64) {
    let map = ReferenceMap::new(spec).unwrap();
    let count = SEEDS.count() as f64;
    let (mut cosines, mut errors) = (0.0, 0.0);
    for seed in SEEDS {
        let matrix = matrix(&mut Random::new(seed));
        let (mapped, polar) = (map.polynomial(&matrix), svd(&matrix).polar());
        cosines += cosine(&mapped, &polar) / count;
        errors += relative_error(&mapped, &polar) / count;
    }
    (cosines, errors)
}

fn full_rank(random: &mut Random) -> Matrix {
    gaussian(128, 128, random)
}

fn rank_16_and_noise(random: &mut Random) -> Matrix {
    let low = product(128, 128, 16, random);
    low.combined(1.0, 0.1, &gaussian(128, 128, random))
}

#[test]
fn published_sets() {
    use CoefficientSet::{Muon, PolarExpress, Turbo, You};
    let full: fn(&mut Random) -> Matrix = full_rank;
    let low: fn(&mut Random) -> Matrix = rank_16_and_noise;
    // Published cosine and relative error. Off by at most 0.003 and 0.018 here: other seeds.
    let figures = [
        (Muon, 5, full, 0.981, 0.216),
        (You, 5, full, 0.996, 0.092),
        (PolarExpress, 5, full, 0.995, 0.10),
        (Turbo, 4, full, 0.996, 0.085),
        (Muon, 5, low, 0.959, 0.29),
        (PolarExpress, 5, low, 0.981, 0.195),
        (Turbo, 4, low, 0.958, 0.29),
    ];
    for (set, steps, input, cosine, error) in figures {
        let found = quality(&newton_schulz(set.clone(), steps), input);
        assert!((found.0 - cosine).abs() <= 0.006, "{set:?}: {found:?}");
        assert!((found.1 - error).abs() <= 0.03, "{set:?}: {found:?}");
    }
}

#[test]
fn a_list_must_not_be_cut_below_what_it_was_built_for() {
    let five = newton_schulz(CoefficientSet::PolarExpress, 5);
    let Ok(StepTable::Odd(list)) = five.step_table() else {
        panic!("polar-express is a list of odd polynomials");
    };
    let cut = quality(&custom(&list[..4]), full_rank).0;
    let whole = quality(&five, full_rank).0;
    // Four steps do not reach down to 1e-3 (the list for it comes to 0.924 as well), but to 1e-2 they do.
    let built = quality(&minimax(1e-2, 4), full_rank).0;
    assert!((0.90..0.96).contains(&cut), "first four of five: {cut}");
    assert!(whole > 0.99, "all five: {whole}");
    assert!(
        built > cut + 0.03,
        "a list built for four: {built}, four of five: {cut}"
    );
}
