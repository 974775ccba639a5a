//! Every allocation, module load, copy and launch of a step fails once.

use himuon::cuda::Device;
use himuon::optimizer::{HiMuonBuilder, MuonOptions, NorMuon, Protection, StepError};
use himuon::schedule::TileSchedule;
use himuon::{Error, HiMuon, Tile};
use himuon_toolkit::emulated::Inspection;

use crate::emulator::emulated;
use crate::model::{Model, OnDevice, spec, tile};

/// Three launches and one of AdamW.
pub(crate) const ON_CHIP: &str = "tile=16 power=1/2";
/// One that lays the tables out, seven of a step, and one of AdamW.
const STREAMED: &str = "tile=full steps=1";
/// With rows normalised: six launches up to what the coarse part leaves, the map, six more, and one of AdamW.
const COUPLED: &str = "tile=16 coarse=4 fine=projected";

fn coupled() -> (Model, HiMuonBuilder) {
    let parameters: [(&str, &[usize]); 2] = [("blocks.0.q", &[45, 20]), ("blocks.0.norm", &[20])];
    let options = MuonOptions::specs([spec(COUPLED)]).row_normalisation(NorMuon::default());
    let builder = HiMuon::builder().parameters(parameters).threads(1);
    let builder = builder.group_with("blocks.*", options);
    (Model::new(&parameters, 11), builder)
}

pub(crate) fn start(text: &str, protection: Protection) -> (OnDevice, HiMuon<Device>) {
    let (model, builder) = match text {
        COUPLED => coupled(),
        _ => {
            let model = Model::mixed();
            let builder = model.builder(&[spec(text)]);
            (model, builder)
        }
    };
    let mut device = OnDevice::new(&model);
    let optimizer = device.optimizer(builder.protection(protection));
    device.load_gradients(0);
    (device, optimizer)
}

/// What a step with one fault leaves behind, as the parent reads it.
fn outcome(text: &str, protection: Protection) {
    let (mut device, mut optimizer) = start(text, protection);
    let before = device.bits();
    let stepped = optimizer.step(&mut device.parameters());
    let unchanged = device.stream.synchronize().is_ok() && device.bits() == before;
    let kind = match &stepped {
        Ok(_) => "done",
        Err(Error::Step(StepError::Torn { .. })) => "torn",
        Err(Error::Step(StepError::Restored { .. })) => "restored",
        Err(Error::Backend(_)) => "refused",
        Err(error) => panic!("{error}"),
    };
    if kind == "torn" {
        let next = optimizer.step(&mut device.parameters());
        assert!(
            matches!(next, Err(Error::Step(StepError::StillTorn { .. }))),
            "{next:?}"
        );
    }
    if kind == "refused" || kind == "restored" {
        assert_eq!(optimizer.steps_taken(), 0);
        // Momenta, moments and update numbers were left as they were, too.
        let (mut other, mut undisturbed) = start(text, Protection::None);
        for _ in 0..2 {
            device.step(&mut optimizer);
            other.step(&mut undisturbed);
        }
        assert_eq!(device.bits(), other.bits());
    }
    println!("OUTCOME {kind} unchanged={unchanged}");
}

/// Lets the n-th use of a kind fail, for n from the first one inside the step until none fails any more.
fn sweep(test: &str, (kind, from): (&str, usize), outcome: impl Fn()) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for n in from..from + 60 {
        let fault = format!("{kind}:{n}");
        let printed = emulated(test, &[("HIMUON_EMULATOR_FAIL", &fault)], &outcome);
        if std::env::var_os("HIMUON_ISOLATED_TEST").is_some() {
            return found;
        }
        // The harness prints the test's name on the same line.
        let outcome = printed.split("OUTCOME ").nth(1).unwrap();
        let line = outcome.lines().next().unwrap();
        let kind = line.split_whitespace().next().unwrap().to_owned();
        found.push((kind, line.contains("unchanged=true")));
        // Steps that are done may have found a way around the fault; after so many no fault strikes any more.
        if found.ends_with(&vec![done(); MOST_AROUND + 1]) {
            found.truncate(found.len() - MOST_AROUND - 1);
            return found;
        }
    }
    panic!("{kind} faults do not end: {found:?}")
}

