//! Tiles and learning rates that change from step to step.

use himuon::optimizer::{AdamWOptions, LearningRate, MuonOptions};
use himuon::schedule::{Phase, ScheduleError, TileSchedule};
use himuon::{Error, KernelSpec, Tile};

use crate::model::Model;

fn both() -> MuonOptions {
    MuonOptions::specs([Tile::square(16), Tile::Full].map(KernelSpec::new))
}

fn model() -> Model {
    Model::new(&[("a", &[40, 24]), ("b", &[24, 24])])
}

/// Weights after `steps` steps under a schedule.
fn after(schedule: TileSchedule, steps: u64) -> Vec<u32> {
    let mut model = model();
    let mut optimizer = model
        .builder()
        .group_with("*", both())
        .schedule(schedule)
        .build()
        .unwrap();
    for _ in 0..steps {
        model.step(&mut optimizer);
    }
    model.bits()
}

#[test]
fn a_periodic_schedule_is_the_same_as_its_steps_by_hand() {
    let periodic = TileSchedule::periodic(Tile::square(16), Tile::Full, 3, 0.25).unwrap();
    let by_hand = TileSchedule::function(|step| match step % 3 {
        0 => Phase {
            tile: Some(Tile::Full),
            learning_rate_factor: 0.25,
        },
        _ => Phase::tile(Tile::square(16)),
    });
    let bits = after(periodic, 5);
    assert_eq!(bits, after(by_hand, 5));
    let other_factor = TileSchedule::periodic(Tile::square(16), Tile::Full, 3, 0.5).unwrap();
    assert_ne!(bits, after(other_factor, 5));
    assert_ne!(bits, after(TileSchedule::constant(Tile::square(16)), 5));
}

#[test]
fn a_list_changes_the_plan_at_its_steps() {
    let list = TileSchedule::list([(0, Tile::Full), (2, Tile::square(16))]).unwrap();
    let model = model();
    let optimizer = model
        .builder()
        .group_with("*", both())
        .schedule(list)
        .build()
        .unwrap();
    let tiles: Vec<_> = (0..4)
        .map(|step| optimizer.plan(step).unwrap().tiles())
        .collect();
    // 40 x 24 at T = 16: 3 x 2 tiles; 24 x 24: 2 x 2.
    assert_eq!(tiles, [2, 2, 10, 10]);
}

#[test]
fn an_undeclared_tile_is_refused_at_build_where_it_is_known() {
    let list = TileSchedule::list([(0, Tile::Full), (100, Tile::square(64))]).unwrap();
    let built = model()
        .builder()
        .group_with("*", both())
        .schedule(list)
        .build();
    let Err(Error::Schedule(ScheduleError::UndeclaredTile { step, tile, .. })) = built else {
        panic!("{built:?}");
    };
    assert_eq!((step, tile.as_str()), (100, "64"));
}

#[test]
fn an_undeclared_tile_of_a_function_is_refused_before_its_step() {
    let late = TileSchedule::function(|step| {
        Phase::tile(if step < 2 {
            Tile::Full
        } else {
            Tile::square(64)
        })
    });
    let mut model = model();
    let mut optimizer = model
        .builder()
        .group_with("*", both())
        .schedule(late)
        .build()
        .unwrap();
    model.step(&mut optimizer);
    model.step(&mut optimizer);
    let bits = model.bits();
    let gradients = model.gradients(2);
    let refused = model.step_with(&mut optimizer, &gradients);
    assert!(
        matches!(
            refused,
            Err(Error::Schedule(ScheduleError::UndeclaredTile {
                step: 2,
                ..
            }))
        ),
        "{refused:?}"
    );
    assert_eq!(model.bits(), bits);
    assert_eq!(optimizer.steps_taken(), 2);
    // What was reached can still be saved, and resumed.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    optimizer.save_state(&path).unwrap();
    let mut resumed = model.builder().group_with("*", both()).build().unwrap();
    assert_eq!(resumed.load_state(&path).unwrap().step, 2);
    assert!(model.step(&mut resumed).launches > 0);
}

#[test]
fn a_tile_that_the_budget_has_no_room_for_is_refused_at_build_where_it_is_known() {
    let model = Model::new(&[("w", &[256, 256])]);
    let building = |schedule: TileSchedule| {
        let builder = model.builder().group_with("*", both()).schedule(schedule);
        builder.memory_budget(256 << 10).build()
    };
    building(TileSchedule::constant(Tile::square(16))).unwrap();
    let list = TileSchedule::list([(0, Tile::square(16)), (100, Tile::Full)]).unwrap();
    let periodic = TileSchedule::periodic(Tile::Full, Tile::square(16), 5, 1.0).unwrap();
    for late in [list, periodic] {
        let error = building(late).unwrap_err();
        assert!(matches!(error, Error::Plan(_)), "{error:?}");
    }
}

