//! Steps of a whole model beside the CPU's, and what a step submits.

use std::sync::Arc;

use himuon::cuda::{DeviceMut, DeviceRef};
use himuon::optimizer::MuonOptions;
use himuon::schedule::TileSchedule;
use himuon::{HiMuon, ParameterStep, Tile};
use himuon_toolkit::emulated::Inspection;

use crate::emulator::{emulated, emulated_and_on_gpu};
use crate::model::{Model, OnDevice, normal, spec, tile, update_gap};

/// Relative Frobenius gap of the update over three steps, worst parameter, standard normal weights and gradients, f32
/// operands on both sides. Measured: 1.2e-5 for p = 0, 9.9e-6 for p = 1/2, most of it the rounding of the weights.
const GAP: f64 = 2e-5;

pub(crate) fn follows_the_cpu(specs: &[himuon::KernelSpec], launches: usize, tiles: usize) {
    let mut model = Model::mixed();
    let start = model.weights.clone();
    let mut device = OnDevice::new(&model);
    let mut on_cpu = model.builder(specs).build().unwrap();
    let mut on_device = device.optimizer(model.builder(specs));
    for step in 0..3 {
        let cpu = model.step_on_cpu(&mut on_cpu);
        let report = device.step(&mut on_device);
        assert_eq!(
            (report.launches, report.tiles),
            (launches, tiles),
            "step {step}"
        );
        assert_eq!(report.tiles, cpu.tiles);
        let gap = update_gap(&start, &model.weights, &device.read());
        println!("measured: {}, step {step}: gap {gap:.1e}", specs[0]);
        assert!(gap < GAP, "step {step}: {gap:e}");
    }
    // One table of matrices, one of groups, and those of AdamW; the same at every step.
    assert_eq!(on_device.table_uploads(), 2, "tables are written once");
    let counts = on_device.tile_counts().unwrap();
    assert_eq!(counts, himuon::launch::TileCounts::default());
}

#[test]
fn a_model_is_one_launch_and_adamw_another() {
    let test = "steps::a_model_is_one_launch_and_adamw_another";
    // 20 x 20: 4 tiles, 45 x 20: 6, two of 18 x 33: 6 each.
    emulated_and_on_gpu(test, || follows_the_cpu(&[tile(16)], 2, 22));
}

#[test]
fn powers_above_zero_take_three_launches() {
    let test = "steps::powers_above_zero_take_three_launches";
    emulated_and_on_gpu(test, || {
        follows_the_cpu(&[spec("tile=16 power=1/2")], 4, 22)
    });
}

/// cudarc's events order the streams of a caller: a slice's is recorded behind the step, not before it.
#[test]
fn another_stream_that_reads_the_weights_waits_for_the_step() {
    let test = "steps::another_stream_that_reads_the_weights_waits_for_the_step";
    emulated(test, &[], || {
        let model = Model::new(&[("blocks.0.q.weight", &[20, 20])], 1);
        let mut plain = OnDevice::new(&model);
        let mut first = plain.optimizer(model.builder(&[tile(16)]));
        plain.step(&mut first);
        let device = OnDevice::new(&model);
        let mut second = device.optimizer(model.builder(&[tile(16)]));
        let stream = &device.stream;
        let [before, after] = [(); 2].map(|()| stream.context().new_stream().unwrap());
        let gradient = before.clone_htod(&model.gradients(0)[0]).unwrap();
        let mut weight = before.clone_htod(&model.weights[0]).unwrap();
        let mut parameters = [ParameterStep {
            weight: DeviceMut::of(&mut weight, stream),
            gradient: Some(DeviceRef::of(&gradient, stream)),
        }];
        second.step(&mut parameters).unwrap();
        drop(parameters);
        let found = after.clone_dtoh(&weight).unwrap();
        after.synchronize().unwrap();
        assert_eq!(found, plain.read()[0]);
    });
}

/// candle's devices have such a stream. A thread that goes on waits for the one before; the host waits for both to read.
#[test]
fn a_stream_that_each_thread_has_of_its_own_is_followed_from_thread_to_thread() {
    let test = "steps::a_stream_that_each_thread_has_of_its_own_is_followed_from_thread_to_thread";
    emulated_and_on_gpu(test, || {
        let model = Model::mixed();
        let mut plain = OnDevice::new(&model);
        let mut expected = plain.optimizer(model.builder(&[tile(16)]));
        let mut shared = OnDevice::new(&model);
        let context = Arc::clone(shared.stream.context());
        shared.stream = context.per_thread_stream();
        let mut optimizer = shared.optimizer(model.builder(&[tile(16)]));
        for step in 0..4 {
            plain.step(&mut expected);
            std::thread::scope(|scope| {
                let step = || shared.step(&mut optimizer);
                scope.spawn(step).join().unwrap()
            });
            context.synchronize().unwrap();
            assert_eq!(shared.bits(), plain.bits(), "step {step}");
        }
        let states =
            [&expected, &optimizer].map(|optimizer| optimizer.save_state_to_bytes().unwrap());
        assert!(states[0] == states[1]);
        // Loaded by one thread, stepped by another.
        std::thread::scope(|scope| {
            let load = || optimizer.load_state_from_bytes(&states[0]).unwrap();
            scope.spawn(load).join().unwrap()
        });
        plain.step(&mut expected);
        shared.step(&mut optimizer);
        context.synchronize().unwrap();
        assert_eq!(shared.bits(), plain.bits(), "after a state was loaded");
    });
}

