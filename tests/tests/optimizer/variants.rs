//! Steps against the formulas in f64, written as their sources write them.

use half::bf16;
use himuon::launch::ScaleRule;
use himuon::optimizer::{
    AdamWOptions, Layout, LearningRate, MomentumConvention, MuonOptions, NorMuon, View,
};
use himuon::reference::{Matrix, ReferenceMap, tiles};
use himuon::templates::{Element, Storage};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{KernelSpec, ParameterStep, Tile};

use crate::model::{Model, Normal};

const STEPS: u64 = 4;
/// Relative Frobenius error of the change of a weight over [`STEPS`] steps of Gaussian gradients; worst
/// measured 1.0e-5.
const TOLERANCE: f64 = 2e-5;

/// What one run is made of.
#[derive(Clone, Copy, Debug)]
struct Case {
    convention: MomentumConvention,
    nesterov: bool,
    decay: f64,
    scale: ScaleRule,
}

/// sqrt(...) of the scale rule for one tile of `h` x `w`, of whole tiles `tile`, in an H x W matrix.
fn scale(
    rule: ScaleRule,
    (h, w): (usize, usize),
    tile: usize,
    (rows, columns): (usize, usize),
) -> f64 {
    let root = |value: f64| value.sqrt();
    match rule {
        ScaleRule::Exact => 0.2 * root(h.max(w) as f64),
        ScaleRule::Paper => 0.2 * root(tile as f64),
        ScaleRule::Original => root((rows as f64 / columns as f64).max(1.0)),
        ScaleRule::MatchRmsAdamW => 0.2 * root(rows.max(columns) as f64),
        ScaleRule::None => 1.0,
    }
}

/// The four variants as arXiv 2507.01598 lists them, with the tiles of arXiv 2606.27216, in f64.
fn expected(
    case: Case,
    spec: &KernelSpec,
    weight: &[f32],
    shape: (usize, usize),
    gradients: &[Vec<f32>],
) -> Matrix {
    let map = ReferenceMap::new(spec).unwrap();
    let tile = match spec.tile {
        Tile::Sized { rows, .. } => rows as usize,
        Tile::Full => shape.0.max(shape.1),
    };
    let (mu, rate) = (0.95, 0.02);
    let mut weight = Matrix::from_f32(shape.0, shape.1, weight);
    let mut buffer = Matrix::zeros(shape.0, shape.1);
    for gradient in gradients {
        let gradient = Matrix::from_f32(shape.0, shape.1, gradient);
        let fresh = match case.convention {
            MomentumConvention::HeavyBall => 1.0,
            MomentumConvention::MovingAverage => 1.0 - mu,
        };
        buffer = buffer.combined(mu, fresh, &gradient);
        let update = if case.nesterov {
            gradient.combined(fresh, mu, &buffer)
        } else {
            buffer.clone()
        };
        weight = weight.scaled(1.0 - rate * case.decay);
        for bounds in tiles(spec.tile, shape.0, shape.1) {
            let mapped = map.tile(&update.cut(&bounds), true).values;
            let factor = scale(case.scale, mapped.shape(), tile, shape);
            let new = weight.cut(&bounds).combined(1.0, -rate * factor, &mapped);
            weight.paste(&bounds, &new);
        }
    }
    weight
}

/// ||found - expected||_F / ||expected - start||_F.
fn error(found: &[f32], expected: &Matrix, start: &[f32]) -> f64 {
    let (rows, columns) = expected.shape();
    let found = Matrix::from_f32(rows, columns, found);
    let start = Matrix::from_f32(rows, columns, start);
    found.combined(1.0, -1.0, expected).norm() / expected.combined(1.0, -1.0, &start).norm()
}

fn run(options: MuonOptions, shape: &[usize]) -> (Model, Model, Vec<Vec<f32>>) {
    let start = Model::new(&[("w", shape)]);
    let mut model = start.clone();
    let mut optimizer = model.builder().group_with("w", options).build().unwrap();
    let mut gradients = Vec::new();
    for step in 0..STEPS {
        gradients.push(model.gradients(step).remove(0));
        model.step(&mut optimizer);
    }
    (start, model, gradients)
}

fn check(case: Case, tile: Tile, shape: (usize, usize)) -> f64 {
    let spec = KernelSpec::new(tile);
    let options = MuonOptions::specs([spec.clone()])
        .convention(case.convention)
        .nesterov(case.nesterov)
        .weight_decay(case.decay)
        .scale(case.scale);
    let (start, model, gradients) = run(options, &[shape.0, shape.1]);
    let expected = expected(case, &spec, &start.weights[0], shape, &gradients);
    let error = error(&model.weights[0], &expected, &start.weights[0]);
    assert!(error < TOLERANCE, "{case:?} {tile} {shape:?}: {error:e}");
    error
}

