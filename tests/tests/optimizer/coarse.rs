//! Two levels in the optimizer: state, schedules, plans and words.

use himuon::optimizer::{CoarseSchedule, HiMuonBuilder, MomentumConvention, MuonOptions, View};
use himuon::reference::{Matrix, ReferenceMap, StepState, seeded_basis, two_level_step};
use himuon::schedule::TileSchedule;
use himuon::templates::{Coarse, Fine};
use himuon::{HiMuon, KernelSpec, Tile};

use crate::model::{Model, Normal};
use crate::refusals::state_of;

const STEPS: u64 = 7;

fn coupled(rank: u32, fine: Fine) -> KernelSpec {
    KernelSpec {
        coarse: Coarse::Polar { rank, fine },
        ..KernelSpec::new(Tile::square(16))
    }
}

/// Every form, a stack, full steps in between, a basis that stands still, and a rank that shrinks and grows.
fn configured(model: &Model) -> HiMuonBuilder {
    let options = |fine| MuonOptions::specs([coupled(8, fine), KernelSpec::new(Tile::Full)]);
    let periodic = TileSchedule::periodic(Tile::square(16), Tile::Full, 4, 0.5).unwrap();
    let ranks = CoarseSchedule::refresh_every(2).ranks([(2, 3), (5, 6)]);
    model
        .builder()
        .group_with("*.experts", options(Fine::Projected).view(View::Stack))
        .group_with("*.mlp.*", options(Fine::Fused).coarse_schedule(ranks))
        .group_with("blocks.*", options(Fine::Projected).schedule(periodic))
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
        whole.step(&mut optimizer);
    }
    let final_state = state_of(&optimizer);
    for (step, mut model) in (0..STEPS).zip(kept) {
        let mut resumed = configured(&model).build().unwrap();
        let report = resumed.load_state(path(step)).unwrap();
        assert!(report.differences.is_empty(), "{:?}", report.differences);
        while resumed.steps_taken() < STEPS {
            model.step(&mut resumed);
        }
        assert_eq!(model.bits(), whole.bits(), "resumed at step {step}");
        assert!(state_of(&resumed) == final_state, "resumed at step {step}");
    }
}

#[test]
fn the_basis_is_state_with_a_column_for_each_rank() {
    let mut model = Model::mixed();
    let mut optimizer = configured(&model).build().unwrap();
    model.step(&mut optimizer);
    let bytes = state_of(&optimizer);
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| tensors.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("blocks.0.mlp.experts.coarse_basis"), [3, 30, 8]);
    assert_eq!(shape("blocks.0.attn.q.weight.coarse_basis"), [1, 24, 8]);
    // 8 x 27: two tiles side by side.
    assert_eq!(shape("blocks.0.conv.weight.coarse_basis"), [1, 27, 8]);
    let explanation = optimizer.explain().unwrap();
    let experts = explanation
        .parameters
        .iter()
        .find(|p| p.name == "blocks.0.mlp.experts");
    assert_eq!(experts.unwrap().state_bytes, 4 * 3 * (20 * 30 + 30 * 8));
    let text = explanation.to_string();
    assert!(text.contains("operations an element: "), "{text}");
    assert!(text.contains("of the coarse part"), "{text}");
    assert!(
        text.contains("refresh every 2 steps, rank 3 from step 2, 6 from step 5"),
        "{text}"
    );
}

/// Momentum of all, whether it is heavy-ball, whether it looks ahead.
type Way = (f64, MomentumConvention, bool);

