//! Models, schedules and budgets drawn at random: the CPU's result, within the budget.

use himuon::schedule::TileSchedule;
use himuon::{KernelSpec, Tile};
use himuon_tests::random::Random;
use himuon_toolkit::emulated::Inspection;

use crate::emulator::emulated;
use crate::model::{Model, OnDevice, spec, update_gap};

const CASES: u64 = 8;
const STEPS: u64 = 3;

/// As in `steps.rs`, over all cases. Measured: 1.5e-5.
const GAP: f64 = 5e-5;

struct Case {
    model: Model,
    specs: Vec<KernelSpec>,
    schedule: TileSchedule,
    /// Part of the unlimited workspace that is allowed; the largest matrix alone must fit.
    budget: f64,
}

impl Case {
    fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut parameters = Vec::new();
        for index in 0..1 + random.below(4) {
            let (rows, columns) = (1 + random.below(50), 2 + random.below(50));
            let shape = match random.below(3) {
                0 => (
                    format!("blocks.{index}.experts"),
                    vec![1 + random.below(3), rows, columns],
                ),
                1 => (format!("blocks.{index}.weight"), vec![rows + 1, columns]),
                _ => (format!("embed.{index}"), vec![rows, columns]),
            };
            parameters.push(shape);
        }
        parameters.push(("blocks.9.weight".to_owned(), vec![33, 17]));
        let power = ["", " power=1/2"][random.below(2)];
        let tiles = [16, 32].map(|tile| spec(&format!("tile={tile}{power}")));
        let period = 1 + random.below(3) as u64;
        let schedule =
            TileSchedule::periodic(Tile::square(16), Tile::square(32), period, 0.7).unwrap();
        let named: Vec<_> = parameters
            .iter()
            .map(|(n, s)| (n.as_str(), s.as_slice()))
            .collect();
        Case {
            model: Model::new(&named, 100 * seed),
            specs: tiles.to_vec(),
            schedule,
            budget: random.uniform(),
        }
    }
}

fn run(seed: u64) {
    let Case {
        mut model,
        specs,
        schedule,
        budget,
    } = Case::draw(seed);
    let start = model.weights.clone();
    let build = |model: &Model| model.builder(&specs).schedule(schedule.clone());
    let emulator = Inspection::open().unwrap();
    let live = || emulator.memory(0).unwrap().live_bytes;
    let mut free = OnDevice::new(&model);
    let mut unlimited = free.optimizer(build(&model));
    let plans = (0..STEPS).map(|step| unlimited.plan(step).unwrap());
    let wanted = plans.map(|plan| plan.workspace_bytes).max().unwrap();
    let before = live();
    (0..STEPS).for_each(|_| drop(free.step(&mut unlimited)));
    let held_without = live() - before;

    let mut device = OnDevice::new(&model);
    let mut allowed = (budget * wanted as f64) as u64;
    let mut on_device = loop {
        match build(&model)
            .memory_budget(allowed)
            .build_on(device.backend())
        {
            Ok(optimizer) => break optimizer,
            // Too little for one matrix: the error names what it needs.
            Err(himuon::Error::Plan(himuon::plan::PlanError::Budget { needed, .. })) => {
                assert!(needed > allowed);
                allowed = needed;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let before = live();
    let mut on_cpu = build(&model).build().unwrap();
    let mut launches = 0;
    for step in 0..STEPS {
        model.step_on_cpu(&mut on_cpu);
        let planned = match on_device.plan(step) {
            Ok(plan) => plan,
            // The other tile of the schedule may need more than the first.
            Err(error) => return println!("case {seed}: {error}"),
        };
        assert!(planned.workspace_bytes <= allowed);
        launches += device.step(&mut on_device).launches as u64;
    }
    // Modules and state are the same; each chunk of each phase has two tables, rounded up to 256 bytes.
    let held = live() - before;
    let saved = wanted - allowed.min(wanted);
    assert!(
        held + saved <= held_without + 2 * 256 * launches,
        "case {seed}: {held} bytes held, {held_without} without a budget, {allowed} of {wanted} allowed"
    );
    assert_eq!(
        device.bits(),
        free.bits(),
        "case {seed}: chunks change no bit"
    );
    let gap = update_gap(&start, &model.weights, &device.read());
    println!("measured: case {seed}: gap {gap:.1e}, {allowed} of {wanted} bytes");
    assert!(gap < GAP, "case {seed}: {gap:e}");
}

#[test]
fn any_model_gives_the_cpu_s_result_within_its_budget() {
    let test = "properties::any_model_gives_the_cpu_s_result_within_its_budget";
    emulated(test, &[], || (0..CASES).for_each(run));
}
