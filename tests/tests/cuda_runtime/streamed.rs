//! Tiles that do not fit on chip: sequences of launches over ranges of tiles, in the workspace that the budget allows.

use himuon::cpu::{ApplyScale, CpuKernel, Pool, Workspace};
use himuon::cuda::{CudaMap, Device};
use himuon::launch::TileDiagnostics;
use himuon::optimizer::MuonOptions;
use himuon::plan::PlanError;
use himuon::templates::Architecture;
use himuon::templates::variant::Streamed;
use himuon::tensor::TensorRef;
use himuon::{Error, HiMuon, KernelSpec};
use himuon_toolkit::emulated::Inspection;

use crate::emulator::{emulated, emulated_and_on_gpu};
use crate::model::{Model, OnDevice, normal, report_gap, spec, update_gap};

/// Relative Frobenius gap of the update over two steps to the CPU's, worst parameter, standard normal weights and
/// gradients, f32 operands on both sides (on the device as three tf32 terms). Measured: 1.2e-5, most of it the rounding of
/// the weights.
const GAP: f64 = 2e-5;
/// The same of bare maps. Measured: 1.7e-6.
const MAP_GAP: f64 = 5e-6;
/// Relative difference of what is reported of a tile. Measured: 6.2e-7.
const REPORT_GAP: f32 = 2e-6;

/// Whole tiles and ragged ones, a stack, a tall matrix, one of two rows.
fn model() -> Model {
    Model::new(
        &[
            ("embed.weight", &[9, 8]),
            ("blocks.0.q.weight", &[70, 100]),
            ("blocks.0.up.weight", &[150, 40]),
            ("blocks.0.experts", &[2, 36, 50]),
            ("blocks.0.low.weight", &[2, 33]),
        ],
        21,
    )
}

/// Scan, decide, normalise; Gram, square, multiply five times; finish.
const MAP: usize = 3 + 3 * 5 + 1;

/// A specification that every device leaves to the streamed family, and the kernels of one range of its tiles.
fn cases() -> [(KernelSpec, usize); 2] {
    let power = spec("tile=full power=1/2");
    let settings = settings(&power);
    let of_power =
        settings.map_launches(&power, true).len() + settings.update_launches(&power).len();
    [(spec("tile=full"), MAP), (power.clone(), of_power)]
}

fn settings(spec: &KernelSpec) -> Streamed {
    Streamed::default_for(spec, Architecture::Sm80).unwrap()
}

/// What tiles of these sizes take together.
fn scratch(spec: &KernelSpec, shapes: &[(u32, u32)]) -> u64 {
    let tiles = shapes
        .iter()
        .map(|&(rows, columns)| settings(spec).tile(spec, rows, columns));
    let bytes: u64 = tiles.map(|tile| tile.workspace_bytes).sum();
    bytes.next_multiple_of(256)
}

#[test]
fn large_tiles_follow_the_cpu_in_as_many_launches_as_planned() {
    let test = "streamed::large_tiles_follow_the_cpu_in_as_many_launches_as_planned";
    emulated_and_on_gpu(test, || follow_the_cpu(&cases()));
}

/// On the emulator alone: devices with more shared memory hold such tiles.
#[test]
fn tiles_just_too_large_for_a_chip_follow_the_cpu() {
    let test = "streamed::tiles_just_too_large_for_a_chip_follow_the_cpu";
    emulated(test, &[], || follow_the_cpu(&[(spec("tile=136x130"), MAP)]));
}

fn follow_the_cpu(cases: &[(KernelSpec, usize)]) {
    for (spec, kernels) in cases {
        let kernels = *kernels;
        let mut model = model();
        let start = model.weights.clone();
        let specs = [spec.clone()];
        let mut device = OnDevice::new(&model);
        let mut on_cpu = model.builder(&specs).build().unwrap();
        let mut on_device = device.optimizer(model.builder(&specs));
        assert_eq!(
            on_device.plan(0).unwrap().kernels(),
            kernels as u64,
            "{spec}"
        );
        let explained = on_device.explain().unwrap().to_string();
        assert!(
            explained.contains(&format!("{kernels} kernels")),
            "{explained}"
        );
        for step in 0..2 {
            let cpu = model.step_on_cpu(&mut on_cpu);
            let report = device.step(&mut on_device);
            // One of AdamW.
            assert_eq!(report.launches, kernels + 1, "{spec}, step {step}");
            assert_eq!(report.tiles, cpu.tiles);
            let gap = update_gap(&start, &model.weights, &device.read());
            println!("measured: {spec}, step {step}: gap {gap:.1e}");
            assert!(gap < GAP, "{spec}, step {step}: {gap:e}");
        }
        assert_eq!(on_device.table_uploads(), 2, "tables are written once");
    }
}