/// Frobenius distance of the weights from those of the step in f64 after three steps, relative to the way that they went.
fn distance_from_reference(
    fine: Fine,
    (factor, own): (Option<f64>, Option<f64>),
    (mu, convention, nesterov): Way,
) -> f64 {
    let mut model = Model::new(&[("w", &[50, 40])]);
    let spec = coupled(8, fine);
    let mut options = MuonOptions::specs([spec.clone()])
        .coarse_schedule(CoarseSchedule::refresh_every(2))
        .momentum(mu)
        .convention(convention)
        .nesterov(nesterov);
    if let Some(factor) = factor {
        options = options.coarse_factor(factor);
    }
    if let Some(own) = own {
        options = options.coarse_momentum(own);
    }
    let mut optimizer = model.builder().group_with("w", options).build().unwrap();
    let matrix = |numbers: &[f32]| Matrix::from_f32(50, 40, numbers);
    let mut state = StepState {
        weight: matrix(&model.weights[0]),
        momentum: Matrix::zeros(50, 40),
        row_moments: None,
    };
    let before = state.weight.clone();
    let mut basis = seeded_basis(40, 8);
    let map = ReferenceMap::new(&spec).unwrap();
    let c = match convention {
        MomentumConvention::HeavyBall => 1.0,
        MomentumConvention::MovingAverage => 1.0 - mu,
    };
    let (alpha, beta) = if nesterov { (c, mu) } else { (0.0, 1.0) };
    let own = own.unwrap_or(mu.min(0.8));
    let scalars = himuon::launch::GroupScalars {
        learning_rate: 0.02,
        weight_decay: 0.1,
        mu: mu as f32,
        c: c as f32,
        alpha: alpha as f32,
        beta: beta as f32,
        scale_factor: 0.2,
        scale: himuon::launch::ScaleRule::Exact,
        coarse_factor: factor.unwrap_or(0.5) as f32,
        captured_decay: ((1.0 - own / mu) / beta) as f32,
    };
    for step in 0..3 {
        let gradient = matrix(&model.gradients(step)[0]);
        model.step(&mut optimizer);
        let refresh = step % 2 == 0;
        two_level_step(&map, &scalars, &gradient, &mut state, &mut basis, refresh).unwrap();
    }
    let moved = state.weight.combined(1.0, -1.0, &before).norm();
    let found = matrix(&model.weights[0]);
    found.combined(1.0, -1.0, &state.weight).norm() / moved
}

#[test]
fn steps_are_those_of_the_reference() {
    use MomentumConvention::{HeavyBall, MovingAverage};
    let usual = (0.95, HeavyBall, true);
    for (fine, factor, own, way) in [
        (Fine::Projected, None, None, usual),
        (Fine::Fused, None, None, usual),
        (Fine::Fused, Some(0.8), Some(0.7), usual),
        (Fine::Projected, None, Some(0.9), usual),
        (Fine::Fused, None, Some(0.95), usual),
        (Fine::Nothing, None, Some(0.9), usual),
        (Fine::Fused, None, None, (0.95, MovingAverage, true)),
        (Fine::Projected, None, None, (0.9, HeavyBall, false)),
        (Fine::Fused, None, None, (0.9, MovingAverage, false)),
        (Fine::Fused, None, None, (0.7, HeavyBall, true)),
    ] {
        let error = distance_from_reference(fine, (factor, own), way);
        // Frobenius, Gaussian, relative to the way the weight went; worst measured 1.3e-5, of the coarse part alone.
        assert!(error < 4e-5, "{fine:?} {way:?}: {error:e}");
    }
}

#[test]
fn a_matrix_that_is_not_finite_is_counted_and_named() {
    let mut model = Model::new(&[("w", &[40, 40]), ("v", &[40, 40])]);
    let options = MuonOptions::specs([coupled(8, Fine::Projected)]);
    let mut optimizer = model.builder().group_with("*", options).build().unwrap();
    let mut gradients = model.gradients(0);
    gradients[0][5] = f32::NAN;
    let report = model.step_with(&mut optimizer, &gradients).unwrap();
    assert_eq!((report.uncoupled_matrices, report.non_finite_tiles), (1, 1));
    let text = report.to_string();
    assert!(
        text.contains("1 matrices without their coarse part, which was not finite"),
        "{text}"
    );
    assert_eq!(model.step(&mut optimizer).uncoupled_matrices, 0);
}

/// A matrix of rank 4 with noise: four columns of eight hold most of the nuclear norm.
#[test]
fn diagnostics_say_what_the_basis_holds() {
    let mut model = Model::new(&[("w", &[60, 48])]);
    let options = MuonOptions::specs([coupled(8, Fine::Fused)]);
    let builder = model.builder().group_with("w", options).diagnostics(true);
    let mut optimizer = builder.build().unwrap();
    let mut normal = Normal::new(3);
    let (left, right) = (normal.vector(60 * 4), normal.vector(4 * 48));
    let mut gradient = normal.vector(60 * 48);
    for (at, value) in gradient.iter_mut().enumerate() {
        let (i, j) = (at / 48, at % 48);
        let product: f32 = (0..4).map(|k| left[i * 4 + k] * right[k * 48 + j]).sum();
        *value = product + 1e-2 * *value;
    }
    for _ in 0..3 {
        model
            .step_with(&mut optimizer, &[gradient.clone()])
            .unwrap();
    }
    let figures = optimizer.coarse_figures(0)[0];
    assert!(
        figures.nuclear_norm > figures.norm && figures.collapsed == 0,
        "{figures:?}"
    );
    let share = optimizer.captured_shares(0)[0];
    assert!((0.9..1.0).contains(&share), "{share}");
}

