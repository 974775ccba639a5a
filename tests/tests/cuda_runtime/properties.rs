//! Models, schedules and budgets drawn at random: the CPU's result, within the budget.

use himuon::cuda::Device;
use himuon::optimizer::HiMuonBuilder;
use himuon::plan::PlanError;
use himuon::schedule::TileSchedule;
use himuon::{Error, HiMuon, KernelSpec, Tile};
use himuon_tests::random::Random;
use himuon_toolkit::emulated::Inspection;

use crate::emulator::emulated;
use crate::model::{Model, OnDevice, spec, update_gap};

const CASES: u64 = 8;
const STEPS: u64 = 3;

/// As in `steps.rs`, over all cases. Measured: 1.0e-5.
const GAP: f64 = 2e-5;

struct Case {
    model: Model,
    /// Numbers between two rows of each parameter's tensors.
    gaps: Vec<usize>,
    specs: Vec<KernelSpec>,
    schedule: TileSchedule,
    /// Part of the unlimited workspace that is allowed; one tile alone must fit.
    budget: f64,
}

impl Case {
    fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut parameters = Vec::new();
        let mut gaps = Vec::new();
        for index in 0..1 + random.below(4) {
            let (rows, columns) = (2 + random.below(50), 2 + random.below(50));
            let (name, shape) = match random.below(4) {
                0 | 1 => (
                    format!("blocks.{index}.experts"),
                    vec![1 + random.below(3), rows, columns],
                ),
                2 => (format!("blocks.{index}.weight"), vec![rows, columns]),
                _ => (format!("embed.{index}"), vec![rows, columns]),
            };
            // AdamW takes contiguous tensors.
            let strided = name.starts_with("blocks") && random.below(2) == 0;
            gaps.push(if strided { 1 + random.below(9) } else { 0 });
            parameters.push((name, shape));
        }
        parameters.push(("blocks.9.weight".to_owned(), vec![33, 17]));
        gaps.push(random.below(2) * 3);
        // Whole matrices, powers above 0 and coarse parts take workspace.
        let (tile, power) = [
            (Tile::square(32), ""),
            (Tile::square(32), " power=1/2"),
            (Tile::Full, ""),
            (Tile::Full, " power=1/2"),
            (Tile::square(32), " coarse=5 fine=fused"),
            (Tile::square(32), " coarse=4 fine=projected"),
        ][random.below(6)];
        let specs = [Tile::square(16), tile].map(|tile| KernelSpec {
            tile,
            ..spec(&format!("tile=16{power}"))
        });
        let period = 1 + random.below(3) as u64;
        let schedule = TileSchedule::periodic(Tile::square(16), tile, period, 0.7).unwrap();
        let named: Vec<_> = parameters
            .iter()
            .map(|(n, s)| (n.as_str(), s.as_slice()))
            .collect();
        Case {
            model: Model::new(&named, 100 * seed),
            gaps,
            specs: specs.to_vec(),
            schedule,
            budget: random.uniform(),
        }
    }

    fn builder(&self) -> HiMuonBuilder {
        let builder = self.model.builder(&self.specs);
        builder.schedule(self.schedule.clone())
    }

    fn on_device(&self) -> OnDevice {
        OnDevice::strided(0, &self.model, self.gaps.clone())
    }

    /// An optimizer within this budget or the least that some step needs, and the budget.
    fn within(&self, device: &OnDevice, mut allowed: u64) -> (HiMuon<Device>, u64) {
        loop {
            let builder = self.builder().memory_budget(allowed);
            let planned = builder.build_on(device.backend()).and_then(|optimizer| {
                (0..STEPS).try_for_each(|step| optimizer.plan(step).map(drop))?;
                Ok(optimizer)
            });
            match planned {
                Ok(optimizer) => return (optimizer, allowed),
                // Too little for one tile: the error names what it needs.
                Err(Error::Plan(PlanError::Budget { needed, budget, .. })) => {
                    assert!(needed > allowed && budget == allowed);
                    allowed = needed;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Returns whether the case takes workspace.
fn run(seed: u64) -> bool {
    let case = Case::draw(seed);
    let mut model = case.model.clone();
    let emulator = Inspection::open().unwrap();
    let live = || emulator.memory(0).unwrap().live_bytes;
    let mut free = case.on_device();
    let mut unlimited = free.optimizer(case.builder());
    let plans = (0..STEPS).map(|step| unlimited.plan(step).unwrap());
    let wanted = plans.map(|plan| plan.workspace_bytes).max().unwrap();
    let before = live();
    (0..STEPS).for_each(|_| drop(free.step(&mut unlimited)));
    let held_without = live() - before;

    let mut device = case.on_device();
    let wished = (case.budget * wanted as f64) as u64;
    let (mut on_device, allowed) = case.within(&device, wished);
    let before = live();
    let mut on_cpu = case.builder().build().unwrap();
    let mut launches = 0;
    for step in 0..STEPS {
        model.step_on_cpu(&mut on_cpu);
        let planned = on_device.plan(step).unwrap();
        assert!(planned.workspace_bytes <= allowed);
        let of_adamw = usize::from(!planned.elementwise.is_empty());
        let report = device.step(&mut on_device);
        assert_eq!(report.launches, planned.kernels() as usize + of_adamw);
        launches += report.launches as u64;
    }
    // Modules and state are the same; each chunk of each phase has its tables, rounded up to 256 bytes.
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
    let gap = update_gap(&case.model.weights, &model.weights, &device.read());
    println!(
        "measured: case {seed}: gap {gap:.1e}, {allowed} of {wanted} bytes, {launches} launches, gaps of rows {:?}",
        case.gaps
    );
    assert!(gap < GAP, "case {seed}: {gap:e}");
    wanted > 0
}

#[test]
fn any_model_gives_the_cpu_s_result_within_its_budget() {
    let test = "properties::any_model_gives_the_cpu_s_result_within_its_budget";
    emulated(test, &[], || {
        let with_workspace = (0..CASES).filter(|seed| run(*seed)).count() as u64;
        assert!(2 * with_workspace > CASES, "{with_workspace} of {CASES}");
    });
}