fn done() -> (String, bool) {
    ("done".to_owned(), false)
}

/// Counters, clock, and workspaces of two phases: where one of them fails, all are asked for again in smaller chunks.
const MOST_AROUND: usize = 4;
/// Allocations that the test itself makes: weights and gradients.
const OWN_ALLOCATIONS: usize = 10;
/// Copies that the test itself makes: weights, gradients, gradients again, and the weights' bits.
const OWN_COPIES: usize = 20;

fn prepared(test: &str, kind: &str, from: usize, at_least: usize) {
    let found = sweep(test, (kind, from), || outcome(ON_CHIP, Protection::None));
    let refused = found.iter().filter(|(kind, _)| kind == "refused");
    assert!(
        refused.clone().all(|(_, unchanged)| *unchanged),
        "{found:?}"
    );
    // A workspace that is not to be had is asked for again, in smaller chunks.
    let around = found.iter().filter(|(kind, _)| kind == "done").count();
    assert_eq!(refused.clone().count() + around, found.len(), "{found:?}");
    assert!(around <= MOST_AROUND, "{found:?}");
    let child = std::env::var_os("HIMUON_ISOLATED_TEST").is_some();
    assert!(child || refused.count() >= at_least, "{found:?}");
}

#[test]
fn a_failed_allocation_changes_nothing() {
    let test = "faults::a_failed_allocation_changes_nothing";
    // Counters, clock, state of five parameters (two buffers each of AdamW's), tables.
    prepared(test, "allocation", OWN_ALLOCATIONS + 1, 10);
}

#[test]
fn a_failed_module_load_changes_nothing() {
    prepared(
        "faults::a_failed_module_load_changes_nothing",
        "module",
        1,
        2,
    );
}

#[test]
fn a_refused_launch_tears_the_step_and_says_so() {
    let test = "faults::a_refused_launch_tears_the_step_and_says_so";
    let found = sweep(test, ("submission", 1), || {
        outcome(ON_CHIP, Protection::None);
    });
    let child = std::env::var_os("HIMUON_ISOLATED_TEST").is_some();
    // Three of the tiles, one of AdamW.
    assert!(child || found.len() == 4, "{found:?}");
    assert!(found.iter().all(|(kind, _)| kind == "torn"), "{found:?}");
}

#[test]
fn a_snapshot_puts_every_bit_back_after_a_refused_launch() {
    let test = "faults::a_snapshot_puts_every_bit_back_after_a_refused_launch";
    let found = sweep(test, ("submission", 1), || {
        outcome(ON_CHIP, Protection::Snapshot);
    });
    let child = std::env::var_os("HIMUON_ISOLATED_TEST").is_some();
    assert!(child || found.len() == 4, "{found:?}");
    assert!(
        found
            .iter()
            .all(|(kind, unchanged)| kind == "restored" && *unchanged),
        "{found:?}"
    );
}

/// Bases and row moments are put back, too: the sixteenth launch writes the one, the 25th the other, and two more steps are those
/// of an optimizer that nothing has disturbed.
#[test]
fn a_snapshot_puts_bases_and_row_moments_back() {
    let test = "faults::a_snapshot_puts_bases_and_row_moments_back";
    let found = sweep(test, ("submission", 17), || {
        outcome(COUPLED, Protection::Snapshot);
    });
    let child = std::env::var_os("HIMUON_ISOLATED_TEST").is_some();
    assert!(child || found.len() == 12, "{found:?}");
    let restored = |(kind, unchanged): &(String, bool)| kind == "restored" && *unchanged;
    assert!(found.iter().all(restored), "{found:?}");
}

