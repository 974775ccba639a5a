//! When Muon beats gradient descent: quadratics, W 64 x 32, W0 = 0, 400 steps, six seeds.

use himuon::diagnose::Curvature;
use himuon::reference::{Matrix, ReferenceMap};
use himuon::templates::CoefficientSet;
use himuon_tests::quadratic::Quadratic;
use himuon_tests::specs::newton_schulz;
use himuon_tests::svd::svd;

const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;
const STEPS: usize = 400;

fn power_law() -> Vec<f64> {
    (1..=64).map(|k| f64::from(k).powi(-2)).collect()
}

fn rank_5() -> Vec<f64> {
    (0..64).map(|k| if k < 5 { 1.0 } else { 1e-4 }).collect()
}

fn flat() -> Vec<f64> {
    vec![1.0; 64]
}

/// f/f0 after gradient descent with step 1/L.
fn descent(problem: &Quadratic) -> f64 {
    let mut weight = problem.start();
    for _ in 0..STEPS {
        let gradient = problem.gradient(&weight);
        weight = weight.combined(1.0, -1.0 / problem.smoothness(), &gradient);
    }
    problem.value(&weight) / problem.value(&problem.start())
}

/// f/f0 after steps with exact line search along `direction(G)`.
fn searched(problem: &Quadratic, direction: impl Fn(&Matrix) -> Matrix) -> f64 {
    let mut weight = problem.start();
    for _ in 0..STEPS {
        let gradient = problem.gradient(&weight);
        weight = problem.line_search(&weight, &direction(&gradient));
    }
    problem.value(&weight) / problem.value(&problem.start())
}

fn ranges(eigenvalues: fn() -> Vec<f64>) -> [(f64, f64); 2] {
    let mut found = [(f64::INFINITY, 0.0f64); 2];
    for seed in SEEDS {
        let problem = Quadratic::new(eigenvalues(), 32, seed);
        let muon = searched(&problem, |gradient| svd(gradient).polar());
        for (range, value) in found.iter_mut().zip([descent(&problem), muon]) {
            *range = (range.0.min(value), range.1.max(value));
        }
    }
    println!("descent {:?}, Muon {:?}", found[0], found[1]);
    found
}

#[test]
fn power_law_spectrum() {
    let [descent, muon] = ranges(power_law);
    assert!(descent.0 > 5e-3 && descent.1 < 1.5e-2, "{descent:?}");
    assert!(muon.0 > 1e-4 && muon.1 < 4e-4, "{muon:?}");
}

#[test]
fn five_large_eigenvalues() {
    let [descent, muon] = ranges(rank_5);
    assert!(descent.0 > 8e-4 && descent.1 < 1.5e-3, "{descent:?}");
    assert!(muon.0 > 1e-4 && muon.1 < 4e-4, "{muon:?}");
}

#[test]
fn a_flat_spectrum_is_solved_by_one_gradient_step_and_the_test_says_so() {
    for seed in SEEDS {
        let problem = Quadratic::new(flat(), 32, seed);
        let start = problem.start();
        let after = problem.line_search(&start, &problem.gradient(&start));
        assert!(problem.value(&after) < 1e-25 * problem.value(&start));
        assert!(!problem.compare(&start).predicted_muon);
    }
}

#[test]
fn the_criterion_predicts_the_better_step_along_the_way() {
    let mut wins = [0usize; 2];
    for eigenvalues in [power_law, rank_5, flat] {
        for seed in SEEDS {
            let problem = Quadratic::new(eigenvalues(), 32, seed);
            let mut weight = problem.start();
            for step in 0..50 {
                let decrease = problem.compare(&weight);
                let muon_better = decrease.muon > decrease.descent;
                assert_eq!(
                    muon_better, decrease.predicted_muon,
                    "seed {seed}, step {step}: {decrease:?}"
                );
                wins[usize::from(muon_better)] += 1;
                let polar = svd(&problem.gradient(&weight)).polar();
                weight = problem.line_search(&weight, &polar);
            }
        }
    }
    assert!(
        wins.iter().all(|count| *count > 0),
        "descent, Muon: {wins:?}"
    );
}

#[test]
fn gradients_alone_tell_the_same_as_the_hessian() {
    for eigenvalues in [power_law, rank_5, flat] {
        let problem = Quadratic::new(eigenvalues(), 32, 1);
        let mut weight = problem.start();
        for step in 0..10 {
            let gradient =
                |weight: &Matrix| Ok::<_, std::convert::Infallible>(problem.gradient(weight));
            let Ok(found) = Curvature::at(&weight, 1e-5, gradient);
            let found = found.unwrap();
            let own = problem.gradient(&weight);
            let polar = svd(&own).polar();
            let expected = (
                polar.inner_product(&problem.hessian(&polar)),
                own.inner_product(&problem.hessian(&own)) / own.norm_squared(),
            );
            // Central differences of a quadratic are exact up to rounding, 1e-16 over a step of 1e-5.
            assert!(
                (found.along_polar / expected.0 - 1.0).abs() < 1e-5,
                "{step}: {found:?}"
            );
            assert!(
                (found.along_gradient / expected.1 - 1.0).abs() < 1e-5,
                "{step}: {found:?}"
            );
            assert_eq!(
                found.favours_muon(),
                problem.compare(&weight).predicted_muon
            );
            weight = problem.line_search(&weight, &polar);
        }
    }
}

#[test]
fn five_newton_schulz_steps_do_as_well_as_the_polar_factor() {
    let map = ReferenceMap::new(&newton_schulz(CoefficientSet::PolarExpress, 5)).unwrap();
    for seed in SEEDS {
        let problem = Quadratic::new(power_law(), 32, seed);
        let mapped = searched(&problem, |gradient| map.polynomial(gradient));
        println!("{mapped:.2e}");
        assert!(mapped < 4e-4, "seed {seed}: {mapped}");
    }
}
