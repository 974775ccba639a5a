//! What is refused, and that a refusal changes not one bit of weights or state.

use himuon::optimizer::{
    AdamWOptions, BuildError, GroupOptions, LearningRate, MuonOptions, NonFinitePolicy, StepError,
    View,
};
use himuon::templates::{Criterion, Element, Finite, Measure, Otherwise, Scope, Storage};
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{Error, HiMuon, KernelSpec, ParameterStep, Tile};

use crate::model::Model;

/// The whole state as the file that would be saved.
pub(crate) fn state_of(optimizer: &HiMuon) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    optimizer.save_state(&path).unwrap();
    std::fs::read(path).unwrap()
}

/// Runs a step that must be refused and compares all bits.
fn refused(
    mut model: Model,
    mut optimizer: HiMuon,
    attempt: impl FnOnce(&mut Model, &mut HiMuon) -> Result<(), Error>,
) -> StepError {
    model.step(&mut optimizer);
    let state = state_of(&optimizer);
    let bits = model.bits();
    let error = match attempt(&mut model, &mut optimizer) {
        Err(Error::Step(error)) => error,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(model.bits(), bits, "{error}");
    // A learning rate that was set is the caller's doing, not the step's.
    optimizer.set_learning_rate(0.02);
    assert!(state_of(&optimizer) == state, "{error}");
    error
}

fn model_and_optimizer() -> (Model, HiMuon) {
    let model = Model::mixed();
    let optimizer = model.grouped().build().unwrap();
    (model, optimizer)
}

#[test]
fn learning_rates_that_are_none_are_refused() {
    for rate in [f64::NAN, f64::INFINITY, -1e-3, 1e39] {
        let (model, optimizer) = model_and_optimizer();
        let error = refused(model, optimizer, |model, optimizer| {
            optimizer.set_learning_rate(rate);
            let gradients = model.gradients(1);
            model.step_with(optimizer, &gradients).map(drop)
        });
        assert!(matches!(error, StepError::LearningRate { .. }), "{error}");
    }
}

#[test]
fn a_decay_above_the_whole_weight_names_both_numbers() {
    let (model, optimizer) = model_and_optimizer();
    let error = refused(model, optimizer, |model, optimizer| {
        optimizer.set_learning_rate(12.5);
        let gradients = model.gradients(1);
        model.step_with(optimizer, &gradients).map(drop)
    });
    let text = error.to_string();
    assert!(text.contains("12.5") && text.contains("0.1"), "{text}");
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    let short = vec![0.0; 3];
    let half: Vec<half::bf16> = vec![half::bf16::ZERO; 24 * 24];
    let (model, optimizer) = model_and_optimizer();
    let error = refused(model, optimizer, |model, optimizer| {
        let gradients = model.gradients(1);
        let mut parameters = model.with(&gradients);
        parameters[4].gradient = Some(TensorRef::F32(&short));
        optimizer.step(&mut parameters).map(drop)
    });
    assert!(
        error.to_string().contains("blocks.0.mlp.up.weight"),
        "{error}"
    );
    let (model, optimizer) = model_and_optimizer();
    let error = refused(model, optimizer, |model, optimizer| {
        let gradients = model.gradients(1);
        let mut parameters = model.with(&gradients);
        parameters[1].gradient = Some(TensorRef::Bf16(&half));
        optimizer.step(&mut parameters).map(drop)
    });
    let expected = Element::F32;
    assert!(
        matches!(&error, StepError::Type { found: Element::Bf16, expected: e, .. } if *e == expected),
        "{error}"
    );
    let (model, optimizer) = model_and_optimizer();
    let error = refused(model, optimizer, |model, optimizer| {
        let gradients = model.gradients(1);
        let mut parameters = model.with(&gradients);
        parameters.pop();
        optimizer.step(&mut parameters).map(drop)
    });
    assert!(
        matches!(
            error,
            StepError::Count {
                found: 7,
                expected: 8
            }
        ),
        "{error}"
    );
}

#[test]
fn the_error_policy_refuses_a_step_with_a_nan() {
    let model = Model::mixed();
    for (index, name) in [(1, "blocks.0.attn.q.weight"), (3, "blocks.0.norm.weight")] {
        let optimizer = model
            .grouped()
            .non_finite(NonFinitePolicy::Error)
            .build()
            .unwrap();
        let error = refused(model.clone(), optimizer, |model, optimizer| {
            let mut gradients = model.gradients(1);
            gradients[index][5] = f32::NAN;
            model.step_with(optimizer, &gradients).map(drop)
        });
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn the_skip_step_policy_changes_nothing_but_the_counter() {
    let mut model = Model::mixed();
    let mut optimizer = model
        .grouped()
        .non_finite(NonFinitePolicy::SkipStep)
        .build()
        .unwrap();
    model.step(&mut optimizer);
    let bits = model.bits();
    let mut gradients = model.gradients(1);
    gradients[4][100] = f32::INFINITY;
    let report = model.step_with(&mut optimizer, &gradients).unwrap();
    assert_eq!(report.skipped_for, Some(4));
    assert_eq!(report.launches, 0);
    assert_eq!(model.bits(), bits);
    assert_eq!(optimizer.steps_taken(), 2);
}

#[test]
fn the_skip_tile_policy_leaves_one_tile_and_one_parameter_alone() {
    let mut model = Model::new(&[("w", &[32, 32]), ("bias", &[8])]);
    let options = MuonOptions::specs([KernelSpec::new(Tile::square(16))]);
    let mut optimizer = model.builder().group_with("w", options).build().unwrap();
    model.step(&mut optimizer);
    let before = model.clone();
    let mut gradients = model.gradients(1);
    gradients[0][20 * 32 + 3] = f32::NAN;
    gradients[1][0] = f32::NEG_INFINITY;
    let report = model.step_with(&mut optimizer, &gradients).unwrap();
    assert_eq!((report.tiles, report.non_finite_tiles), (4, 1));
    assert_eq!(report.non_finite_parameters, 1);
    assert_eq!(model.weights[1], before.weights[1]);
    for (place, (new, old)) in model.weights[0].iter().zip(&before.weights[0]).enumerate() {
        let in_tile = place / 32 >= 16 && place % 32 < 16;
        assert_eq!(new.to_bits() == old.to_bits(), in_tile, "element {place}");
    }
}

#[test]
fn missing_gradients_are_counted_and_leave_their_parameter_alone() {
    let mut model = Model::mixed();
    let mut optimizer = model.grouped().build().unwrap();
    let before = model.clone();
    let gradients = model.gradients(0);
    let mut parameters = model.with(&gradients);
    parameters[0].gradient = None;
    parameters[5].gradient = None;
    let report = optimizer.step(&mut parameters).unwrap();
    assert_eq!(report.missing_gradients, [0, 5]);
    for index in 0..8 {
        let same = model.weights[index] == before.weights[index];
        assert_eq!(same, index == 0 || index == 5, "parameter {index}");
    }
}

#[test]
fn declarations_that_cannot_be_met_are_refused() {
    let spec = |tile| KernelSpec::new(Tile::square(tile));
    let build = |model: &Model, pattern: &str, options: MuonOptions| match model
        .builder()
        .group_with(pattern, options)
        .build()
    {
        Err(Error::Build(error)) => error,
        other => panic!("not refused: {other:?}"),
    };
    let model = Model::new(&[("w", &[8, 8]), ("experts", &[2, 8, 8])]);
    let plain = || MuonOptions::specs([spec(4)]);
    assert!(matches!(
        build(&model, "v*", plain()),
        BuildError::Unmatched { .. }
    ));
    assert!(matches!(
        build(&model, "w[", plain()),
        BuildError::Pattern { .. }
    ));
    let deep = format!("{}w{}", "{".repeat(1000), "}".repeat(1000));
    assert!(matches!(
        build(&model, &deep, plain()),
        BuildError::Pattern { .. } | BuildError::Unmatched { .. }
    ));
    assert!(matches!(
        build(&model, "experts", plain()),
        BuildError::AmbiguousView { stack: 2, .. }
    ));
    let named = |count: usize| {
        let names = ["0.a", "1.a", "2.a", "3.a", "4.a", "5.a", "6.a"];
        let shapes = names.map(|name| (name, &[2, 8, 8][..]));
        let shapes = &shapes[..count];
        build(&Model::new(shapes), "*", plain()).to_string()
    };
    assert!(
        named(1).contains("or a convolution; say which"),
        "{}",
        named(1)
    );
    for (count, others) in [
        (2, "a convolution, and so may 1.a; say"),
        (4, "a convolution, and so may 1.a, 2.a, 3.a; say"),
        (7, "a convolution, and so may 1.a and 5 others; say"),
    ] {
        assert!(named(count).contains(others), "{}", named(count));
    }
    assert!(matches!(
        build(&model, "w", MuonOptions::specs([])),
        BuildError::NoSpec { .. }
    ));
    let twice = MuonOptions::specs([spec(4), spec(4)]);
    assert!(matches!(
        build(&model, "w", twice),
        BuildError::DuplicateTile { .. }
    ));
    let mut half = spec(8);
    half.storage = Storage {
        weight: Element::Bf16,
        momentum: Element::F32,
        ..Storage::F32
    };
    let mixed = MuonOptions::specs([spec(4), half]);
    assert!(matches!(
        build(&model, "w", mixed),
        BuildError::MixedStorage { .. }
    ));
    for options in [
        plain().momentum(1.0),
        plain().momentum(f64::NAN),
        plain().weight_decay(-0.1),
        plain().scale_factor(0.0),
    ] {
        assert!(matches!(
            build(&model, "w", options),
            BuildError::Option { .. }
        ));
    }
    let two = Model::new(&[("w", &[2, 2]), ("w", &[2, 2])])
        .builder()
        .build();
    assert!(matches!(
        two,
        Err(Error::Build(BuildError::DuplicateName { .. }))
    ));
    let bad_betas = model
        .builder()
        .adamw(AdamWOptions::default().betas(0.9, 1.5))
        .build();
    assert!(matches!(
        bad_betas,
        Err(Error::Build(BuildError::Option { .. }))
    ));
}

#[test]
fn mimuon_with_the_heavy_ball_is_warned_of() {
    let mut spec = KernelSpec::new(Tile::square(8));
    spec.criterion = Criterion::Tested {
        measure: Measure::FroNorm,
        threshold: Finite::new(0.5).unwrap(),
        scope: Scope::Tile,
        otherwise: Otherwise::Momentum,
    };
    let model = Model::new(&[("w", &[8, 8])]);
    let build = |options: MuonOptions| model.builder().group_with("w", options).build().unwrap();
    let options = || MuonOptions::specs([spec.clone()]);
    assert_eq!(build(options()).warnings().len(), 1);
    let average = himuon::optimizer::MomentumConvention::MovingAverage;
    assert!(build(options().convention(average)).warnings().is_empty());
}

/// Parameters whose tensors the model does not hold.
#[test]
fn a_weight_of_another_length_is_refused() {
    let model = Model::new(&[("w", &[8, 8])]);
    let options = MuonOptions::specs([KernelSpec::new(Tile::Full)]).view(View::Stack);
    let mut optimizer = model.builder().group_with("w", options).build().unwrap();
    let mut weight = vec![1.0f32; 63];
    let step = optimizer.step(&mut [ParameterStep {
        weight: TensorMut::F32(&mut weight),
        gradient: None,
    }]);
    assert!(
        matches!(
            step,
            Err(Error::Step(StepError::Length {
                found: 63,
                expected: 64,
                ..
            }))
        ),
        "{step:?}"
    );
}

/// What rounds out of its range on the way to the kernels is refused before anything changes.
#[test]
fn ranges_are_those_of_the_numbers_that_the_kernels_get() {
    let adamw = AdamWOptions::default;
    let tiles = || MuonOptions::specs([KernelSpec::new(Tile::square(8))]);
    let model = Model::new(&[("w", &[24, 24]), ("b", &[24])]);
    for (group, says) in [
        (GroupOptions::from(adamw().betas(0.9, 0.999_999_99)), "beta"),
        (adamw().epsilon(1e-46).into(), "epsilon"),
        (adamw().weight_decay(1e39).into(), "weight decay"),
        (tiles().weight_decay(1e39).into(), "weight decay"),
        (tiles().momentum(0.999_999_999).into(), "momentum"),
    ] {
        let built = model.builder().group_with("*", group).build();
        let error = built.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    // 0.1 in f32 is a little more than 0.1.
    let own = LearningRate::Own(0.1);
    for group in [
        GroupOptions::from(adamw().learning_rate(own).weight_decay(10.0)),
        tiles().learning_rate(own).weight_decay(10.0).into(),
    ] {
        let mut model = model.clone();
        let mut optimizer = model.builder().group_with("w", group).build().unwrap();
        let (bits, gradients) = (model.bits(), model.gradients(0));
        let error = model.step_with(&mut optimizer, &gradients).unwrap_err();
        assert!(
            matches!(error, Error::Step(StepError::Decay { .. })),
            "{error:?}"
        );
        assert_eq!(model.bits(), bits);
        // The next step is as good as any.
        optimizer.set_weight_decay("w", 1.0).unwrap();
        model.step(&mut optimizer);
    }
}

#[test]
fn shapes_beyond_any_memory_are_refused() {
    for shape in [[1 << 33, 1 << 33], [1 << 31, 1 << 31]] {
        let error = HiMuon::builder().parameter("w", &shape).build();
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("parameter w") && text.contains("memory"),
            "{text}"
        );
    }
}