/// The bound is that of the rank in force, not of the declared one, at which nothing would be left.
#[test]
fn the_share_held_is_that_of_the_rank_in_force() {
    let mut model = Model::new(&[("w", &[40, 40])]);
    let options = MuonOptions::specs([coupled(64, Fine::Fused)])
        .coarse_schedule(CoarseSchedule::default().ranks([(0, 8)]));
    let builder = model.builder().group_with("w", options).diagnostics(true);
    let mut optimizer = builder.build().unwrap();
    model.step(&mut optimizer);
    assert_eq!(optimizer.coarse_figures(0)[0].rank, 8);
    let share = optimizer.captured_shares(0)[0];
    assert!((0.1..0.6).contains(&share), "{share}");
}

#[test]
fn rank_zero_is_tiles_alone() {
    let run = |options: MuonOptions| {
        let mut model = Model::new(&[("w", &[50, 40])]);
        let mut optimizer = model.builder().group_with("w", options).build().unwrap();
        for _ in 0..3 {
            model.step(&mut optimizer);
        }
        model.bits()
    };
    let alone = run(MuonOptions::specs([KernelSpec::new(Tile::square(16))]));
    let coupled = || MuonOptions::specs([coupled(8, Fine::Fused)]);
    let none = CoarseSchedule::default().ranks([(0, 0)]);
    assert_eq!(run(coupled().coarse_schedule(none)), alone);
    assert_ne!(run(coupled()), alone);
}

#[test]
fn a_budget_holds_the_coarse_part_too() {
    let model = Model::new(&[("a", &[80, 64]), ("b", &[80, 64]), ("c", &[64, 80])]);
    let options = || MuonOptions::specs([coupled(16, Fine::Projected)]);
    let build = |builder: HiMuonBuilder| -> Result<HiMuon, himuon::Error> {
        builder.group_with("*", options()).build()
    };
    let free = build(model.builder()).unwrap();
    let all = free.plan(0).unwrap();
    assert_eq!(all.launches[0].chunks.len(), 1);
    let budget = all.workspace_bytes - 1;
    let tight = build(model.builder().memory_budget(budget)).unwrap();
    let plan = tight.plan(0).unwrap();
    assert!(plan.launches[0].chunks.len() > 1 && plan.workspace_bytes <= budget);
    assert!(build(model.builder().memory_budget(1024)).is_err());
    let step = |mut optimizer: HiMuon| {
        let mut model = model.clone();
        model.step(&mut optimizer);
        model.bits()
    };
    assert_eq!(step(free), step(tight));
}

#[test]
fn a_basis_that_never_moves_is_refused() {
    let model = Model::new(&[("w", &[50, 40])]);
    let options = MuonOptions::specs([coupled(8, Fine::Fused)])
        .coarse_schedule(CoarseSchedule::refresh_every(0));
    let error = model
        .builder()
        .group_with("w", options)
        .build()
        .unwrap_err();
    assert!(
        error.to_string().contains("refreshed every 0 steps"),
        "{error}"
    );
}

#[test]
fn a_factor_or_momentum_of_the_coarse_part_that_cannot_be_is_refused() {
    for momentum in [-0.1, 0.48, 1.0, f64::NAN] {
        let model = Model::new(&[("w", &[50, 40])]);
        let options = MuonOptions::specs([coupled(8, Fine::Fused)]).coarse_momentum(momentum);
        let built = model.builder().group_with("w", options).build();
        let text = built.unwrap_err().to_string();
        assert!(
            text.contains("the momentum of the coarse part is"),
            "{text}"
        );
    }
    for factor in [0.0, -0.5, f64::NAN, f64::INFINITY] {
        let model = Model::new(&[("w", &[50, 40])]);
        let options = MuonOptions::specs([coupled(8, Fine::Fused)]).coarse_factor(factor);
        let built = model.builder().group_with("w", options).build();
        let text = built.unwrap_err().to_string();
        assert!(
            text.contains("the factor of the coarse part is") && text.contains("above 0"),
            "{text}"
        );
    }
}
