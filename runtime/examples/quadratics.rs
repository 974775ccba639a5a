//! When Muon beats gradient descent, on the quadratics of arXiv 2505.23737.
//!
//! f = 1/2 tr((W - W*)^T Q (W - W*)), W 64 x 32, W0 = 0, W* standard normal, Q diagonal. Muon with the best step
//! along the polar factor of the gradient, gradient descent with 1/L, 400 steps, six seeds; and at every one of
//! Muon's steps whether ||G||_*^2/||G||_F^2 > J/L, from gradients alone, says which of the two best steps gains more.
//!
//! `cargo run --release -p himuon --example quadratics`

use std::convert::Infallible;

use himuon::diagnose::{Curvature, polar_factor};
use himuon::reference::Matrix;

const SHAPE: (usize, usize) = (64, 32);
const STEPS: usize = 400;
/// Steps along which the prediction is checked.
const CHECKED: usize = 50;
const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;

struct Quadratic {
    target: Matrix,
    eigenvalues: Vec<f64>,
}

impl Quadratic {
    fn new(eigenvalues: &[f64], seed: u64) -> Self {
        let mut normal = Normal(seed);
        Quadratic {
            target: Matrix::from_fn(SHAPE.0, SHAPE.1, |_, _| normal.sample()),
            eigenvalues: eigenvalues.to_vec(),
        }
    }

    fn hessian(&self, matrix: &Matrix) -> Matrix {
        Matrix::from_fn(SHAPE.0, SHAPE.1, |row, column| {
            self.eigenvalues[row] * matrix.get(row, column)
        })
    }

    fn gradient(&self, weight: &Matrix) -> Matrix {
        self.hessian(&weight.combined(1.0, -1.0, &self.target))
    }

    fn value(&self, weight: &Matrix) -> f64 {
        let error = weight.combined(1.0, -1.0, &self.target);
        0.5 * error.inner_product(&self.hessian(&error))
    }

    /// W - t D with the best t.
    fn searched(&self, weight: &Matrix, direction: &Matrix) -> Matrix {
        let slope = self.gradient(weight).inner_product(direction);
        let curvature = direction.inner_product(&self.hessian(direction));
        weight.combined(1.0, -slope / curvature, direction)
    }
}

/// f/f0 after each method's steps, and how often the test was right and Muon's step the better one.
#[derive(Default)]
struct Outcome {
    descent: Vec<f64>,
    muon: Vec<f64>,
    checked: usize,
    right: usize,
    muon_better: usize,
}

fn run(problem: &Quadratic, outcome: &mut Outcome) {
    let start = Matrix::zeros(SHAPE.0, SHAPE.1);
    let first = problem.value(&start);
    let smoothness = problem.eigenvalues.iter().copied().fold(0.0, f64::max);
    let mut weight = start.clone();
    for _ in 0..STEPS {
        weight = weight.combined(1.0, -1.0 / smoothness, &problem.gradient(&weight));
    }
    outcome.descent.push(problem.value(&weight) / first);

    let mut weight = start;
    for step in 0..STEPS {
        let gradient = problem.gradient(&weight);
        let Some((polar, _)) = polar_factor(&gradient) else {
            break;
        };
        let next = problem.searched(&weight, &polar);
        if step < CHECKED {
            let here = |weight: &Matrix| Ok::<_, Infallible>(problem.gradient(weight));
            let Ok(curvature) = Curvature::at(&weight, 1e-5, here);
            let descent = problem.value(&problem.searched(&weight, &gradient));
            let muon_better = problem.value(&next) < descent;
            outcome.checked += 1;
            outcome.muon_better += usize::from(muon_better);
            outcome.right +=
                usize::from(curvature.is_some_and(|c| c.favours_muon() == muon_better));
        }
        weight = next;
    }
    outcome.muon.push(problem.value(&weight) / first);
}

fn main() {
    let spectra: [(&str, Vec<f64>); 3] = [
        (
            "power law k^-2",
            (1..=64).map(|k| f64::from(k).powi(-2)).collect(),
        ),
        (
            "five of 1, 59 of 1e-4",
            (0..64).map(|k| if k < 5 { 1.0 } else { 1e-4 }).collect(),
        ),
        ("flat", vec![1.0; 64]),
    ];
    println!(
        "f/f0 after {STEPS} steps, least and greatest of {} seeds",
        SEEDS.count()
    );
    println!(
        "{:22} {:>22} {:>22}  better step, first {CHECKED} steps",
        "eigenvalues of Q", "gradient descent, 1/L", "Muon, best step"
    );
    for (name, eigenvalues) in spectra {
        let mut outcome = Outcome::default();
        for seed in SEEDS {
            run(&Quadratic::new(&eigenvalues, seed), &mut outcome);
        }
        println!(
            "{name:22} {:>22} {:>22}  Muon {} of {}, predicted rightly {}",
            range(&outcome.descent),
            range(&outcome.muon),
            outcome.muon_better,
            outcome.checked,
            outcome.right
        );
    }
}

fn range(values: &[f64]) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    format!("{low:.1e} to {high:.1e}")
}

/// Standard normal numbers: SplitMix64 (Steele, Lea, Flood, 2014), Box-Muller.
struct Normal(u64);

impl Normal {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    fn sample(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