#[test]
fn the_caller_s_strides_are_followed_and_nothing_between_rows_is_touched() {
    let test = "steps::the_caller_s_strides_are_followed_and_nothing_between_rows_is_touched";
    emulated_and_on_gpu(test, || {
        let (rows, columns, leading) = (20, 24, 31);
        let model = Model::new(&[("blocks.0.q.weight", &[rows, columns])], 3);
        let mut plain = OnDevice::new(&model);
        let mut first = plain.optimizer(model.builder(&[tile(16)]));
        plain.step(&mut first);

        let spread = |numbers: &[f32]| {
            let mut wide = vec![-7.0; rows * leading];
            for (row, numbers) in numbers.chunks_exact(columns).enumerate() {
                wide[row * leading..][..columns].copy_from_slice(numbers);
            }
            wide
        };
        let device = OnDevice::new(&model);
        let mut second = device.optimizer(model.builder(&[tile(16)]));
        let mut weight = device
            .stream
            .clone_htod(&spread(&model.weights[0]))
            .unwrap();
        let gradient = device
            .stream
            .clone_htod(&spread(&model.gradients(0)[0]))
            .unwrap();
        let element = himuon::templates::Element::F32;
        let weight_at = DeviceMut::of(&mut weight, &device.stream).address();
        let gradient_at = DeviceRef::of(&gradient, &device.stream).address();
        // SAFETY: both slices hold rows * leading numbers and outlive the step.
        let mut parameters = [unsafe {
            ParameterStep {
                weight: DeviceMut::strided(weight_at, element, rows, columns, leading),
                gradient: Some(DeviceRef::strided(
                    gradient_at,
                    element,
                    rows,
                    columns,
                    leading,
                )),
            }
        }];
        second.step(&mut parameters).unwrap();
        let found = device.stream.clone_dtoh(&weight).unwrap();
        let expected = spread(&plain.read()[0]);
        assert!(found == expected);
    });
}

#[test]
fn moved_tensors_are_noticed_and_a_change_of_rate_rewrites_groups_alone() {
    let test = "steps::moved_tensors_are_noticed_and_a_change_of_rate_rewrites_groups_alone";
    emulated_and_on_gpu(test, || {
        let model = Model::mixed();
        let mut device = OnDevice::new(&model);
        let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
        let mut other = OnDevice::new(&model);
        let mut reference = other.optimizer(model.builder(&[tile(16)]));
        device.step(&mut optimizer);
        other.step(&mut reference);
        let uploads = optimizer.table_uploads();
        // The same numbers at another place; the old place is freed.
        device.weights[1] = device.stream.clone_htod(&device.read()[1]).unwrap();
        device.step(&mut optimizer);
        other.step(&mut reference);
        assert_eq!(optimizer.table_uploads(), uploads + 1);
        assert_eq!(device.bits(), other.bits());
        for optimizer in [&mut optimizer, &mut reference] {
            optimizer.set_learning_rate(0.011);
        }
        device.step(&mut optimizer);
        other.step(&mut reference);
        assert_eq!(device.bits(), other.bits());
        // A gradient that is missing leaves its parameter as it is.
        device.gradients[2] = None;
        let before = device.read();
        let report = device.step(&mut optimizer);
        assert_eq!(report.missing_gradients, [2]);
        let after = device.read();
        assert!(after[2] == before[2] && after[1] != before[1]);
    });
}