#[test]
fn four_variants_in_both_conventions_match_the_formulas() {
    let mut worst: f64 = 0.0;
    for convention in [
        MomentumConvention::HeavyBall,
        MomentumConvention::MovingAverage,
    ] {
        for nesterov in [true, false] {
            for decay in [0.0, 0.5] {
                let case = Case {
                    convention,
                    nesterov,
                    decay,
                    scale: ScaleRule::Exact,
                };
                worst = worst.max(check(case, Tile::square(16), (40, 56)));
            }
        }
    }
    println!("worst relative error of the change: {worst:e}");
}

#[test]
fn every_scale_rule_matches_its_formula_on_ragged_tiles() {
    for scale in [
        ScaleRule::Exact,
        ScaleRule::Paper,
        ScaleRule::Original,
        ScaleRule::MatchRmsAdamW,
        ScaleRule::None,
    ] {
        let case = Case {
            convention: MomentumConvention::HeavyBall,
            nesterov: true,
            decay: 0.1,
            scale,
        };
        check(case, Tile::square(16), (40, 24));
        check(case, Tile::Full, (40, 24));
    }
}

#[test]
fn a_stack_is_a_row_of_matrices_and_a_convolution_is_one() {
    let spec = KernelSpec::new(Tile::square(16));
    let stack = MuonOptions::specs([spec.clone()]).view(View::Stack);
    let (start, model, gradients) = run(stack, &[3, 20, 30]);
    for place in 0..3 {
        let part = |values: &[f32]| values[place * 600..(place + 1) * 600].to_vec();
        let gradients: Vec<_> = gradients.iter().map(|gradient| part(gradient)).collect();
        let expected = expected(
            defaults(),
            &spec,
            &part(&start.weights[0]),
            (20, 30),
            &gradients,
        );
        let error = error(
            &part(&model.weights[0]),
            &expected,
            &part(&start.weights[0]),
        );
        assert!(error < TOLERANCE, "matrix {place}: {error:e}");
    }
    let (start, model, gradients) = run(MuonOptions::specs([spec.clone()]), &[8, 3, 5, 5]);
    let expected = expected(defaults(), &spec, &start.weights[0], (8, 75), &gradients);
    let error = error(&model.weights[0], &expected, &start.weights[0]);
    assert!(error < TOLERANCE, "convolution: {error:e}");
}

fn defaults() -> Case {
    Case {
        convention: MomentumConvention::HeavyBall,
        nesterov: true,
        decay: 0.1,
        scale: ScaleRule::Exact,
    }
}

/// A weight stored as [in, out] must change as its transpose stored as [out, in] does.
#[test]
fn the_two_layouts_are_transposes_of_each_other() {
    let (rows, columns) = (40, 24);
    let transposed = |values: &[f32]| Matrix::from_f32(rows, columns, values).transpose().to_f32();
    for (rule, power) in [
        (ScaleRule::Exact, "0"),
        (ScaleRule::Original, "0"),
        (ScaleRule::Original, "1/2"),
    ] {
        let spec: KernelSpec = format!("tile=8x24 power={power}").parse().unwrap();
        let options = || MuonOptions::specs([spec.clone()]).scale(rule);
        let mut out_in = Model::new(&[("w", &[rows, columns])]);
        let mut in_out = Model::new(&[("w", &[columns, rows])]);
        in_out.weights[0] = transposed(&out_in.weights[0]);
        let start = in_out.weights[0].clone();
        let mut first = out_in.builder().group_with("w", options()).build().unwrap();
        let turned = options().layout(Layout::InOut);
        let mut second = in_out.builder().group_with("w", turned).build().unwrap();
        for step in 0..STEPS {
            let gradients = out_in.gradients(step);
            let turned = vec![transposed(&gradients[0])];
            out_in.step_with(&mut first, &gradients).unwrap();
            in_out.step_with(&mut second, &turned).unwrap();
        }
        let expected = Matrix::from_f32(rows, columns, &out_in.weights[0]).transpose();
        let error = error(&in_out.weights[0], &expected, &start);
        assert!(error < TOLERANCE, "{rule:?} {power}: {error:e}");
    }
}

