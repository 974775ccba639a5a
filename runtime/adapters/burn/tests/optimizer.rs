//! The adapter against the optimizer behind it: bits, names, layout, resuming.

#![allow(clippy::unwrap_used)]

mod common;

use burn_core as burn;
use burn_core::module::Module;
use burn_core::tensor::{Device, GradientCheckpointingStrategy, Tensor};
use burn_nn::{Linear, LinearConfig};
use burn_optim::GradientsParams;
use common::{Line, NAMES, bits, declare, fixed, lines, model, model_on, optimizer};
use himuon::launch::ScaleRule;
use himuon::optimizer::{Layout, MuonOptions};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{KernelSpec, ParameterStep, Tile};
use himuon_burn::{HiMuon, HiMuonConfig};

fn parameters<'a>(weights: &'a mut [Vec<f32>], lines: &'a [Line]) -> Vec<ParameterStep<'a>> {
    let pairs = weights.iter_mut().zip(lines);
    pairs
        .map(|(weight, line)| ParameterStep {
            weight: TensorMut::F32(weight),
            gradient: line.gradient.as_deref().map(TensorRef::F32),
        })
        .collect()
}

#[test]
fn steps_are_those_of_the_optimizer_behind() {
    let mut model = model();
    let mut adapter = optimizer(&model);
    let declared = lines(&model, &GradientsParams::new());
    let mut direct = declare(himuon::HiMuon::builder().layout(Layout::InOut))
        .parameters(declared.iter().map(|line| (&line.name, &line.shape)))
        .build()
        .unwrap();
    let mut weights: Vec<_> = declared.into_iter().map(|line| line.weight).collect();
    for step in 0..3 {
        let rate = 0.02 / (step + 1) as f64;
        let gradients = model.gradients();
        let lines = lines(&model, &gradients);
        model = adapter.step(rate, &model, gradients).unwrap();
        direct.set_learning_rate(rate);
        let report = direct.step(&mut parameters(&mut weights, &lines)).unwrap();
        assert!(report.missing_gradients.is_empty(), "{report:?}");
        assert_eq!(adapter.last_report(), Some(&report));
        for ((line, found), expected) in lines.iter().zip(bits(&model)).zip(&weights) {
            let expected: Vec<u32> = expected.iter().map(|value| value.to_bits()).collect();
            assert_eq!(found, expected, "{} after step {step}", line.name);
        }
    }
}

#[test]
fn training_lowers_the_loss() {
    let mut model = model();
    let mut adapter = optimizer(&model);
    let loss = |model: &common::Model| model.loss().into_scalar::<f32>();
    let first = loss(&model);
    for _ in 0..60 {
        let gradients = model.gradients();
        model = adapter.step(0.02, &model, gradients).unwrap();
    }
    let last = loss(&model);
    println!("loss: {first} at first, {last} after 60 steps");
    // Measured: 0.0066 of 0.49.
    assert!(last < 0.1 * first, "{first} {last}");
}

#[test]
fn parameters_have_the_names_of_their_paths() {
    let adapter = optimizer(&model());
    let names: Vec<&str> = adapter.inner().parameter_names().collect();
    assert_eq!(names, NAMES);
}

#[test]
fn embeddings_norms_and_biases_go_to_adamw() {
    let explanation = optimizer(&model()).inner().explain().unwrap();
    for line in &explanation.parameters {
        let linear = line.name.contains(".up.w") || line.name.contains(".down.w");
        assert_eq!(line.tiles, if linear { 15 } else { 0 }, "{line:?}");
        assert_eq!(line.spec == "adamw", !linear, "{line:?}");
    }
    // Also where the pattern of a group of tiles matches them.
    let everything = HiMuonConfig::new().with(|b| b.group::<common::Mlp>("*"));
    let explanation = everything
        .init(&model())
        .unwrap()
        .inner()
        .explain()
        .unwrap();
    let embedding = &explanation.parameters[0];
    assert_eq!(embedding.tiles, 0, "{embedding:?}");
    assert!(embedding.reason.contains("embedding"), "{embedding:?}");
}

#[derive(Module, Debug)]
struct Projection {
    layer: Linear,
}

/// Rows and columns exchanged.
fn transposed(values: &[f32], rows: usize) -> Vec<f32> {
    let columns = values.len() / rows;
    (0..values.len())
        .map(|i| values[(i % rows) * columns + i / rows])
        .collect()
}

