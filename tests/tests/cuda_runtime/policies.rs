//! Numbers that are not finite, budgets, memory that runs out.

use himuon::cuda::{CudaBackend, DeviceRef};
use himuon::optimizer::{LearningRate, MuonOptions, NonFinitePolicy, StepError};
use himuon::plan::PlanError;
use himuon::tensor::{TensorMut, TensorRef};
use himuon::{Error, HiMuon, ParameterStep};
use himuon_toolkit::emulated::Inspection;

use crate::emulator::{emulated, emulated_and_on_gpu};
use crate::model::{Model, OnDevice, spec, tile};

/// Puts a NaN into the gradient of a parameter.
fn poison(device: &mut OnDevice, parameter: usize, at: usize) {
    let mut gradient = device.model.gradients(0)[parameter].clone();
    gradient[at] = f32::NAN;
    let slice = device.gradients[parameter].as_mut().unwrap();
    device.stream.memcpy_htod(&gradient, slice).unwrap();
}

#[test]
fn one_bad_number_leaves_one_tile_and_one_number_alone() {
    let test = "policies::one_bad_number_leaves_one_tile_and_one_number_alone";
    emulated_and_on_gpu(test, || {
        let mut device = OnDevice::new(&Model::mixed());
        let mut optimizer = device.optimizer(device.model.builder(&[tile(16)]));
        device.load_gradients(0);
        poison(&mut device, 1, 0);
        poison(&mut device, 0, 5);
        let before = device.read();
        let report = optimizer.step(&mut device.parameters()).unwrap();
        assert!(report.counts_pending);
        let counts = optimizer.tile_counts().unwrap();
        assert_eq!((counts.non_finite_tiles, counts.non_finite_numbers), (1, 1));
        let after = device.read();
        let same = |parameter: usize| -> Vec<usize> {
            let pairs = before[parameter].iter().zip(&after[parameter]).enumerate();
            pairs
                .filter(|(_, (a, b))| a == b)
                .map(|(index, _)| index)
                .collect()
        };
        assert_eq!(same(0), [5]);
        let tile: Vec<usize> = (0..16).flat_map(|row| row * 20..row * 20 + 16).collect();
        assert_eq!(same(1), tile);
        assert!(same(2).is_empty());
    });
}

/// The two differ on purpose: the CPU reads gradients first, the device would need a launch more for it.
#[test]
fn a_bad_number_leaves_its_parameter_alone_on_the_cpu_and_itself_on_the_device() {
    let test =
        "policies::a_bad_number_leaves_its_parameter_alone_on_the_cpu_and_itself_on_the_device";
    emulated_and_on_gpu(test, || {
        let mut model = Model::new(&[("norm.weight", &[50]), ("embed.weight", &[9, 8])], 2);
        let mut gradients = model.gradients(0);
        gradients[0][7] = f32::INFINITY;
        let mut device = OnDevice::new(&model);
        let mut on_device = device.optimizer(model.builder(&[]));
        device.load_gradients(0);
        poison(&mut device, 0, 7);
        let report = on_device.step(&mut device.parameters()).unwrap();
        assert_eq!(report.non_finite_parameters, 0);
        assert_eq!(on_device.tile_counts().unwrap().non_finite_numbers, 1);

        let start = model.weights.clone();
        let mut on_cpu = model.builder(&[]).build().unwrap();
        let mut parameters: Vec<_> = model
            .weights
            .iter_mut()
            .zip(&gradients)
            .map(|(weight, gradient)| ParameterStep {
                weight: TensorMut::F32(weight),
                gradient: Some(TensorRef::F32(gradient)),
            })
            .collect();
        let report = on_cpu.step(&mut parameters).unwrap();
        assert_eq!(report.non_finite_parameters, 1);
        assert_eq!(on_cpu.tile_counts().unwrap().non_finite_numbers, 0);

        let found = device.read();
        assert_eq!(model.weights[0], start[0]);
        let changed = |index: &usize| found[0][*index] != start[0][*index];
        let expected: Vec<usize> = (0..50).filter(|index| *index != 7).collect();
        assert_eq!((0..50).filter(changed).collect::<Vec<_>>(), expected);
        // A parameter without such a number is the same on both, but for the last place.
        let worst = model.weights[1].iter().zip(&found[1]);
        let worst = worst.map(|(a, b)| a.to_bits().abs_diff(b.to_bits())).max();
        assert!(worst.unwrap() <= 1, "{worst:?}");
    });
}