/// AdamW as Loshchilov and Hutter write it, in f64.
#[test]
fn adamw_matches_its_formula_and_counts_only_its_own_updates() {
    let (rate, (b1, b2), eps, decay) = (3e-3, (0.9, 0.99), 1e-8, 0.3);
    let options = AdamWOptions::default()
        .learning_rate(LearningRate::Own(rate))
        .betas(b1, b2)
        .epsilon(eps)
        .weight_decay(decay);
    let mut model = Model::new(&[("w", &[7, 9]), ("bias", &[9])]);
    let start = model.clone();
    let mut optimizer = model.builder().group_with("*", options).build().unwrap();
    let mut normal = Normal::new(3);
    let lens = [63, 9];
    let mut moments = lens.map(|len| (vec![0.0f64; len], vec![0.0f64; len]));
    let mut expected: Vec<Vec<f64>> = start
        .weights
        .iter()
        .map(|w| w.iter().map(|x| f64::from(*x)).collect())
        .collect();
    let mut updates = [0, 0];
    for step in 0..5 {
        let gradients = lens.map(|len| normal.vector(len));
        let mut parameters = model.with(&gradients);
        if step == 2 {
            parameters[1].gradient = None;
        }
        optimizer.step(&mut parameters).unwrap();
        for index in 0..2 {
            if step == 2 && index == 1 {
                continue;
            }
            updates[index] += 1;
            let wd = if index == 1 { 0.0 } else { decay };
            for (i, g) in gradients[index].iter().map(|g| f64::from(*g)).enumerate() {
                let (m, v) = (&mut moments[index].0[i], &mut moments[index].1[i]);
                *m = b1 * *m + (1.0 - b1) * g;
                *v = b2 * *v + (1.0 - b2) * g * g;
                let corrected = (
                    *m / (1.0 - b1.powi(updates[index])),
                    *v / (1.0 - b2.powi(updates[index])),
                );
                let w = &mut expected[index][i];
                *w = *w * (1.0 - rate * wd) - rate * corrected.0 / (corrected.1.sqrt() + eps);
            }
        }
    }
    for (found, expected) in model
        .weights
        .iter()
        .flatten()
        .zip(expected.iter().flatten())
    {
        // Five f32 roundings of a weight of order 1, and of an update of order 3e-3.
        assert!(
            (f64::from(*found) - expected).abs() < 2e-6,
            "{found} {expected}"
        );
    }
}

/// NorMuon's second moment must be carried from step to step: the reference carries it in f64.
#[test]
fn row_normalisation_carries_its_moment() {
    let spec = KernelSpec::new(Tile::square(16));
    let settings = NorMuon {
        beta2: 0.9,
        epsilon: 1e-8,
    };
    let options = MuonOptions::specs([spec.clone()])
        .row_normalisation(settings)
        .weight_decay(0.0);
    let shape = (24, 40);
    let (start, model, gradients) = run(options, &[shape.0, shape.1]);
    let map = ReferenceMap::new(&spec).unwrap();
    let mut weight = Matrix::from_f32(shape.0, shape.1, &start.weights[0]);
    let mut buffer = Matrix::zeros(shape.0, shape.1);
    let mut moments = vec![0.0; shape.0];
    for gradient in &gradients {
        let gradient = Matrix::from_f32(shape.0, shape.1, gradient);
        buffer = buffer.combined(0.95, 1.0, &gradient);
        let mapped = map.matrix(&gradient.combined(1.0, 0.95, &buffer)).values;
        let mut normalised = Matrix::zeros(shape.0, shape.1);
        for (row, moment) in moments.iter_mut().enumerate() {
            let mean = mapped.row(row).iter().map(|o| o * o).sum::<f64>() / shape.1 as f64;
            *moment = 0.9 * *moment + (1.0 - f64::from(0.9f32)) * mean;
            for column in 0..shape.1 {
                let value = mapped.get(row, column) / (moment.sqrt() + 1e-8);
                normalised.set(row, column, value);
            }
        }
        let rms = normalised.norm() / ((shape.0 * shape.1) as f64).sqrt();
        weight = weight.combined(1.0, -0.02 * 0.2 / rms, &normalised);
    }
    let error = error(&model.weights[0], &weight, &start.weights[0]);
    assert!(error < TOLERANCE, "{error:e}");
}

/// Weights and gradients in bf16, momentum in bf16: the same step as in f32, up to the rounding of the weight.
#[test]
fn sixteen_bit_storage_steps_like_f32_up_to_its_own_rounding() {
    let mut spec = KernelSpec::new(Tile::square(16));
    spec.storage = Storage {
        weight: Element::Bf16,
        momentum: Element::Bf16,
        ..Storage::F32
    };
    let round =
        |values: &[f32]| -> Vec<bf16> { values.iter().map(|v| bf16::from_f32(*v)).collect() };
    let widen = |values: &[bf16]| -> Vec<f32> { values.iter().map(|v| v.to_f32()).collect() };
    let model = Model::new(&[("w", &[24, 40])]);
    let mut weight = round(&model.weights[0]);
    let gradient = round(&model.gradients(0)[0]);
    let half = MuonOptions::specs([spec]);
    let mut optimizer = model.builder().group_with("w", half).build().unwrap();
    let mut wide = model.clone();
    wide.weights[0] = widen(&weight);
    let options = MuonOptions::specs([KernelSpec::new(Tile::square(16))]);
    let mut other = model.builder().group_with("w", options).build().unwrap();
    let before = weight.clone();
    optimizer
        .step(&mut [ParameterStep {
            weight: TensorMut::Bf16(&mut weight),
            gradient: Some(TensorRef::Bf16(&gradient)),
        }])
        .unwrap();
    wide.step_with(&mut other, &[widen(&gradient)]).unwrap();
    assert_ne!(weight, before);
    for (found, expected) in weight.iter().zip(&wide.weights[0]) {
        // Half a unit in the last of bf16's eight bits, and the first momentum is the gradient itself.
        let bound = expected.abs() * 2f32.powi(-8) + 1e-6;
        assert!(
            (found.to_f32() - expected).abs() <= bound,
            "{found} {expected}"
        );
    }
}
