//! f32 master weights beside bf16 ones: the bits of an optimizer of f32 weights, and state.

use half::bf16;
use himuon::master_weight::split_master_weight;
use himuon::optimizer::{
    AdamWOptions, CoarseSchedule, HiMuonBuilder, MuonOptions, NorMuon, Protection, StepError,
};
use himuon::templates::{Element, Fine, Operand, Power, Recurrence, SpecFields};
use himuon::{Error, HiMuon, KernelSpec, Tile};
use himuon_tests::master_weights::{self as shared, Both, bits, remainders, widened};

use crate::device::Failing;
use crate::refusals::state_of;

const MATRIX: [usize; 2] = [40, 36];
const VECTOR: [usize; 1] = [40];
const NAMES: [&str; 2] = ["w", "bias"];

/// f32 momentum and operands, so that runs differ in their weights' type alone.
fn spec(tile: Tile, element: Element, masters: bool, coarse: Option<(u32, Fine)>) -> KernelSpec {
    let fields = SpecFields {
        tile: Some(tile),
        element: Some(element),
        momentum: Some(Element::F32),
        operand: Some(Operand::F32),
        master_weights: Some(masters),
        coarse: coarse.map(|(rank, _)| rank),
        fine: coarse.map(|(_, fine)| fine),
        ..SpecFields::default()
    };
    fields.resolve().unwrap()
}

fn builder(spec: KernelSpec, rate: f64, masters: bool) -> HiMuonBuilder {
    HiMuon::builder()
        .parameter("w", &MATRIX)
        .parameter("bias", &VECTOR)
        .learning_rate(rate)
        .threads(2)
        .group_with(
            "w",
            MuonOptions::specs([spec]).coarse_schedule(CoarseSchedule::refresh_every(2)),
        )
        .group_with("bias", AdamWOptions::default().master_weights(masters))
}

fn numbers(seed: u64) -> Both<bf16> {
    shared::numbers(seed, [MATRIX[0] * MATRIX[1], VECTOR[0]])
}

fn step_narrow(optimizer: &mut HiMuon, weights: &mut Both<bf16>, step: u64) {
    shared::step_narrow(optimizer, weights, &numbers(100 + step)).unwrap();
}

fn step_wide(optimizer: &mut HiMuon, weights: &mut Both<f32>, step: u64) {
    shared::step_wide(optimizer, weights, &widened(&numbers(100 + step))).unwrap();
}

/// The masters' bits, from what the optimizer saves.
fn masters(optimizer: &HiMuon, weights: &Both<bf16>) -> Both<u32> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    optimizer.save_state(&path).unwrap();
    bits(&shared::masters(weights, &remainders(&path, NAMES)))
}

#[test]
fn masters_have_the_bits_of_f32_weights() {
    let square = Tile::square;
    for (tile, coarse) in [
        (square(16), None),
        (square(1), None),
        (square(32), None),
        (Tile::Full, None),
        (square(16), Some((8, Fine::Fused))),
        (square(16), Some((8, Fine::Projected))),
        (square(1), Some((8, Fine::Fused))),
    ] {
        let narrow = spec(tile, Element::Bf16, true, coarse);
        let wide = spec(tile, Element::F32, false, coarse);
        let mut with_masters = builder(narrow.clone(), 0.01, true).build().unwrap();
        let mut in_f32 = builder(wide, 0.01, false).build().unwrap();
        let mut weights = numbers(1);
        let mut expected = widened(&weights);
        for step in 0..4 {
            step_narrow(&mut with_masters, &mut weights, step);
            step_wide(&mut in_f32, &mut expected, step);
        }
        assert!(
            masters(&with_masters, &weights) == bits(&expected),
            "{narrow}"
        );
        // What the model sees is the master, rounded.
        for (weights, expected) in weights.iter().zip(&expected) {
            for (weight, master) in weights.iter().zip(expected) {
                assert_eq!(*weight, split_master_weight(*master).0);
            }
        }
    }
}

/// Weights that change when the whole matrix has been mapped.
#[test]
fn masters_of_matrices_that_are_normalised_have_the_bits_of_f32_weights() {
    let of = |element, masters, power: Option<Power>| {
        let mut spec = spec(Tile::square(16), element, masters, None);
        if let Some(power) = power {
            spec.recurrence = Recurrence::default_for(power);
            (spec.steps, spec.power) = (spec.recurrence.default_steps(), power);
        }
        let options = MuonOptions::specs([spec]).row_normalisation(NorMuon::default());
        let built = HiMuon::builder()
            .parameter("w", &MATRIX)
            .parameter("bias", &VECTOR)
            .threads(2)
            .group_with("w", options)
            .group_with("bias", AdamWOptions::default().master_weights(masters));
        built.build().unwrap()
    };
    for power in [None, Power::new(1, 2)] {
        let mut with_masters = of(Element::Bf16, true, power);
        let mut in_f32 = of(Element::F32, false, power);
        let mut weights = numbers(8);
        let mut expected = widened(&weights);
        for step in 0..3 {
            step_narrow(&mut with_masters, &mut weights, step);
            step_wide(&mut in_f32, &mut expected, step);
        }
        assert!(
            masters(&with_masters, &weights) == bits(&expected),
            "{power:?}"
        );
    }
}

