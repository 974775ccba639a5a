//! Saved and resumed runs.

use himuon::HiMuon;
use himuon::optimizer::{HiMuonBuilder, LearningRate, LoadReport, MuonOptions, NorMuon, View};
use himuon::schedule::TileSchedule;
use himuon::{KernelSpec, Tile};

use crate::model::Model;
use crate::refusals::state_of;

const STEPS: u64 = 6;

fn configured(model: &Model) -> HiMuonBuilder {
    let tiles = || MuonOptions::specs([Tile::square(16), Tile::Full].map(KernelSpec::new));
    let periodic = TileSchedule::periodic(Tile::square(16), Tile::Full, 3, 0.5).unwrap();
    model
        .builder()
        .group_with("*.experts", tiles().view(View::Stack))
        .group_with("*.mlp.*", tiles().row_normalisation(NorMuon::default()))
        .group_with("blocks.*", tiles())
        .schedule(periodic)
}

/// A step of a run whose learning rate changes and in which one parameter sometimes has no gradient.
fn advance(model: &mut Model, optimizer: &mut HiMuon) {
    let step = optimizer.steps_taken();
    optimizer.set_learning_rate(0.02 / (1.0 + step as f64 / 3.0));
    let gradients = model.gradients(step);
    let mut parameters = model.with(&gradients);
    if step.is_multiple_of(2) {
        parameters[7].gradient = None;
    }
    optimizer.step(&mut parameters).unwrap();
}

#[test]
fn a_run_resumed_after_any_step_has_the_same_bits() {
    let mut whole = Model::mixed();
    let mut optimizer = configured(&whole).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |step: u64| folder.path().join(format!("{step}.safetensors"));
    let mut kept = Vec::new();
    for step in 0..STEPS {
        optimizer.save_state(path(step)).unwrap();
        kept.push(whole.clone());
        advance(&mut whole, &mut optimizer);
    }
    let final_state = state_of(&optimizer);
    for (step, mut model) in (0..STEPS).zip(kept) {
        let mut resumed = configured(&model).build().unwrap();
        let report = resumed.load_state(path(step)).unwrap();
        assert_eq!(report.step, step);
        assert!(report.differences.is_empty(), "{:?}", report.differences);
        while resumed.steps_taken() < STEPS {
            advance(&mut model, &mut resumed);
        }
        assert_eq!(model.bits(), whole.bits(), "resumed at step {step}");
        assert!(state_of(&resumed) == final_state, "resumed at step {step}");
    }
}

#[test]
fn a_state_in_memory_is_the_file_and_resumes_with_the_same_bits() {
    let mut model = Model::mixed();
    let mut optimizer = configured(&model).build().unwrap();
    advance(&mut model, &mut optimizer);
    let bytes = optimizer.save_state_to_bytes().unwrap();
    assert!(bytes == state_of(&optimizer));
    let mut resumed = configured(&model).build().unwrap();
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let refused = resumed.load_state_from_bytes(&damaged).unwrap_err();
    let text = refused.to_string();
    assert!(text.starts_with("the state in memory is damaged"), "{text}");
    assert_eq!(resumed.steps_taken(), 0);
    let report = resumed.load_state_from_bytes(&bytes).unwrap();
    assert_eq!(report.step, 1);
    let mut other = model.clone();
    advance(&mut model, &mut optimizer);
    advance(&mut other, &mut resumed);
    assert_eq!(other.bits(), model.bits());
}

#[test]
fn the_file_is_safetensors_with_the_documented_names() {
    let mut model = Model::mixed();
    let mut optimizer = configured(&model).build().unwrap();
    model.step(&mut optimizer);
    let bytes = state_of(&optimizer);
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "blocks.0.attn.out.weight.momentum_buffer",
            "blocks.0.attn.q.weight.momentum_buffer",
            "blocks.0.conv.weight.momentum_buffer",
            "blocks.0.mlp.experts.momentum_buffer",
            "blocks.0.mlp.up.weight.momentum_buffer",
            "blocks.0.mlp.up.weight.row_second_moment",
            "blocks.0.norm.weight.exp_avg",
            "blocks.0.norm.weight.exp_avg_sq",
            "embed.weight.exp_avg",
            "embed.weight.exp_avg_sq",
            "lm_head.weight.exp_avg",
            "lm_head.weight.exp_avg_sq",
        ]
    );
    assert_eq!(
        tensors
            .tensor("blocks.0.mlp.experts.momentum_buffer")
            .unwrap()
            .shape(),
        [3, 20, 30]
    );
    // The first momentum is the gradient itself.
    let found = tensors
        .tensor("blocks.0.attn.q.weight.momentum_buffer")
        .unwrap();
    let expected: Vec<u8> = model.gradients(0)[1]
        .iter()
        .flat_map(|g| g.to_le_bytes())
        .collect();
    assert_eq!(found.data(), expected);
    let metadata = header.metadata().clone().unwrap();
    assert_eq!(metadata["himuon.schema"], "1");
    assert_eq!(metadata["himuon.step"], "1");
    for key in [
        "himuon.groups",
        "himuon.kernels",
        "himuon.parameters",
        "himuon.schedule",
    ] {
        let value: serde_json::Value = serde_json::from_str(&metadata[key]).unwrap();
        assert!(!value.is_null(), "{key}");
    }
}