/// A strided weight of many rows is one copy, where the device takes its pitch; else each row is one.
#[test]
fn a_snapshot_of_strided_rows_is_one_copy_and_is_put_back() {
    const ROWS: u64 = 50;
    let test = "faults::a_snapshot_of_strided_rows_is_one_copy_and_is_put_back";
    // The first launch of the second step is refused.
    for unit in ["1", "512"] {
        let environment = [
            ("HIMUON_EMULATOR_PITCH", unit),
            ("HIMUON_EMULATOR_FAIL", "submission:2"),
        ];
        emulated(test, &environment, || {
            let emulator = Inspection::open().unwrap();
            let model = Model::new(&[("blocks.0.q.weight", &[ROWS as usize, 20])], 3);
            let mut device = OnDevice::strided(0, &model, vec![7]);
            let builder = model.builder(&[tile(16)]);
            let mut optimizer = device.optimizer(builder.protection(Protection::Snapshot));
            device.step(&mut optimizer);
            let before = device.bits();
            let used = || emulator.uses("copy").unwrap();
            let copies_before = used();
            let stepped = optimizer.step(&mut device.parameters());
            assert!(
                matches!(stepped, Err(Error::Step(StepError::Restored { .. }))),
                "{stepped:?}"
            );
            // Weight and momentum, there and back; the momentum is contiguous.
            let any_pitch = std::env::var("HIMUON_EMULATOR_PITCH").unwrap() == "1";
            let of_weight = if any_pitch { 1 } else { 1 + ROWS };
            assert_eq!(used() - copies_before, 2 * (of_weight + 1));
            // `bits` looks at what lies between the rows, too.
            assert_eq!(device.bits(), before);
        });
        if std::env::var_os("HIMUON_ISOLATED_TEST").is_some() {
            return;
        }
    }
}

#[test]
fn a_copy_that_fails_changes_nothing() {
    let test = "faults::a_copy_that_fails_changes_nothing";
    prepared(test, "copy", OWN_COPIES + 1, 5);
}

#[test]
fn a_kernel_that_faults_is_found_by_the_next_step() {
    let test = "faults::a_kernel_that_faults_is_found_by_the_next_step";
    emulated(test, &[("HIMUON_EMULATOR_FAIL", "launch:2")], || {
        let (mut device, mut optimizer) = start(ON_CHIP, Protection::None);
        optimizer.step(&mut device.parameters()).unwrap();
        let _ = device.stream.synchronize();
        let next = optimizer.step(&mut device.parameters());
        let Err(Error::Step(StepError::Lost { source })) = &next else {
            panic!("{next:?}");
        };
        assert!(source.to_string().contains("start a new one"), "{source}");
        let after = optimizer.step(&mut device.parameters());
        assert!(
            matches!(after, Err(Error::Step(StepError::StillTorn { .. }))),
            "{after:?}"
        );
    });
}

#[test]
fn a_sequence_of_launches_is_refused_before_it_begins_and_restored_within() {
    let test = "faults::a_sequence_of_launches_is_refused_before_it_begins_and_restored_within";
    let found = sweep(test, ("submission", 1), || {
        outcome(STREAMED, Protection::Snapshot);
    });
    if std::env::var_os("HIMUON_ISOLATED_TEST").is_some() {
        return;
    }
    let kinds: Vec<_> = found.iter().map(|(kind, _)| kind.as_str()).collect();
    // The tables of tiles are filled before the step begins.
    assert_eq!(kinds, [vec!["refused"], vec!["restored"; 8]].concat());
    assert!(found.iter().all(|(_, unchanged)| *unchanged), "{found:?}");
}

/// A kernel that faults destroys its context on real hardware, and on the emulated one: nothing can be put back, and
/// nothing can be read that would be mistaken for a result.
#[test]
fn a_kernel_that_faults_takes_the_snapshot_with_it() {
    let test = "faults::a_kernel_that_faults_takes_the_snapshot_with_it";
    for streams in ["lazy", "eager"] {
        let environment = [
            ("HIMUON_EMULATOR_FAIL", "launch:2"),
            ("HIMUON_EMULATOR_STREAMS", streams),
        ];
        emulated(test, &environment, || {
            let (mut device, mut optimizer) = start(ON_CHIP, Protection::Snapshot);
            let mut stepped = optimizer.step(&mut device.parameters());
            // Found by the launch that follows, or only by the next step.
            let eager = std::env::var("HIMUON_EMULATOR_STREAMS").unwrap() == "eager";
            assert_eq!(stepped.is_err(), eager, "{stepped:?}");
            if !eager {
                let _ = device.stream.synchronize();
                stepped = optimizer.step(&mut device.parameters());
            }
            assert!(
                matches!(stepped, Err(Error::Step(StepError::Lost { .. }))),
                "{stepped:?}"
            );
            let after = optimizer.step(&mut device.parameters());
            assert!(
                matches!(after, Err(Error::Step(StepError::StillTorn { .. }))),
                "{after:?}"
            );
            let weights = device.weights.iter();
            let mut reads = weights.map(|weight| device.stream.clone_dtoh(weight));
            assert!(reads.all(|read| read.is_err()));
        });
        if std::env::var_os("HIMUON_ISOLATED_TEST").is_some() {
            return;
        }
    }
}