#[test]
fn a_step_is_skipped_or_refused_when_asked_to() {
    let test = "policies::a_step_is_skipped_or_refused_when_asked_to";
    emulated_and_on_gpu(test, || {
        for policy in [NonFinitePolicy::SkipStep, NonFinitePolicy::Error] {
            let mut device = OnDevice::new(&Model::mixed());
            let builder = device.model.builder(&[tile(16)]).non_finite(policy);
            let mut optimizer = device.optimizer(builder);
            device.step(&mut optimizer);
            poison(&mut device, 3, 700);
            let bits = device.bits();
            let outcome = optimizer.step(&mut device.parameters());
            assert_eq!(device.bits(), bits);
            match (policy, outcome) {
                (NonFinitePolicy::SkipStep, Ok(report)) => {
                    assert_eq!((report.skipped_for, report.launches), (Some(3), 0));
                    assert_eq!(optimizer.steps_taken(), 2);
                }
                (_, Err(Error::Step(StepError::NonFinite { name, tensor }))) => {
                    assert_eq!((name.as_str(), tensor), ("blocks.0.experts", "gradient"));
                    assert_eq!(optimizer.steps_taken(), 1);
                }
                (policy, outcome) => panic!("{policy:?}: {outcome:?}"),
            }
        }
    });
}

/// What a search for such numbers needs stays: only tensors that move or become more are written or allocated again.
#[test]
fn a_search_for_bad_numbers_allocates_nothing_from_the_second_step_on() {
    let test = "policies::a_search_for_bad_numbers_allocates_nothing_from_the_second_step_on";
    emulated(test, &[], || {
        let emulator = Inspection::open().unwrap();
        let used = |kind| emulator.uses(kind).unwrap();
        for policy in [NonFinitePolicy::SkipStep, NonFinitePolicy::Error] {
            let mut device = OnDevice::new(&Model::mixed());
            let builder = device.model.builder(&[tile(16)]).non_finite(policy);
            let mut optimizer = device.optimizer(builder);
            // Fewer tensors at first.
            let last = device.gradients.len() - 1;
            let gradient = device.gradients[last].take();
            device.step(&mut optimizer);
            device.gradients[last] = gradient;
            device.step(&mut optimizer);
            device.load_gradients(2);
            let (allocations, copies, live) =
                (used("allocation"), used("copy"), live_bytes(&emulator));
            optimizer.step(&mut device.parameters()).unwrap();
            // The flags are cleared and read, the counters of AdamW's clock set; no table is written.
            assert_eq!(used("copy") - copies, 3, "{policy:?}");
            poison(&mut device, 3, 700);
            let bits = device.bits();
            for again in 0..2 {
                let outcome = optimizer.step(&mut device.parameters());
                assert_eq!(outcome.is_ok(), policy == NonFinitePolicy::SkipStep);
                assert_eq!(device.bits(), bits, "{policy:?}, {again}");
            }
            // What was found is not found again where it is gone.
            device.load_gradients(3);
            let report = optimizer.step(&mut device.parameters()).unwrap();
            assert_eq!(report.skipped_for, None);
            assert_ne!(device.bits(), bits);
            assert_eq!(used("allocation"), allocations, "{policy:?}");
            assert_eq!(live_bytes(&emulator), live);
        }
    });
}

fn live_bytes(emulator: &Inspection) -> u64 {
    emulator.memory(0).unwrap().live_bytes
}

#[test]
fn a_budget_cuts_a_launch_into_chunks_and_is_kept() {
    let test = "policies::a_budget_cuts_a_launch_into_chunks_and_is_kept";
    emulated(test, &[], || {
        let specs = [spec("tile=16 power=1/2")];
        let emulator = Inspection::open().unwrap();
        let live = || emulator.memory(0).unwrap().live_bytes;
        let mut free = OnDevice::new(&Model::mixed());
        let mut unlimited = free.optimizer(free.model.builder(&specs));
        let wanted = unlimited.explain().unwrap().totals.workspace_bytes;
        let before = live();
        free.step(&mut unlimited);
        let held_without = live() - before;

        let mut device = OnDevice::new(&Model::mixed());
        let builder = device.model.builder(&specs).memory_budget(wanted / 2);
        let mut optimizer = device.optimizer(builder);
        let planned = optimizer.explain().unwrap().totals;
        assert!(planned.workspace_bytes <= wanted / 2);
        let before = live();
        let report = device.step(&mut optimizer);
        assert!(report.launches > 4, "{report}");
        // Modules and state are the same; each chunk has its own two tables, rounded up to 256 bytes.
        let held = live() - before;
        let tables = 2 * 256 * report.launches as u64;
        assert!(
            held <= held_without - wanted + planned.workspace_bytes + tables,
            "{held} bytes held, {held_without} without a budget"
        );
        assert_eq!(device.bits(), free.bits(), "chunks change no bit");

        let builder = device.model.builder(&specs).memory_budget(100);
        let error = builder.build_on(device.backend()).unwrap_err();
        let Error::Plan(PlanError::Budget { needed, budget, .. }) = &error else {
            panic!("{error}");
        };
        assert_eq!(*budget, 100);
        assert!(error.to_string().contains(&needed.to_string()));
    });
}