#[test]
fn half_precision_weights_follow_the_cpu_to_their_last_place() {
    let test = "steps::half_precision_weights_follow_the_cpu_to_their_last_place";
    emulated_and_on_gpu(test, || {
        use half::bf16;
        let (rows, columns) = (40, 24);
        let numbers = |seed| -> Vec<bf16> {
            let numbers = normal(seed, rows * columns).into_iter();
            numbers.map(bf16::from_f32).collect()
        };
        let build = || {
            HiMuon::builder()
                .parameter("w", &[rows, columns])
                .parameter("scale", &[rows * columns])
                .group_with("w", MuonOptions::specs([spec("tile=16 weight=bf16")]))
        };
        let model = Model::new(&[], 0);
        let device = OnDevice::new(&model);
        let mut on_device = device.optimizer(build());
        let mut on_cpu = build().threads(1).build().unwrap();
        let (mut weights, gradients) = ([numbers(1), numbers(2)], [numbers(3), numbers(4)]);
        let upload = |numbers: &Vec<bf16>| device.stream.clone_htod(numbers).unwrap();
        let (mut slices, passed) = (
            weights.each_ref().map(upload),
            gradients.each_ref().map(upload),
        );
        let mut parameters: Vec<_> = slices
            .iter_mut()
            .zip(&passed)
            .map(|(weight, gradient)| ParameterStep {
                weight: DeviceMut::of(weight, &device.stream),
                gradient: Some(DeviceRef::of(gradient, &device.stream)),
            })
            .collect();
        on_device.step(&mut parameters).unwrap();
        drop(parameters);
        let mut parameters: Vec<_> = weights
            .iter_mut()
            .zip(&gradients)
            .map(|(weight, gradient)| ParameterStep {
                weight: himuon::tensor::TensorMut::Bf16(weight),
                gradient: Some(himuon::tensor::TensorRef::Bf16(gradient)),
            })
            .collect();
        on_cpu.step(&mut parameters).unwrap();
        for (expected, slice) in weights.iter().zip(&slices) {
            let found = device.stream.clone_dtoh(slice).unwrap();
            let places = expected.iter().zip(&found);
            let worst = places.map(|(a, b)| a.to_bits().abs_diff(b.to_bits())).max();
            assert!(worst.unwrap() <= 1, "{worst:?} units in the last place");
        }
    });
}

#[test]
fn a_tile_s_schedule_switches_between_loaded_kernels_without_allocating() {
    let test = "steps::a_tile_s_schedule_switches_between_loaded_kernels_without_allocating";
    emulated(test, &[], || {
        let mut model = Model::mixed();
        let start = model.weights.clone();
        let specs = [tile(16), tile(32)];
        let schedule = TileSchedule::periodic(Tile::square(16), Tile::square(32), 2, 0.5).unwrap();
        let build = |model: &Model| model.builder(&specs).schedule(schedule.clone());
        let mut device = OnDevice::new(&model);
        let mut on_device = device.optimizer(build(&model));
        let mut on_cpu = build(&model).build().unwrap();
        let emulator = Inspection::open().unwrap();
        let mut live = 0;
        for step in 0..4 {
            model.step_on_cpu(&mut on_cpu);
            device.step(&mut on_device);
            let now = emulator.memory(0).unwrap().live_bytes;
            if step >= 2 {
                assert_eq!(now, live, "step {step}");
            }
            live = now;
        }
        let gap = update_gap(&start, &model.weights, &device.read());
        assert!(gap < GAP, "{gap:e}");
    });
}

#[test]
fn compiled_kernels_are_found_again_without_a_compiler() {
    let test = "steps::compiled_kernels_are_found_again_without_a_compiler";
    let body = || {
        let model = Model::mixed();
        let mut device = OnDevice::new(&model);
        let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
        device.step(&mut optimizer);
    };
    emulated(test, &[], body);
    let nowhere = [("HIMUON_NVRTC_PATH", "/nonexistent/libnvrtc.so")];
    emulated(test, &nowhere, body);
}

#[test]
fn two_devices_of_one_process_give_the_same_bits() {
    let test = "steps::two_devices_of_one_process_give_the_same_bits";
    emulated(test, &[("HIMUON_EMULATOR_DEVICES", "sm_80;sm_80")], || {
        let model = Model::mixed();
        let mut devices = [0, 1].map(|ordinal| OnDevice::on(ordinal, &model));
        let mut optimizers = devices
            .each_ref()
            .map(|device| device.optimizer(model.builder(&[tile(16)])));
        for _ in 0..2 {
            for (device, optimizer) in devices.iter_mut().zip(&mut optimizers) {
                device.step(optimizer);
            }
        }
        assert_eq!(devices[0].bits(), devices[1].bits());
    });
}

#[test]
fn tiles_that_stay_on_chip_cost_one_percent_of_the_parameters_bytes() {
    let test = "steps::tiles_that_stay_on_chip_cost_one_percent_of_the_parameters_bytes";
    emulated(test, &[], || {
        let shapes: [&[usize]; 4] = [&[2304, 768], &[768, 768], &[3072, 768], &[768, 3072]];
        let names: Vec<_> = (0..48)
            .map(|index| format!("blocks.{index}.weight"))
            .collect();
        let parameters = names.iter().zip(shapes.into_iter().cycle());
        let builder = HiMuon::builder()
            .parameters(parameters)
            .group_with("*", MuonOptions::specs([spec("tile=128 element=bf16")]));
        let device = OnDevice::new(&Model::new(&[], 0));
        let totals = device.optimizer(builder).explain().unwrap().totals;
        assert_eq!((totals.workspace_bytes, totals.table_bytes), (0, 48 * 64));
        assert!(100 * totals.table_bytes < 2 * totals.parameters);
    });
}