#[test]
fn changed_options_are_reported_and_the_present_ones_used() {
    let mut model = Model::new(&[("w", &[24, 24])]);
    let tiles = || MuonOptions::specs([KernelSpec::new(Tile::square(16))]);
    let mut optimizer = model.builder().group_with("w", tiles()).build().unwrap();
    model.step(&mut optimizer);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    optimizer.save_state(&path).unwrap();
    let changed = tiles().weight_decay(0.25);
    let mut other = model.builder().group_with("w", changed).build().unwrap();
    let report = other.load_state(&path).unwrap();
    assert_eq!(report.differences.len(), 1);
    let text = &report.differences[0];
    assert!(text.contains("weight_decay was 0.1, is 0.25"), "{text}");
}

#[test]
fn the_learning_rate_is_the_state_s_and_rates_of_groups_are_the_present_ones() {
    let mut model = Model::new(&[("a", &[24, 24]), ("b", &[24, 24])]);
    let tiles = |rate| {
        let tiles = MuonOptions::specs([KernelSpec::new(Tile::square(16))]);
        tiles.learning_rate(rate)
    };
    let building = |rate: f64, own: f64| {
        let builder = model.builder().learning_rate(rate);
        let builder = builder.group_with("a", tiles(LearningRate::Own(own)));
        let factor = LearningRate::Factor(1.0);
        builder.group_with("b", tiles(factor)).build().unwrap()
    };
    let state = building(0.02, 0.5).save_state_to_bytes().unwrap();
    let mut same = building(0.02, 0.5);
    let report = same.load_state_from_bytes(&state).unwrap();
    assert_eq!(report, LoadReport::default());

    let mut other = building(0.01, 0.25);
    let report = other.load_state_from_bytes(&state).unwrap();
    assert_eq!(report.replaced_learning_rate, Some(0.01));
    assert_eq!(other.learning_rate(), 0.02);
    // A rate of the group's own is an option like another: told of, and left.
    assert_eq!(report.differences.len(), 1, "{report:?}");
    assert!(report.differences[0].contains("group a: learning_rate was Own(0.5), is Own(0.25)"));
    let lines = other.explain().unwrap().groups;
    assert!(
        lines[0].contains("lr 0.25") && lines[1].contains("lr 0.02"),
        "{lines:?}"
    );
    model.step(&mut other);
}

/// What a state says of its kernels ends with the next one, which may not name them.
#[test]
fn kernels_of_an_earlier_state_are_not_kept_for_a_later_one() {
    let model = Model::new(&[("blocks.0.w", &[40, 24])]);
    let of = |tile: Tile| {
        let tiles = MuonOptions::specs([Tile::square(16), Tile::Full].map(KernelSpec::new));
        let schedule = TileSchedule::list([(0, tile)]).unwrap();
        let builder = model.builder().group_with("*", tiles).schedule(schedule);
        builder.build().unwrap()
    };
    let states = [Tile::square(16), Tile::Full].map(|tile| of(tile).save_state_to_bytes().unwrap());
    let mut optimizer = of(Tile::square(16));
    let reasons = |optimizer: &HiMuon| optimizer.plan(0).unwrap().launches[0].reasons.join(" ");
    optimizer.load_state_from_bytes(&states[0]).unwrap();
    assert!(reasons(&optimizer).contains("as in the saved run"));
    optimizer.load_state_from_bytes(&states[1]).unwrap();
    assert!(!reasons(&optimizer).contains("as in the saved run"));
}

/// A scheduler's mistake is not to cost the checkpoint.
#[test]
fn a_learning_rate_that_no_step_takes_is_left_out_of_a_state() {
    let model = Model::mixed();
    let mut optimizer = configured(&model).build().unwrap();
    advance(&mut model.clone(), &mut optimizer);
    for rate in [f64::NAN, f64::INFINITY, -1.0] {
        optimizer.set_learning_rate(rate);
        let state = optimizer.save_state_to_bytes().unwrap();
        let mut other = configured(&model).learning_rate(0.25).build().unwrap();
        let report = other.load_state_from_bytes(&state).unwrap();
        assert_eq!((other.steps_taken(), other.learning_rate()), (1, 0.25));
        assert_eq!(report.replaced_learning_rate, None);
        let named = report.differences.join(" ");
        assert!(
            named.contains("learning rate") && named.contains("0.25 stays"),
            "{named}"
        );
    }
}

#[test]
fn parameters_that_another_group_takes_are_reported() {
    let mut model = Model::new(&[("a", &[24, 24]), ("b", &[24, 24])]);
    let tiles =
        |momentum| MuonOptions::specs([KernelSpec::new(Tile::square(16))]).momentum(momentum);
    let building = |model: &Model, order: [(&str, f64); 2]| {
        let [(first, one), (second, other)] = order;
        let builder = model.builder().group_with(first, tiles(one));
        builder.group_with(second, tiles(other)).build().unwrap()
    };
    let mut optimizer = building(&model, [("?", 0.9), ("*", 0.5)]);
    model.step(&mut optimizer);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    optimizer.save_state(&path).unwrap();
    let mut other = building(&model, [("*", 0.5), ("?", 0.9)]);
    let report = other.load_state(&path).unwrap();
    let moved = ["a", "b"].map(|name| format!("parameter {name} was in group ?, is in group *"));
    assert_eq!(report.differences, moved);
}