#[test]
fn a_snapshot_puts_the_masters_back() {
    let spec = spec(Tile::square(16), Element::Bf16, true, None);
    let protected = builder(spec, 0.01, true).protection(Protection::Snapshot);
    let mut optimizer = protected.backend(Failing::boxed(1, 2)).build().unwrap();
    let totals = optimizer.explain().unwrap().totals;
    let len = (MATRIX[0] * MATRIX[1], VECTOR[0]);
    // f32 momentum, two f32 moments, two bytes more for each master.
    let state = 4 * len.0 + 8 * len.1 + 2 * (len.0 + len.1);
    assert_eq!(totals.state_bytes, state as u64);
    assert_eq!(totals.snapshot_bytes, (state + 2 * (len.0 + len.1)) as u64);
    let mut weights = numbers(9);
    step_narrow(&mut optimizer, &mut weights, 0);
    let (before, state) = (weights.clone(), state_of(&optimizer));
    let failed = shared::step_narrow(&mut optimizer, &mut weights, &numbers(101));
    assert!(
        matches!(failed, Err(Error::Step(StepError::Restored { .. }))),
        "{failed:?}"
    );
    assert!(weights == before && state_of(&optimizer) == state);
}

#[test]
fn small_steps_add_up_that_bf16_weights_lose() {
    const STEPS: u64 = 60;
    let run = |masters: bool| {
        let spec = spec(Tile::square(16), Element::Bf16, masters, None);
        let mut optimizer = builder(spec, 3e-4, masters).build().unwrap();
        let mut weights = numbers(2);
        // Gradients that agree from step to step.
        for _ in 0..STEPS {
            step_narrow(&mut optimizer, &mut weights, 0);
        }
        let before = numbers(2);
        [0, 1].map(|part| {
            let pairs = weights[part].iter().zip(&before[part]);
            let moved = pairs.filter(|(after, before)| after != before).count();
            moved as f64 / before[part].len() as f64
        })
    };
    let ([with, with_bias], [without, without_bias]) = (run(true), run(false));
    println!(
        "moved: {with:.2} and {with_bias:.2}, without masters {without:.2} and {without_bias:.2}"
    );
    assert!(with > 0.3 && with_bias > 0.15, "{with} {with_bias}");
    assert!(
        without < 0.1 && without_bias < 0.1,
        "{without} {without_bias}"
    );
}

#[test]
fn a_resumed_run_has_the_same_masters() {
    let make = || {
        let spec = spec(Tile::square(16), Element::Bf16, true, None);
        builder(spec, 0.01, true).build().unwrap()
    };
    let (mut optimizer, mut weights) = (make(), numbers(3));
    for step in 0..2 {
        step_narrow(&mut optimizer, &mut weights, step);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    optimizer.save_state(&path).unwrap();
    let (mut resumed, mut copy) = (make(), weights.clone());
    resumed.load_state(&path).unwrap();
    for step in 2..4 {
        step_narrow(&mut optimizer, &mut weights, step);
        step_narrow(&mut resumed, &mut copy, step);
    }
    assert_eq!(copy, weights);
    assert!(masters(&resumed, &copy) == masters(&optimizer, &weights));

    // A run without masters goes on from the weights, and says so of both groups.
    let plain = spec(Tile::square(16), Element::Bf16, false, None);
    let mut plain = builder(plain, 0.01, false).build().unwrap();
    let report = plain.load_state(&path).unwrap();
    let told = report.differences.iter();
    let told = told.filter(|line| line.contains("master_weights"));
    assert_eq!(told.count(), 2, "{report:?}");
}

#[test]
fn weights_set_from_outside_are_taken_as_they_are() {
    let spec = spec(Tile::square(16), Element::Bf16, true, None);
    let mut optimizer = builder(spec, 0.01, true).build().unwrap();
    let mut weights = numbers(4);
    step_narrow(&mut optimizer, &mut weights, 0);
    let loaded = numbers(5);
    weights = loaded.clone();
    for (part, masters) in masters(&optimizer, &weights).iter().enumerate() {
        for (master, weight) in masters.iter().zip(&loaded[part]) {
            assert_eq!(split_master_weight(f32::from_bits(*master)).0, *weight);
        }
    }
}

#[test]
fn other_weights_are_refused() {
    let spec = spec(Tile::square(16), Element::Bf16, true, None);
    let mut optimizer = builder(spec, 0.01, true).build().unwrap();
    let mut weights = widened(&numbers(6));
    let before = weights.clone();
    let gradients = widened(&numbers(7));
    let error = shared::step_wide(&mut optimizer, &mut weights, &gradients).unwrap_err();
    assert!(error.to_string().to_lowercase().contains("bf16"), "{error}");
    assert_eq!(weights, before);
    for element in [Element::F32, Element::F16] {
        let fields = SpecFields {
            tile: Some(Tile::square(16)),
            element: Some(element),
            master_weights: Some(true),
            ..SpecFields::default()
        };
        let error = fields.resolve().unwrap_err().to_string();
        assert!(error.contains("master weights"), "{error}");
    }
}