#[test]
fn when_memory_runs_out_smaller_chunks_are_tried_once() {
    let test = "policies::when_memory_runs_out_smaller_chunks_are_tried_once";
    let memory = 512 << 10;
    let devices = [("HIMUON_EMULATOR_DEVICES", "sm_80,memory=512KiB")];
    emulated(test, &devices, || {
        let shape: &[usize] = &[96, 64];
        let names = ["q", "k", "v", "o"].map(|part| format!("blocks.0.{part}.weight"));
        let model = Model::new(&names.each_ref().map(|name| (name.as_str(), shape)), 8);
        let mut device = OnDevice::new(&model);
        let mut optimizer = device.optimizer(model.builder(&[spec("tile=32 power=1/2")]));
        let totals = optimizer.explain().unwrap().totals;
        let live = Inspection::open().unwrap().memory(0).unwrap().live_bytes;
        // Room for modules, state and tables, and for three of the four mapped matrices.
        let modules = 24 << 10;
        let room = totals.state_bytes + totals.workspace_bytes * 3 / 4 + modules;
        let ballast = memory - live - room;
        let ballast = device.stream.alloc_zeros::<u8>(ballast as usize).unwrap();
        let report = device.step(&mut optimizer);
        assert_eq!(report.launches, 6, "{report}");
        let smaller = optimizer.explain().unwrap().totals.workspace_bytes;
        assert!(smaller <= totals.workspace_bytes / 2 && smaller > 0);
        drop(ballast);
        assert_eq!(device.step(&mut optimizer).launches, 6, "the plan is kept");
    });
}

#[test]
fn a_scaled_loss_is_unscaled_on_the_device_and_its_overflow_skips_the_step() {
    let test = "policies::a_scaled_loss_is_unscaled_on_the_device_and_its_overflow_skips_the_step";
    emulated_and_on_gpu(test, || {
        let model = Model::mixed();
        let mut plain = OnDevice::new(&model);
        let mut unscaled = plain.optimizer(model.builder(&[tile(16)]));
        plain.step(&mut unscaled);

        let mut device = OnDevice::new(&model);
        // Powers of two: scaling and unscaling are exact.
        let inverse = device.stream.clone_htod(&[1.0_f32 / 1024.0]).unwrap();
        let mut found = device.stream.clone_htod(&[1.0_f32]).unwrap();
        let [inverse_at, found_at] =
            [&inverse, &found].map(|s| DeviceRef::of(s, &device.stream).address());
        let backend = CudaBackend::new(&device.stream).unwrap();
        // SAFETY: both slices outlive the optimizer.
        let backend = unsafe { backend.unscaled_by(inverse_at, Some(found_at)) };
        let builder = model.builder(&[tile(16)]);
        let mut optimizer = builder.build_on(Box::new(backend)).unwrap();
        device.load_scaled_gradients(0, 1024.0);
        let bits = device.bits();
        let report = optimizer.step(&mut device.parameters()).unwrap();
        assert_eq!(report.launches, 4, "clock, groups, tiles, AdamW");
        assert_eq!(device.bits(), bits, "the step was skipped");
        device.stream.memcpy_htod(&[0.0_f32], &mut found).unwrap();
        // AdamW's update number has moved on; the tiles' have none.
        optimizer.step(&mut device.parameters()).unwrap();
        let (found, expected) = (device.read(), plain.read());
        assert!(found[1..4] == expected[1..4]);
        assert_ne!(found[0], model.weights[0]);
    });
}

/// Groups share an entry until their scalars part, and those of a matrix without a gradient are not there.
#[test]
fn groups_that_join_a_later_step_are_unscaled_too() {
    let test = "policies::groups_that_join_a_later_step_are_unscaled_too";
    emulated_and_on_gpu(test, || {
        let model = Model::new(
            &[
                ("blocks.0.q.weight", &[20, 20]),
                ("blocks.1.q.weight", &[20, 20]),
            ],
            4,
        );
        let builder = || {
            let options = || MuonOptions::specs([tile(16)]);
            let slower = options().learning_rate(LearningRate::Factor(0.5));
            HiMuon::builder()
                .parameters(model.parameters.iter().map(|(name, shape)| (name, shape)))
                .group_with("blocks.0.*", options())
                .group_with("blocks.1.*", slower)
        };
        let mut plain = OnDevice::new(&model);
        let mut unscaled = plain.optimizer(builder());
        let mut device = OnDevice::new(&model);
        let inverse = device.stream.clone_htod(&[1.0_f32 / 1024.0]).unwrap();
        let backend = CudaBackend::new(&device.stream).unwrap();
        // SAFETY: the slice outlives the optimizer.
        let backend =
            unsafe { backend.unscaled_by(DeviceRef::of(&inverse, &device.stream).address(), None) };
        let mut optimizer = builder().build_on(Box::new(backend)).unwrap();
        let second = [&mut plain, &mut device].map(|device| device.gradients[1].take());
        for step in 0..2 {
            plain.step(&mut unscaled);
            device.load_scaled_gradients(step, 1024.0);
            optimizer.step(&mut device.parameters()).unwrap();
            assert_eq!(device.bits(), plain.bits(), "step {step}");
            if step == 0 {
                let [of_plain, of_device] = &second;
                plain.gradients[1].clone_from(of_plain);
                device.gradients[1].clone_from(of_device);
            }
        }
    });
}