/// A weight of inputs x outputs under tiles of outputs x inputs and a scale that tells them apart, against its transpose in a
/// layout of outputs x inputs: greatest difference over the greatest number.
fn difference_from_the_transposed(adapter: HiMuonConfig) -> f32 {
    let (inputs, outputs) = (40, 24);
    let layer = LinearConfig::new(inputs, outputs).with_bias(false);
    let model = fixed(Projection {
        layer: layer.init(&common::device()),
    });
    let options = || MuonOptions::specs([tile_of(16, 8)]).scale(ScaleRule::Original);
    let mut adapter = adapter
        .with(|builder| builder.group_with("layer.*", options()))
        .init(&model)
        .unwrap();
    let mut direct = himuon::HiMuon::builder()
        .parameter("layer.weight", &[outputs, inputs])
        .group_with("layer.*", options())
        .build()
        .unwrap();
    let input = Tensor::<2>::from_data(
        burn_core::tensor::TensorData::new(common::values(3, 11 * inputs), [11, inputs]),
        &common::device(),
    );
    let loss = model.layer.forward(input).square().mean();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let mut before = lines(&model, &gradients);
    assert_eq!(before[0].shape, [inputs, outputs]);
    let model = adapter.step(0.02, &model, gradients).unwrap();
    let line = &mut before[0];
    line.gradient = line.gradient.as_ref().map(|g| transposed(g, inputs));
    let mut weights = [transposed(&line.weight, inputs)];
    direct.step(&mut parameters(&mut weights, &before)).unwrap();
    let found = &lines(&model, &GradientsParams::new())[0].weight;
    let expected = transposed(&weights[0], outputs);
    let pairs = found.iter().zip(&expected);
    let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    difference / expected.iter().fold(0.0, |most, x| x.abs().max(most))
}

fn tile_of(rows: u32, columns: u32) -> KernelSpec {
    KernelSpec::new(Tile::Sized { rows, columns })
}

#[test]
fn weights_are_taken_as_inputs_by_outputs() {
    let difference = difference_from_the_transposed(HiMuonConfig::new());
    println!("greatest difference: {difference:e} of the greatest weight");
    // Measured: 1.2e-7 in the greatest norm, of numbers in -0.5..0.5.
    assert!(difference < 3.6e-7, "{difference:e}");
    let mistaken = HiMuonConfig::new().with(|builder| builder.layout(Layout::OutIn));
    let difference = difference_from_the_transposed(mistaken);
    assert!(difference > 1e-2, "{difference:e}");
}

/// A model and its optimizer, saved after some steps and loaded into fresh ones, go on with the same bits.
#[test]
fn a_resumed_run_has_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optimizer.safetensors");
    let step = |adapter: &mut HiMuon, model: &common::Model| {
        let gradients = model.gradients();
        adapter.step(0.01, model, gradients).unwrap()
    };
    let mut model = model();
    let mut adapter = optimizer(&model);
    for _ in 0..2 {
        model = step(&mut adapter, &model);
    }
    adapter.inner().save_state(&path).unwrap();
    let record = model.clone().into_record().into_bytes().unwrap();

    // Other identifiers of the parameters, and other numbers until they are loaded.
    let record = burn_core::store::ModuleRecord::from_bytes(record).unwrap();
    let mut resumed = common::random_model_on(&common::device()).load_record(record);
    let mut fresh = optimizer(&resumed);
    let report = fresh.inner_mut().load_state(&path).unwrap();
    assert_eq!((report.step, report.differences.len()), (2, 0));
    for _ in 0..3 {
        model = step(&mut adapter, &model);
        resumed = step(&mut fresh, &resumed);
        assert_eq!(bits(&model), bits(&resumed));
    }
    let other = path.with_file_name("other.safetensors");
    fresh.inner().save_state(&other).unwrap();
    adapter.inner().save_state(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(other).unwrap());
}

/// The new weights have the old ones' way of recomputing activations: operands of two ways are refused by burn.
#[test]
fn weights_keep_their_gradient_checkpointing() {
    let device = Device::default().autodiff().gradient_checkpointing();
    let mut model = model_on(&device);
    let mut adapter = optimizer(&model);
    for _ in 0..2 {
        let gradients = model.gradients();
        model = adapter.step(0.01, &model, gradients).unwrap();
    }
    let strategy = model.embedding.weight.gradient_checkpointing_strategy();
    assert_eq!(strategy, Some(GradientCheckpointingStrategy::Balanced));
    assert!(model.embedding.weight.is_require_grad());
}

#[test]
fn a_learning_rate_that_is_no_number_changes_nothing() {
    let model = model();
    let mut adapter = optimizer(&model);
    let error = adapter.step(f64::NAN, &model, model.gradients());
    let said = error.unwrap_err().to_string();
    assert!(said.contains("NaN"), "{said}");
    assert_eq!(adapter.inner().learning_rate(), 0.02);
    assert_eq!(adapter.inner().steps_taken(), 0);
    assert!(adapter.last_report().is_none());
    // The optimizer goes on.
    let after = adapter.step(0.0, &model, model.gradients()).unwrap();
    assert_eq!(bits(&after), bits(&model));
    assert_eq!(adapter.inner().steps_taken(), 1);
}