/// A budget that holds `allowed` bytes of workspace: its launches, and the bits after two steps.
fn within(spec: &KernelSpec, budget: Option<u64>) -> (usize, Vec<u32>, u64) {
    let mut device = OnDevice::new(&model());
    let mut builder = device.model.builder(std::slice::from_ref(spec));
    if let Some(budget) = budget {
        builder = builder.memory_budget(budget);
    }
    let mut optimizer = device.optimizer(builder);
    let totals = optimizer.explain().unwrap().totals;
    let launches = device.step(&mut optimizer).launches;
    assert_eq!(launches as u64, optimizer.plan(0).unwrap().kernels() + 1);
    device.step(&mut optimizer);
    assert!(totals.workspace_bytes <= budget.unwrap_or(u64::MAX));
    // 64 bytes for each of five matrices and five tiles; each range has an entry more.
    assert!(totals.table_bytes >= 64 * (5 + 5 + 1));
    (launches, device.bits(), totals.workspace_bytes)
}

#[test]
fn a_budget_is_kept_in_ranges_of_tiles_that_change_no_bit() {
    let test = "streamed::a_budget_is_kept_in_ranges_of_tiles_that_change_no_bit";
    emulated(test, &[], || {
        let spec = spec("tile=full steps=2");
        let (launches, bits, wanted) = within(&spec, None);
        assert_eq!(launches, 3 + 3 * 2 + 1 + 1);
        let least = scratch(&spec, &[(70, 100)]);
        assert!(least < wanted / 2);
        for budget in [wanted / 2, least] {
            let (launches, found, bytes) = within(&spec, Some(budget));
            println!("measured: {bytes} of {wanted} bytes: {launches} launches");
            assert!(launches > 20, "{launches}");
            assert!(found == bits, "{budget} bytes");
        }
        let device = OnDevice::new(&model());
        let builder = device.model.builder(std::slice::from_ref(&spec));
        let refused = builder.memory_budget(least - 1).build_on(device.backend());
        let error = refused.unwrap_err();
        let Error::Plan(PlanError::Budget { needed, budget, .. }) = &error else {
            panic!("{error}");
        };
        assert_eq!((*needed, *budget), (least, least - 1));
        let text = error.to_string();
        assert!(text.contains(&least.to_string()) && text.contains(&(least - 1).to_string()));
    });
}

#[test]
fn ranges_of_power_above_zero_share_one_norm() {
    let test = "streamed::ranges_of_power_above_zero_share_one_norm";
    emulated(test, &[], || {
        // Four tiles of one matrix: the norm waits for all of them.
        let model = Model::new(&[("blocks.0.q.weight", &[150, 160])], 4);
        let spec = spec("tile=140x140 power=1");
        let run = |budget: Option<u64>| {
            let mut device = OnDevice::new(&model);
            let builder = model.builder(std::slice::from_ref(&spec));
            let builder = budget
                .into_iter()
                .fold(builder, |b, bytes| b.memory_budget(bytes));
            let mut optimizer = device.optimizer(builder);
            let plan = optimizer.plan(0).unwrap();
            assert_eq!(plan.launches[0].chunks.len(), 1);
            let launches = device.step(&mut optimizer).launches;
            (launches, plan.workspace_bytes, device.bits())
        };
        let (launches, wanted, bits) = run(None);
        // Scan, decide, normalise, measure, decide, finish; norm; update.
        assert_eq!(launches, 8);
        // Reports and mapped matrix stay; of the scratch memory one tile.
        let all = scratch(&spec, &[(140, 140), (140, 20), (10, 140), (10, 20)]);
        let least = wanted - all + scratch(&spec, &[(140, 140)]);
        let (in_ranges, bytes, found) = run(Some(least));
        assert!(bytes <= least);
        // Two ranges: the whole tile, and the three others.
        assert_eq!(in_ranges, 2 * 6 + 1 + 2);
        assert!(found == bits);
    });
}

#[test]
fn when_memory_runs_out_smaller_ranges_are_tried_once() {
    let test = "streamed::when_memory_runs_out_smaller_ranges_are_tried_once";
    let memory = 8 << 20;
    let devices = [("HIMUON_EMULATOR_DEVICES", "sm_80,memory=8MiB")];
    emulated(test, &devices, || {
        let shape: &[usize] = &[64, 96];
        let names = ["q", "k", "v", "o"].map(|part| format!("blocks.0.{part}.weight"));
        let model = Model::new(&names.each_ref().map(|name| (name.as_str(), shape)), 8);
        let specs = [spec("tile=full steps=1")];
        let live = || Inspection::open().unwrap().memory(0).unwrap().live_bytes;
        let mut free = OnDevice::new(&model);
        let before = live();
        let mut unlimited = free.optimizer(model.builder(&specs));
        free.step(&mut unlimited);
        let held = live() - before;
        let tile = unlimited.plan(0).unwrap().workspace_bytes / 4;
        drop(unlimited);
        // As much less than a step holds as this part of a tile's workspace.
        let run = |missing: f64| {
            let mut device = OnDevice::new(&model);
            let mut optimizer = device.optimizer(model.builder(&specs));
            let before = device.bits();
            let ballast = memory - live() - (held - (missing * tile as f64) as u64);
            let ballast = device.stream.alloc_zeros::<u8>(ballast as usize).unwrap();
            let stepped = device.try_step(&mut optimizer);
            drop(ballast);
            (stepped, device.bits() == before, optimizer)
        };
        let (stepped, _, optimizer) = run(1.0);
        // Two ranges of two tiles, seven launches each.
        assert_eq!(stepped.unwrap().launches, 2 * 7);
        assert_eq!(
            optimizer.plan(1).unwrap().kernels(),
            2 * 7,
            "the plan is kept"
        );
        drop(optimizer);
        let (stepped, unchanged, _) = run(3.8);
        let error = stepped.unwrap_err().to_string();
        assert!(
            error.contains("for workspace cannot be allocated"),
            "{error}"
        );
        assert!(unchanged);
    });
}