/// A momentum that is set is one that the optimizer was built with; so for a group's own rate.
#[test]
fn momentum_and_rates_of_groups_change_between_steps() {
    let building = |model: &Model, momentum: f64, rate: LearningRate| {
        let options = both().momentum(momentum).learning_rate(rate);
        model.builder().group_with("*", options).build().unwrap()
    };
    let (warm, full) = (LearningRate::Own(0.001), LearningRate::Factor(0.5));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut rebuilt = model();
    let mut optimizer = building(&rebuilt, 0.85, warm);
    rebuilt.step(&mut optimizer);
    optimizer.save_state(&path).unwrap();
    let mut optimizer = building(&rebuilt, 0.95, full);
    optimizer.load_state(&path).unwrap();
    rebuilt.step(&mut optimizer);

    let mut set = model();
    let mut optimizer = building(&set, 0.85, warm);
    set.step(&mut optimizer);
    let before = set.bits();
    optimizer.set_momentum("*", 0.95).unwrap();
    optimizer.set_group_learning_rate("*", full).unwrap();
    set.step(&mut optimizer);
    assert_eq!(set.bits(), rebuilt.bits());
    assert_ne!(set.bits(), before);

    for (error, says) in [
        (optimizer.set_momentum("*", 1.0), "the momentum is 1"),
        (optimizer.set_momentum("b*", 0.5), "b*"),
        (
            optimizer.set_momentum("(rest)", 0.5),
            "name a group of tiles",
        ),
        (
            optimizer.set_group_learning_rate("*", LearningRate::Own(-1.0)),
            "learning rate",
        ),
    ] {
        let text = error.unwrap_err().to_string();
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn betas_change_between_steps() {
    let building = |model: &Model, first: f64, second: f64| {
        let options = AdamWOptions::default().betas(first, second);
        model.builder().group_with("*", options).build().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut rebuilt = model();
    let mut optimizer = building(&rebuilt, 0.9, 0.99);
    rebuilt.step(&mut optimizer);
    optimizer.save_state(&path).unwrap();
    let mut optimizer = building(&rebuilt, 0.8, 0.95);
    optimizer.load_state(&path).unwrap();
    rebuilt.step(&mut optimizer);

    let mut set = model();
    let mut optimizer = building(&set, 0.9, 0.99);
    set.step(&mut optimizer);
    optimizer.set_betas("*", 0.8, 0.95).unwrap();
    set.step(&mut optimizer);
    assert_eq!(set.bits(), rebuilt.bits());
    let text = optimizer.set_betas("*", 0.8, 1.0).unwrap_err().to_string();
    assert!(text.contains("beta"), "{text}");
    let mut tiled = set.builder().group_with("*", both()).build().unwrap();
    let text = tiled.set_betas("*", 0.8, 0.9).unwrap_err().to_string();
    assert!(text.contains("has no moments"), "{text}");
}

/// Tiles, and AdamW for what they leave, under one pattern.
#[test]
fn groups_of_one_pattern_are_set_together() {
    let parameters: [(&str, &[usize]); 2] = [("w", &[8, 8]), ("norm", &[8])];
    let building = |model: &Model, tiles: MuonOptions, adamw: AdamWOptions| {
        let builder = model.builder().group_with("*", tiles);
        builder.group_with("*", adamw).build().unwrap()
    };
    let adamw = |first, second| AdamWOptions::default().betas(first, second);
    let tiles = || MuonOptions::specs([KernelSpec::new(Tile::square(4))]);

    let mut rebuilt = Model::new(&parameters);
    let (decaying, moments) = (tiles().weight_decay(0.25), adamw(0.8, 0.95));
    let mut optimizer = building(&rebuilt, decaying.momentum(0.5), moments.weight_decay(0.25));
    rebuilt.step(&mut optimizer);

    let mut set = Model::new(&parameters);
    let mut optimizer = building(&set, tiles(), adamw(0.9, 0.99));
    optimizer.set_betas("*", 0.8, 0.95).unwrap();
    optimizer.set_momentum("*", 0.5).unwrap();
    optimizer.set_weight_decay("*", 0.25).unwrap();
    set.step(&mut optimizer);
    assert_eq!(set.bits(), rebuilt.bits());
}

#[test]
fn groups_follow_the_optimizers_rate_unless_they_have_their_own() {
    let run = |rate: f64, a: LearningRate| {
        let mut model = model();
        let mut optimizer = model
            .builder()
            .group_with("a", both().learning_rate(a))
            .group_with("b", both())
            .build()
            .unwrap();
        optimizer.set_learning_rate(rate);
        model.step(&mut optimizer);
        model.weights
    };
    let reference = run(0.01, LearningRate::Factor(1.0));
    let own = run(0.02, LearningRate::Own(0.01));
    assert_eq!(own[0], reference[0]);
    assert_ne!(own[1], reference[1]);
    let factor = run(0.02, LearningRate::Factor(0.5));
    assert_eq!(factor[0], reference[0]);
}