/// A capture with one fault, and what its graph does: two phases, whose workspaces differ.
fn capture_outcome() {
    const STEPS: u64 = 2;
    let model = Model::new(&[("blocks.0.experts", &[12, 20, 30])], 5);
    let specs = ["tile=16 power=1/2", "tile=full power=1/2"].map(spec);
    let build = || {
        let tiles = [(0, Tile::square(16)), (1, Tile::Full)];
        let schedule = TileSchedule::list(tiles).unwrap();
        model.builder(&specs).schedule(schedule)
    };
    let mut eager = OnDevice::new(&model);
    let mut device = OnDevice::new(&model);
    let unlimited = device.optimizer(build()).plan(0).unwrap().workspace_bytes;
    let plan = |budget: u64, step: u64| {
        let built = build().memory_budget(budget).build_on(device.backend());
        Some(built.ok()?.plan(step).ok()?.workspace_bytes)
    };
    // A budget under which the second phase wants more than the first, and half of that is less, but does.
    let budgets = (100..200)
        .step_by(4)
        .map(|percent| unlimited * percent / 100);
    let fits = |budget: &u64| {
        let wanted = plan(*budget, 0).zip(plan(*budget, 1));
        wanted.is_some_and(|(first, second)| {
            let half = second / 2;
            first < second && half < first && plan(half, 1).is_some()
        })
    };
    let budget = budgets.into_iter().find(fits).unwrap();
    let mut optimizer = device.optimizer(build().memory_budget(budget));
    let before = device.bits();
    let captured = optimizer.capture(&mut device.parameters(), 0..STEPS);
    let (kind, mut graph) = match captured {
        Ok(graph) => ("done", graph),
        Err(Error::Backend(_)) => {
            let again = optimizer.capture(&mut device.parameters(), 0..STEPS);
            ("refused", again.unwrap())
        }
        Err(error) => panic!("{error}"),
    };
    let unchanged = device.bits() == before && optimizer.steps_taken() == 0;
    let mut one_by_one = eager.optimizer(build());
    for step in 0..STEPS {
        // A fault that the capture did not meet strikes here, once.
        if eager.try_step(&mut one_by_one).is_err() {
            eager.step(&mut one_by_one);
        }
        device.load_gradients(step);
        optimizer
            .replay(&mut graph, &mut device.parameters())
            .unwrap();
    }
    assert_eq!(device.bits(), eager.bits());
    println!("OUTCOME {kind} unchanged={}", unchanged && kind != "done");
}

#[test]
fn a_capture_that_runs_out_of_memory_changes_nothing_or_holds_the_same_steps() {
    let test = "faults::a_capture_that_runs_out_of_memory_changes_nothing_or_holds_the_same_steps";
    // Two weights and two gradients are the test's own.
    let found = sweep(test, ("allocation", 5), capture_outcome);
    if std::env::var_os("HIMUON_ISOLATED_TEST").is_some() {
        return;
    }
    let refused = found.iter().filter(|(kind, _)| kind == "refused");
    assert!(
        refused.clone().all(|(_, unchanged)| *unchanged),
        "{found:?}"
    );
    let around = found.iter().filter(|(kind, _)| kind == "done").count();
    assert_eq!(around, MOST_AROUND, "{found:?}");
    assert!(refused.count() >= 8, "{found:?}");
}