#[test]
fn without_a_budget_the_workspace_is_bounded_by_the_device_not_by_the_model() {
    let test = "streamed::without_a_budget_the_workspace_is_bounded_by_the_device_not_by_the_model";
    emulated(
        test,
        &[("HIMUON_EMULATOR_DEVICES", "sm_80,sms=108")],
        || {
            let planned = |layers: usize| {
                let names: Vec<_> = (0..layers).map(|i| format!("blocks.{i}.weight")).collect();
                let builder = HiMuon::builder()
                    .parameters(names.iter().map(|name| (name, [2048, 8192])))
                    .group_with("*", MuonOptions::specs([spec("tile=512 element=bf16")]));
                let device = OnDevice::new(&Model::new(&[], 0));
                let optimizer = device.optimizer(builder);
                let totals = optimizer.explain().unwrap().totals;
                let kernels = optimizer.plan(0).unwrap().kernels();
                println!(
                    "measured: {layers} matrices of 2048 x 8192, tile 512: {} bytes of workspace, {} of tables, {kernels} launches",
                    totals.workspace_bytes, totals.table_bytes
                );
                totals
            };
            let (few, many) = (planned(4), planned(60));
            assert_eq!(few.workspace_bytes, many.workspace_bytes);
            assert!(many.workspace_bytes < 256 << 20, "{many:?}");
            // 64 bytes a tile of 512 x 512 and 64 a matrix, beside 2 bytes a number.
            assert!(1000 * many.table_bytes < 2 * many.parameters);
        },
    );
}

#[test]
fn tiles_of_large_matrices_are_reported_as_on_the_cpu() {
    let test = "streamed::tiles_of_large_matrices_are_reported_as_on_the_cpu";
    emulated_and_on_gpu(test, || {
        let mut model = model();
        let specs = [spec("tile=full steps=3")];
        let build = |model: &Model| model.builder(&specs).diagnostics(true);
        let mut device = OnDevice::new(&model);
        let mut on_device: HiMuon<Device> = device.optimizer(build(&model));
        let mut on_cpu = build(&model).build().unwrap();
        model.step_on_cpu(&mut on_cpu);
        let report = device.step(&mut on_device);
        // Measure and decide besides.
        assert_eq!(report.launches, 3 + 3 * 3 + 2 + 1 + 1);
        for parameter in 1..5 {
            let (here, there) = (
                on_cpu.tile_diagnostics(parameter),
                on_device.tile_diagnostics(parameter),
            );
            let gap = report_gap(here, there);
            println!("measured: reports of tiles: {gap:.1e}");
            assert!(gap <= REPORT_GAP, "{gap:e}");
            let mapped = |tile: &TileDiagnostics| tile.orthogonalised && !tile.non_finite;
            assert!(there.iter().all(mapped));
        }
    });
}

#[test]
fn the_map_of_a_whole_matrix_follows_the_cpu() {
    let test = "streamed::the_map_of_a_whole_matrix_follows_the_cpu";
    emulated_and_on_gpu(test, || {
        let (rows, columns) = (90, 130);
        let stream = himuon::cuda::open(0).unwrap().new_stream().unwrap();
        for text in ["tile=full", "tile=full power=1/2", "tile=80x110"] {
            let spec = spec(text);
            let input = normal(5, rows * columns);
            let mut found = vec![0.0; rows * columns];
            let tiles = CudaMap::new(&stream, &spec)
                .unwrap()
                .map(&input, rows, columns, &mut found)
                .unwrap();
            let mut expected = vec![0.0; rows * columns];
            let pool = Pool::new(1).unwrap();
            let matrix = TensorRef::F32(&input);
            let mut scratch = Workspace::default();
            CpuKernel::new(&spec)
                .unwrap()
                .map(
                    &pool,
                    matrix,
                    rows,
                    columns,
                    &mut expected,
                    ApplyScale::None,
                    &mut scratch,
                )
                .unwrap();
            let gap = update_gap(&[vec![0.0; rows * columns]], &[expected], &[found]);
            println!(
                "measured: map of {text}: gap {gap:.1e}, {} tiles",
                tiles.len()
            );
            assert!(gap < MAP_GAP, "{text}: {gap:e}");
        }
    });
}
