//! Parameters that are frozen, shared, of other types or not there.

#![allow(clippy::unwrap_used)]

mod common;

use burn_core as burn;
use burn_core::module::{Module, Param, ParamId};
use burn_core::tensor::{Bool, DType, Int, Tensor};
use burn_nn::{Linear, LinearConfig};
use burn_optim::GradientsParams;
use common::{Model, bits, device, fixed, lines, model, optimizer};
use himuon::optimizer::MuonOptions;
use himuon::{KernelSpec, Tile};
use himuon_burn::{BurnError, HiMuonConfig};

/// What a step says that must be refused, after which everything must be as before.
fn refusal(change: impl FnOnce(Model) -> Model, gradients: GradientsParams) -> String {
    let first = model();
    let mut adapter = optimizer(&first);
    let first = adapter.step(0.01, &first, first.gradients()).unwrap();
    let changed = change(first);
    let before = (bits(&changed), saved(&adapter));
    let error = adapter.step(0.5, &changed, gradients).unwrap_err();
    assert_eq!((bits(&changed), saved(&adapter)), before);
    assert_eq!(adapter.inner().learning_rate(), 0.01);
    error.to_string()
}

/// The bytes of the state.
fn saved(adapter: &himuon_burn::HiMuon) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    adapter.inner().save_state(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

/// A gradient by the identifier of a parameter.
fn gradient_of<const D: usize>(id: ParamId, value: Tensor<D>) -> GradientsParams {
    let mut gradients = GradientsParams::new();
    gradients.register(id, value.inner());
    gradients
}

#[test]
fn parameters_without_a_gradient_are_left_alone_and_named() {
    let model = model();
    let mut adapter = optimizer(&model);
    let first = &model.blocks[0].up;
    let loss = first.weight.val().square().sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let after = adapter.step(0.02, &model, gradients).unwrap();
    for (index, (old, new)) in bits(&model).iter().zip(bits(&after)).enumerate() {
        assert_eq!(*old == new, index != 3, "parameter {index}");
    }
    let missing = &adapter.last_report().unwrap().missing_gradients;
    assert_eq!(*missing, [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
}

#[test]
fn frozen_parameters_stay_and_can_be_thawed() {
    let mut model = model();
    model.blocks[0] = model.blocks[0].clone().no_grad();
    let mut adapter = optimizer(&model);
    let after = adapter.step(0.02, &model, model.gradients()).unwrap();
    assert_eq!(bits(&after.blocks[0]), bits(&model.blocks[0]));
    assert_ne!(bits(&after.blocks[1]), bits(&model.blocks[1]));
    assert!(!after.blocks[0].up.weight.is_require_grad());
    let thawed = after.set_require_grad(true);
    let last = adapter.step(0.02, &thawed, thawed.gradients()).unwrap();
    assert_ne!(bits(&last.blocks[0]), bits(&thawed.blocks[0]));
    assert!(adapter.last_report().unwrap().missing_gradients.is_empty());
}

#[derive(Module, Debug)]
struct Pair {
    first: Linear,
    second: Linear,
}

fn pair(first_is_frozen: bool) -> Pair {
    let layer = fixed(LinearConfig::new(16, 16).init(&device()));
    let first = match first_is_frozen {
        true => layer.clone().no_grad(),
        false => layer.clone(),
    };
    let second = layer;
    Pair { first, second }
}

fn gradients(pair: &Pair) -> GradientsParams {
    let x = Tensor::<2>::ones([3, 16], &device());
    let x = pair.second.forward(pair.first.forward(x).tanh());
    GradientsParams::from_grads(x.square().mean().backward(), pair)
}

#[test]
fn shared_parameters_are_stepped_once_and_stay_shared() {
    let mut model = pair(false);
    let config = HiMuonConfig::new().with(|b| b.group::<common::Mlp>("first.*"));
    let mut adapter = config.init(&model).unwrap();
    let names: Vec<&str> = adapter.inner().parameter_names().collect();
    assert_eq!(names, ["first.weight", "first.bias"]);
    for _ in 0..2 {
        let before = bits(&model);
        model = adapter.step(0.02, &model, gradients(&model)).unwrap();
        assert_ne!(bits(&model), before);
        assert_eq!(bits(&model.first), bits(&model.second));
        assert!(adapter.last_report().unwrap().missing_gradients.is_empty());
    }
}

/// A frozen copy has the identifiers of the original, whether it comes before or after it.
#[test]
fn frozen_copies_stay_as_they_are() {
    let frozen_first = pair(true);
    let swapped = |pair: Pair| Pair {
        first: pair.second,
        second: pair.first,
    };
    for (model, name) in [
        (frozen_first.clone(), "second.weight"),
        (swapped(frozen_first), "first.weight"),
    ] {
        let mut adapter = HiMuonConfig::new().init(&model).unwrap();
        assert_eq!(adapter.inner().parameter_names().next(), Some(name));
        let after = adapter.step(0.02, &model, gradients(&model)).unwrap();
        let (frozen, trained) = match name.starts_with("second") {
            true => (&after.first, &after.second),
            false => (&after.second, &after.first),
        };
        assert_eq!(bits(frozen), bits(&model.first));
        assert_ne!(bits(trained), bits(&model.first));
    }
}

#[test]
fn one_identifier_for_two_shapes_is_refused() {
    let mut model = pair(false);
    let other: Linear = LinearConfig::new(16, 8).init(&device());
    model.second.weight = Param::initialized(model.first.weight.id, other.weight.val());
    let error = HiMuonConfig::new().init(&model).unwrap_err();
    assert!(matches!(error, BurnError::Shared { .. }));
    assert_says(
        &error.to_string(),
        &["first.weight", "second.weight", "[16, 16]", "[16, 8]"],
    );
}

/// Trainable places get one new tensor, so they must be of one type; a frozen copy may be of another.
#[test]
fn shared_parameters_of_two_types_are_refused_unless_one_is_frozen() {
    let half = |pair: &Pair, place: &Linear, trainable: bool| {
        let weight = place.weight.val().inner();
        let weight = weight.cast(burn_core::tensor::FloatDType::BF16);
        let weight = Tensor::from_inner(weight).set_require_grad(trainable);
        Param::initialized(pair.first.weight.id, weight)
    };
    let shared = pair(false);
    let mut adapter = HiMuonConfig::new().init(&shared).unwrap();
    let mut apart = shared.clone();
    apart.second.weight = half(&shared, &shared.second, true);
    let gradients = gradients(&shared);
    for error in [
        HiMuonConfig::new().init(&apart).unwrap_err(),
        adapter.step(0.02, &apart, gradients).unwrap_err(),
    ] {
        assert!(matches!(error, BurnError::Diverged { .. }), "{error}");
        let said = ["first.weight", "second.weight", "F32 on", "BF16 on"];
        assert_says(&error.to_string(), &said);
    }
    assert_eq!(adapter.inner().steps_taken(), 0);

    let mut teacher = shared.clone();
    teacher.second.weight = half(&shared, &shared.second, false);
    let gradient = Tensor::<2>::eye(16, &device());
    let gradients = gradient_of(shared.first.weight.id, gradient);
    let after = adapter.step(0.02, &teacher, gradients).unwrap();
    assert_ne!(bits(&after.first), bits(&teacher.first));
    assert_eq!(bits(&after.second), bits(&teacher.second));
    assert_eq!(after.second.weight.dtype(), DType::BF16);
}

/// An adapter of low rank is found below the weight that it adapts, which is frozen.
#[test]
fn adapters_are_stepped_and_the_weights_below_them_are_not() {
    let model = model().apply_lora(burn_core::module::Lora::new(8, 8.0));
    let group = "blocks.*.up.weight.lora.*";
    let config = HiMuonConfig::new().with(|b| b.group::<common::Mlp>(group));
    let mut adapter = config.init(&model).unwrap();
    let mut after = model.clone();
    for _ in 0..2 {
        after = adapter.step(0.02, &after, after.gradients()).unwrap();
    }
    let old = lines(&model, &GradientsParams::new());
    let new = lines(&after, &GradientsParams::new());
    let is_adapter = |name: &str| name.contains(".lora.");
    assert!(old.iter().any(|line| is_adapter(&line.name)), "{old:?}");
    for (old, new) in old.iter().zip(&new) {
        let changed = old.weight != new.weight;
        assert_eq!(changed, is_adapter(&old.name), "{}", old.name);
    }
}

#[derive(Module, Debug)]
struct Odd {
    weight: Param<Tensor<2>>,
    positions: Param<Tensor<1, Int>>,
    mask: Param<Tensor<1, Bool>>,
}

fn odd(dtype: DType) -> Odd {
    let device = device();
    Odd {
        weight: Param::from_tensor(Tensor::ones([8, 8], (&device, dtype))),
        positions: Param::initialized(ParamId::new(), Tensor::arange(0..8, &device)),
        mask: Param::initialized(ParamId::new(), Tensor::full([8], true, &device)),
    }
}

#[test]
fn integer_and_boolean_parameters_are_left_out() {
    let model = odd(DType::F32);
    let mut adapter = HiMuonConfig::new().init(&model).unwrap();
    let names: Vec<&str> = adapter.inner().parameter_names().collect();
    assert_eq!(names, ["weight"]);
    let loss = model.weight.val().square().sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let after = adapter.step(0.1, &model, gradients).unwrap();
    assert_ne!(bits(&after), bits(&model));
    let positions = after.positions.val().into_data();
    assert_eq!(positions, model.positions.val().into_data());
}

#[test]
fn types_that_are_not_stored_are_refused_unless_frozen() {
    let model = odd(DType::F64);
    let error = HiMuonConfig::new().init(&model).unwrap_err().to_string();
    assert_says(&error, &["parameter weight is F64", "F32, BF16 or F16"]);

    let mut wide = pair(false);
    let frozen = fixed(LinearConfig::new(16, 16).init(&device())).no_grad();
    let weight = frozen.weight.val().cast(burn_core::tensor::FloatDType::F64);
    wide.first.weight = Param::initialized(ParamId::new(), weight.detach());
    let mut adapter = HiMuonConfig::new().init(&wide).unwrap();
    let names: Vec<&str> = adapter.inner().parameter_names().collect();
    assert_eq!(names, ["first.bias", "second.weight"]);
    let gradient = Tensor::<2>::ones([16, 16], &device());
    let gradients = gradient_of(wide.first.weight.id, gradient);
    let error = adapter.step(0.1, &wide, gradients).unwrap_err().to_string();
    assert_says(&error, &["first.weight has a gradient", "made without it"]);
}

#[test]
fn half_precision_parameters_are_updated() {
    for (dtype, element) in [(DType::BF16, "bf16"), (DType::F16, "f16")] {
        let model = odd(dtype);
        let spec: KernelSpec = format!("tile=8 weight={element}").parse().unwrap();
        let config = HiMuonConfig::new();
        let config = config.with(|b| b.group_with("weight", MuonOptions::specs([spec])));
        let mut adapter = config.init(&model).unwrap();
        let gradient = Tensor::<2>::eye(8, &device());
        let gradient = gradient.cast(burn_core::tensor::FloatDType::from(dtype));
        let gradients = gradient_of(model.weight.id, gradient);
        let after = adapter.step(0.1, &model, gradients).unwrap();
        assert_eq!(after.weight.dtype(), dtype);
        assert_ne!(bits(&after), bits(&model));

        let spec = KernelSpec::new(Tile::square(8));
        let config = HiMuonConfig::new();
        let config = config.with(|b| b.group_with("weight", MuonOptions::specs([spec])));
        let error = config.init(&model).unwrap_err().to_string();
        assert_says(&error, &["weight", "expected F32", element]);
    }
}

#[test]
fn a_parameter_without_a_path_is_refused() {
    let model = Param::from_tensor(Tensor::<2>::ones([8, 8], &device()));
    let error = HiMuonConfig::new().init(&model).unwrap_err();
    assert_says(&error.to_string(), &["[8, 8]", "no path"]);
    let error = HiMuonConfig::new().init(&vec![model]).map(|_| ());
    assert!(error.is_ok(), "{error:?}");
}

#[test]
fn patterns_that_match_nothing_are_refused() {
    let config = HiMuonConfig::new().with(|b| b.group::<common::Mlp>("layers.*"));
    let error = config.init(&model()).unwrap_err().to_string();
    assert_says(&error, &["layers.*", "none of the 13", "embedding.weight"]);
}

#[test]
fn another_module_is_refused() {
    let shorter = |mut model: Model| {
        model.blocks.pop();
        model
    };
    let error = refusal(shorter, GradientsParams::new());
    assert_says(&error, &["no parameter blocks.1.norm.gamma"]);

    let wide: Linear = LinearConfig::new(24, 48).init(&device());
    let id = wide.weight.id;
    let wider = |mut model: Model| {
        model.blocks[1].up = wide;
        model
    };
    let error = refusal(
        wider,
        gradient_of(id, Tensor::<2>::ones([24, 48], &device())),
    );
    assert_says(&error, &["blocks.1.up.weight", "[24, 48]", "[24, 40]"]);

    let added = model().blocks.remove(0);
    let id = added.down.weight.id;
    let longer = |mut model: Model| {
        model.blocks.push(added);
        model
    };
    let error = refusal(
        longer,
        gradient_of(id, Tensor::<2>::ones([40, 24], &device())),
    );
    assert_says(&error, &["blocks.2.down.weight has a gradient"]);
}

/// Gradients go by identifiers, which another module does not share and a record brings along.
#[test]
fn gradients_of_another_module_are_refused() {
    let other = model();
    let count = other.gradients().len().to_string();
    let says = [
        &format!("none of the {count} gradients"),
        "13 parameters",
        "load_record",
    ];
    assert_says(&refusal(|model| model, other.gradients()), &says);

    let layer = || -> Linear { fixed(LinearConfig::new(16, 16).init(&device())) };
    let (earlier, saved) = (layer(), layer());
    let mut adapter = HiMuonConfig::new().init(&earlier).unwrap();
    let loss = earlier.weight.val().square().sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &earlier);
    let loaded = earlier.load_record(saved.into_record());
    let error = adapter.step(0.02, &loaded, gradients).unwrap_err();
    assert!(matches!(error, BurnError::Foreign { .. }), "{error}");
    assert_says(
        &error.to_string(),
        &["none of the 1 gradients", "2 parameters"],
    );

    // Some of this module: the others are left out.
    let mut adapter = optimizer(&other);
    let mut gradients = other.gradients();
    gradients.register(ParamId::new(), Tensor::<1>::ones([3], &device()).inner());
    let after = adapter.step(0.02, &other, gradients).unwrap();
    assert_ne!(bits(&after), bits(&other));
    // None at all is a step without work.
    let last = adapter.step(0.02, &after, GradientsParams::new()).unwrap();
    assert_eq!(bits(&last), bits(&after));
    assert_eq!(adapter.inner().steps_taken(), 2);
}

/// The last parameter's gradient is the wrong one: those before it are left as they are, too.
#[test]
fn a_wrong_gradient_changes_nothing() {
    let wrong = |gradient: Tensor<1>| {
        let model = model();
        let mut gradients = model.gradients();
        let bias = model.blocks[1].down.bias.as_ref().unwrap();
        gradients.register(bias.id, gradient.inner());
        let replace = |_: Model| model;
        refusal(replace, gradients)
    };
    let error = wrong(Tensor::ones([23], &device()));
    assert_says(&error, &["gradient of blocks.1.down.bias", "[23]", "[24]"]);
    let error = wrong(Tensor::ones([24], (&device(), DType::F64)));
    assert_says(&error, &["gradient of blocks.1.down.bias is F64"]);
    let error = wrong(Tensor::ones([24], (&device(), DType::BF16)));
    assert_says(&error, &["blocks.1.down.bias", "Bf16", "F32"]);
}
