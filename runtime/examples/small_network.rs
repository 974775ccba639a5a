//! J and L of arXiv 2505.23737 in a small network while HiMuon trains it: for which layer, and when, Muon's step
//! gains more than gradient descent's.
//!
//! A network of 24 inputs, 48 tanh units and 12 outputs learns another of its kind from 512 examples. Every tenth step
//! prints, for each of the two weight matrices, J, L, the nuclear rank of the gradient, what the quadratic
//! model expects of Muon's best step over gradient descent's, and what the best steps gain in truth.
//!
//! `cargo run --release -p himuon --example small_network`

use std::convert::Infallible;
use std::error::Error;

use himuon::diagnose::{Curvature, polar_factor};
use himuon::optimizer::MuonOptions;
use himuon::reference::Matrix;
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{HiMuon, KernelSpec, ParameterStep, Tile};

const INPUTS: usize = 24;
const HIDDEN: usize = 48;
const OUTPUTS: usize = 12;
const EXAMPLES: usize = 512;
const STEPS: usize = 61;

/// outputs = second tanh(first inputs); the loss is half the mean squared error.
struct Problem {
    inputs: Matrix,
    targets: Matrix,
}

impl Problem {
    fn new(normal: &mut Normal) -> Self {
        let inputs = normal.matrix(INPUTS, EXAMPLES, 1.0);
        let teacher = weights(normal);
        let (_, targets) = forward(&teacher, &inputs);
        Problem { inputs, targets }
    }

    fn loss(&self, weights: &[Matrix; 2]) -> f64 {
        let (_, outputs) = forward(weights, &self.inputs);
        0.5 * outputs.combined(1.0, -1.0, &self.targets).norm_squared() / EXAMPLES as f64
    }

    fn gradients(&self, weights: &[Matrix; 2]) -> [Matrix; 2] {
        let (hidden, outputs) = forward(weights, &self.inputs);
        let scale = 1.0 / EXAMPLES as f64;
        let error = outputs.combined(scale, -scale, &self.targets);
        let back = weights[1].transpose().product(&error);
        let before = Matrix::from_fn(HIDDEN, EXAMPLES, |row, column| {
            back.get(row, column) * (1.0 - hidden.get(row, column).powi(2))
        });
        [
            before.product(&self.inputs.transpose()),
            error.product(&hidden.transpose()),
        ]
    }

    /// The gain of the best step along minus `direction` in one layer, by golden section.
    fn best_gain(&self, weights: &[Matrix; 2], layer: usize, direction: &Matrix) -> f64 {
        let start = self.loss(weights);
        let at = |step: f64| {
            let mut moved = weights.clone();
            moved[layer] = moved[layer].combined(1.0, -step, direction);
            self.loss(&moved)
        };
        let mut end = 1e-3 / direction.norm();
        while at(2.0 * end) < at(end) {
            end *= 2.0;
        }
        let (mut left, mut right) = (0.0, 2.0 * end);
        let golden = (5f64.sqrt() - 1.0) / 2.0;
        for _ in 0..40 {
            let (a, b) = (
                right - golden * (right - left),
                left + golden * (right - left),
            );
            if at(a) < at(b) {
                right = b;
            } else {
                left = a;
            }
        }
        start - at(f64::midpoint(left, right))
    }
}

fn weights(normal: &mut Normal) -> [Matrix; 2] {
    [
        normal.matrix(HIDDEN, INPUTS, (INPUTS as f64).powf(-0.5)),
        normal.matrix(OUTPUTS, HIDDEN, (HIDDEN as f64).powf(-0.5)),
    ]
}

fn forward(weights: &[Matrix; 2], inputs: &Matrix) -> (Matrix, Matrix) {
    let hidden = weights[0].product(inputs).map(f64::tanh);
    let outputs = weights[1].product(&hidden);
    (hidden, outputs)
}

fn print(problem: &Problem, weights: &[Matrix; 2], step: usize) {
    let loss = problem.loss(weights);
    for layer in 0..2 {
        let gradient = |weight: &Matrix| {
            let mut moved = weights.clone();
            moved[layer] = weight.clone();
            Ok::<_, Infallible>(problem.gradients(&moved)[layer].clone())
        };
        let Ok(found) = Curvature::at(&weights[layer], 1e-5, gradient);
        let own = &problem.gradients(weights)[layer];
        if let (Some(curvature), Some((polar, _))) = (found, polar_factor(own)) {
            let muon = problem.best_gain(weights, layer, &polar);
            let descent = problem.best_gain(weights, layer, own);
            println!(
                "{step:4}  {loss:.2e}  {:5}  {:9.2e}  {:9.2e}  {:12.2}  {:8.2}  {:8.2}",
                layer + 1,
                curvature.along_polar,
                curvature.along_gradient,
                curvature.nuclear_rank,
                curvature.muon_advantage(),
                muon / descent
            );
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut normal = Normal(1);
    let problem = Problem::new(&mut normal);
    let mut weights = weights(&mut normal);
    let options = MuonOptions::specs([KernelSpec::new(Tile::square(12))]).weight_decay(0.0);
    let mut optimizer = HiMuon::builder()
        .parameter("first", &[HIDDEN, INPUTS])
        .parameter("second", &[OUTPUTS, HIDDEN])
        .group_with("*", options)
        .learning_rate(0.05)
        .threads(1)
        .build()?;
    println!(
        "Muon over descent: gain of the best step along the polar factor, over that along the gradient"
    );
    println!("step  loss      layer  J          L          nuclear rank  expected  in truth");
    for step in 0..STEPS {
        if step % 10 == 0 {
            print(&problem, &weights, step);
        }
        let gradients = problem
            .gradients(&weights)
            .map(|gradient| gradient.to_f32());
        let mut rounded = weights.each_ref().map(Matrix::to_f32);
        let mut parameters: Vec<ParameterStep<'_>> = rounded
            .iter_mut()
            .zip(&gradients)
            .map(|(weight, gradient)| ParameterStep {
                weight: TensorMut::F32(weight),
                gradient: Some(TensorRef::F32(gradient)),
            })
            .collect();
        optimizer.set_learning_rate(0.05 * (1.0 - step as f64 / STEPS as f64));
        optimizer.step(&mut parameters)?;
        weights = [
            Matrix::from_f32(HIDDEN, INPUTS, &rounded[0]),
            Matrix::from_f32(OUTPUTS, HIDDEN, &rounded[1]),
        ];
    }
    Ok(())
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

    fn matrix(&mut self, rows: usize, columns: usize, deviation: f64) -> Matrix {
        Matrix::from_fn(rows, columns, |_, _| {
            let radius = (-2.0 * self.uniform().ln()).sqrt();
            deviation * radius * (std::f64::consts::TAU * self.uniform()).cos()
        })
    }
}
