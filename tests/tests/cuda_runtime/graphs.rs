//! A graph captured once and replayed is the same steps.

use cudarc::driver::sys::CUgraphInstantiate_flags;
use cudarc::driver::sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
use himuon::cuda::{CudaBackend, DeviceRef};
use himuon::optimizer::{MuonOptions, StepError};
use himuon::schedule::TileSchedule;
use himuon::{Error, HiMuon, KernelSpec, Tile};
use himuon_toolkit::emulated::Inspection;

use crate::emulator::{emulated, emulated_and_on_gpu};
use crate::model::{Model, OnDevice, spec, tile};

const STEPS: u64 = 100;

fn model() -> Model {
    Model::new(
        &[
            ("embed.weight", &[9, 8]),
            ("blocks.0.q.weight", &[20, 20]),
            ("blocks.0.norm", &[20]),
        ],
        5,
    )
}

#[test]
fn a_replayed_graph_is_the_eager_steps_bit_for_bit() {
    let test = "graphs::a_replayed_graph_is_the_eager_steps_bit_for_bit";
    emulated_and_on_gpu(test, replays_are_eager_steps);
}

pub(crate) fn replays_are_eager_steps() {
    let model = model();
    // Every fifth step takes whole matrices, in a sequence of launches that every other step passes over.
    let specs = [tile(16), KernelSpec::new(Tile::Full)];
    let schedule = TileSchedule::periodic(Tile::square(16), Tile::Full, 5, 0.5).unwrap();
    let build = || model.builder(&specs).schedule(schedule.clone());
    let mut eager = OnDevice::new(&model);
    let mut one_by_one = eager.optimizer(build());
    let mut captured = OnDevice::new(&model);
    let mut replayed = captured.optimizer(build());
    let mut graph = replayed
        .capture(&mut captured.parameters(), 0..STEPS)
        .unwrap();
    assert_eq!(captured.bits(), eager.bits(), "a capture runs nothing");
    for step in 0..STEPS {
        let rate = 0.02 * (1.0 - step as f64 / STEPS as f64);
        let decay = 0.1 + 0.004 * step as f64;
        for optimizer in [&mut one_by_one, &mut replayed] {
            optimizer.set_learning_rate(rate);
            optimizer.set_weight_decay("blocks.*", decay).unwrap();
            optimizer.set_weight_decay("(rest)", 0.5 * decay).unwrap();
        }
        eager.step(&mut one_by_one);
        captured.load_gradients(step);
        let report = replayed
            .replay(&mut graph, &mut captured.parameters())
            .unwrap();
        assert_eq!(report.step, step);
        if step % 20 == 0 {
            assert_eq!(captured.bits(), eager.bits(), "step {step}");
        }
    }
    assert_eq!(captured.bits(), eager.bits());
    let unknown = replayed.set_weight_decay("blocks", 0.1).unwrap_err();
    assert!(
        unknown
            .to_string()
            .contains("the groups are blocks.*, (rest)"),
        "{unknown}"
    );
    replayed.check_replays().unwrap();
    let past = replayed.replay(&mut graph, &mut captured.parameters());
    assert!(
        matches!(past, Err(Error::Step(StepError::Recording { .. }))),
        "{past:?}"
    );
    // An ordinary step goes on where the graph stopped.
    eager.step(&mut one_by_one);
    captured.step(&mut replayed);
    assert_eq!(captured.bits(), eager.bits());
}

#[test]
fn what_a_graph_would_freeze_is_refused() {
    let test = "graphs::what_a_graph_would_freeze_is_refused";
    emulated_and_on_gpu(test, || {
        let model = model();
        let mut device = OnDevice::new(&model);
        let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
        let gradient = device.gradients[1].take();
        let missing = optimizer
            .capture(&mut device.parameters(), 0..10)
            .unwrap_err();
        assert!(
            missing
                .to_string()
                .contains("blocks.0.q.weight has no gradient"),
            "{missing}"
        );
        device.gradients[1] = gradient;
        let late = optimizer
            .capture(&mut device.parameters(), 3..10)
            .unwrap_err();
        assert!(
            late.to_string().contains("begin with the next step 0"),
            "{late}"
        );
        let bits = device.bits();
        let mut graph = optimizer.capture(&mut device.parameters(), 0..2).unwrap();
        device.gradients[1] = None;
        let frozen = optimizer
            .replay(&mut graph, &mut device.parameters())
            .unwrap_err();
        assert!(frozen.to_string().contains("no gradient"), "{frozen}");
        assert_eq!(device.bits(), bits);
        assert_eq!(optimizer.steps_taken(), 0);

        let mut host = device.optimizer(
            model
                .builder(&[tile(16)])
                .non_finite(himuon::optimizer::NonFinitePolicy::SkipStep),
        );
        device.gradients[1] = Some(device.stream.clone_htod(&model.weights[1]).unwrap());
        let host = host.capture(&mut device.parameters(), 0..2).unwrap_err();
        assert!(host.to_string().contains("decides on the host"), "{host}");
    });
}

#[test]
fn powers_above_zero_are_captured_too_and_replays_alone_stop_at_the_end() {
    let test = "graphs::powers_above_zero_are_captured_too_and_replays_alone_stop_at_the_end";
    emulated_and_on_gpu(test, || {
        let model = model();
        let specs = [spec("tile=16 power=1/2")];
        let mut eager = OnDevice::new(&model);
        let mut one_by_one = eager.optimizer(model.builder(&specs));
        let mut captured = OnDevice::new(&model);
        let mut replayed = captured.optimizer(model.builder(&specs));
        let mut graph = replayed.capture(&mut captured.parameters(), 0..2).unwrap();
        captured.load_gradients(0);
        replayed
            .replay(&mut graph, &mut captured.parameters())
            .unwrap();
        // The device goes on by itself, twice: the second replay is past the end and changes nothing.
        captured.load_gradients(1);
        // SAFETY: weights and gradients are those of the replay, and outlive the test.
        unsafe { graph.launch_alone() }.unwrap();
        eager.step(&mut one_by_one);
        eager.step(&mut one_by_one);
        assert_eq!(captured.bits(), eager.bits());
        // SAFETY: as above.
        unsafe { graph.launch_alone() }.unwrap();
        assert_eq!(captured.bits(), eager.bits());
        let past = replayed.check_replays().unwrap_err();
        assert!(
            past.to_string().contains("past its recorded steps"),
            "{past}"
        );
    });
}

#[test]
fn a_graph_takes_the_scale_of_its_loss_out_and_skips_an_overflow() {
    let test = "graphs::a_graph_takes_the_scale_of_its_loss_out_and_skips_an_overflow";
    emulated_and_on_gpu(test, || {
        const STEPS: u64 = 5;
        let model = model();
        let specs = [tile(16), KernelSpec::new(Tile::Full)];
        let schedule = TileSchedule::periodic(Tile::square(16), Tile::Full, 2, 0.5).unwrap();
        let run = |captured: bool| {
            let mut device = OnDevice::new(&model);
            let mut inverse = device.stream.clone_htod(&[0.0_f32]).unwrap();
            let mut found = device.stream.clone_htod(&[0.0_f32]).unwrap();
            let [inverse_at, found_at] =
                [&inverse, &found].map(|s| DeviceRef::of(s, &device.stream).address());
            let backend = CudaBackend::new(&device.stream).unwrap();
            // SAFETY: both slices outlive the optimizer and its graph.
            let backend = unsafe { backend.unscaled_by(inverse_at, Some(found_at)) };
            let builder = model.builder(&specs).schedule(schedule.clone());
            let mut optimizer = builder.build_on(Box::new(backend)).unwrap();
            let mut graph = captured.then(|| {
                let mut parameters = device.parameters();
                optimizer.capture(&mut parameters, 0..STEPS).unwrap()
            });
            let mut seen = Vec::new();
            for step in 0..STEPS {
                // The factor changes as trainers change it, without the host's doing.
                let factor = 1024.0 / (1 << step) as f32;
                let overflow = f32::from(u8::from(step == 2));
                device.load_scaled_gradients(step, factor);
                let stream = device.stream.clone();
                stream.memcpy_htod(&[1.0 / factor], &mut inverse).unwrap();
                stream.memcpy_htod(&[overflow], &mut found).unwrap();
                let mut parameters = device.parameters();
                match &mut graph {
                    Some(graph) => optimizer.replay(graph, &mut parameters).unwrap(),
                    None => optimizer.step(&mut parameters).unwrap(),
                };
                drop(parameters);
                seen.push(device.bits());
            }
            seen
        };
        let (eager, replayed) = (run(false), run(true));
        assert!(eager == replayed);
        assert!(
            eager[1] == eager[2] && eager[2] != eager[3],
            "one step was skipped"
        );
    });
}

/// A replay launches its phase's kernels and no others; a graph that goes on alone passes over those of other phases.
#[test]
fn a_replay_launches_the_kernels_of_its_phase_alone() {
    let test = "graphs::a_replay_launches_the_kernels_of_its_phase_alone";
    emulated(test, &[], || {
        const STEPS: u64 = 6;
        let model = model();
        let specs = [tile(16), KernelSpec::new(Tile::Full)];
        let schedule = TileSchedule::periodic(Tile::square(16), Tile::Full, 2, 0.5).unwrap();
        let build = || model.builder(&specs).schedule(schedule.clone());
        let emulator = Inspection::open().unwrap();
        let mut eager = OnDevice::new(&model);
        let mut one_by_one = eager.optimizer(build());
        let mut captured = OnDevice::new(&model);
        let mut replayed = captured.optimizer(build());
        let mut graph = replayed
            .capture(&mut captured.parameters(), 0..STEPS)
            .unwrap();
        let mut seen = Vec::new();
        for step in 0..STEPS {
            let ordinary = eager.step(&mut one_by_one);
            let expected = eager.bits();
            captured.load_gradients(step);
            captured.stream.synchronize().unwrap();
            let before = emulator.uses("launch").unwrap();
            let alone = step + 2 >= STEPS;
            if alone {
                // SAFETY: weights and gradients are those of the last replay, and outlive the test.
                unsafe { graph.launch_alone() }.unwrap();
            } else {
                let mut parameters = captured.parameters();
                let report = replayed.replay(&mut graph, &mut parameters).unwrap();
                assert_eq!(report.launches, ordinary.launches + 1, "the clock");
                seen.push(ordinary.launches);
            }
            assert_eq!(captured.bits(), expected, "step {step}");
            let launched = emulator.uses("launch").unwrap() - before;
            // The clock, the tiles of both phases, and one AdamW.
            let expected = match alone {
                true => 1 + seen[0] + seen[1] - 1,
                false => 1 + ordinary.launches,
            };
            assert_eq!(launched as usize, expected, "step {step}");
        }
        assert_ne!(seen[0], seen[1]);
        replayed.check_replays().unwrap();
    });
}

/// The host does not learn which steps the device skips, and counts them all; so does the device when it goes on alone.
#[test]
fn a_graph_that_goes_on_alone_counts_a_skipped_step_as_the_host_does() {
    let test = "graphs::a_graph_that_goes_on_alone_counts_a_skipped_step_as_the_host_does";
    emulated_and_on_gpu(test, || {
        const STEPS: u64 = 4;
        let model = model();
        let run = |captured: bool| {
            let mut device = OnDevice::new(&model);
            let stream = device.stream.clone();
            let inverse = stream.clone_htod(&[1.0_f32]).unwrap();
            let mut found = stream.clone_htod(&[0.0_f32]).unwrap();
            let [inverse_at, found_at] =
                [&inverse, &found].map(|s| DeviceRef::of(s, &device.stream).address());
            let backend = CudaBackend::new(&stream).unwrap();
            // SAFETY: both slices outlive the optimizer and its graph.
            let backend = unsafe { backend.unscaled_by(inverse_at, Some(found_at)) };
            let builder = model.builder(&[tile(16)]);
            let mut optimizer = builder.build_on(Box::new(backend)).unwrap();
            let mut graph = captured.then(|| {
                let mut parameters = device.parameters();
                optimizer.capture(&mut parameters, 0..STEPS).unwrap()
            });
            let mut seen = Vec::new();
            for step in 0..STEPS {
                device.load_gradients(step);
                let overflow = f32::from(u8::from(step == 1));
                stream.memcpy_htod(&[overflow], &mut found).unwrap();
                let mut parameters = device.parameters();
                match &mut graph {
                    // SAFETY: weights and gradients are those of the first replay, and outlive the test.
                    Some(graph) if step > 0 => unsafe { graph.launch_alone() }.unwrap(),
                    Some(graph) => drop(optimizer.replay(graph, &mut parameters).unwrap()),
                    None => drop(optimizer.step(&mut parameters).unwrap()),
                }
                drop(parameters);
                seen.push(device.bits());
            }
            seen
        };
        let (eager, alone) = (run(false), run(true));
        assert!(
            eager[0] == eager[1] && eager[1] != eager[2],
            "one is skipped"
        );
        for (step, (alone, eager)) in alone.iter().zip(&eager).enumerate() {
            assert!(alone == eager, "step {step}");
        }
    });
}

/// A launch inside a capture does not run, and a recording outside of one would.
#[test]
fn steps_are_refused_inside_a_capture_and_records_outside_of_one() {
    let test = "graphs::steps_are_refused_inside_a_capture_and_records_outside_of_one";
    emulated_and_on_gpu(test, || {
        let model = model();
        let mut eager = OnDevice::new(&model);
        let mut one_by_one = eager.optimizer(model.builder(&[tile(16)]));
        let mut device = OnDevice::new(&model);
        let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
        eager.step(&mut one_by_one);
        device.step(&mut optimizer);
        let stream = device.stream.clone();
        let mut parameters = device.parameters();
        stream
            .begin_capture(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .unwrap();
        let stepped = optimizer.step(&mut parameters);
        let prepared = optimizer.prepare_recording(&mut parameters, 1..3);
        let _ = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap();
        for error in [stepped.unwrap_err(), prepared.unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("the stream is being captured"), "{text}");
        }
        optimizer.prepare_recording(&mut parameters, 1..3).unwrap();
        let error = optimizer.record(&mut parameters).unwrap_err();
        assert!(
            error.to_string().contains("is not being captured"),
            "{error}"
        );
        drop(parameters);
        assert_eq!(device.bits(), eager.bits());
        // Nothing is lost by any of it.
        eager.step(&mut one_by_one);
        device.step(&mut optimizer);
        assert_eq!(device.bits(), eager.bits());
    });
}

#[test]
fn graphs_of_an_earlier_recording_or_a_dropped_optimizer_are_refused() {
    let test = "graphs::graphs_of_an_earlier_recording_or_a_dropped_optimizer_are_refused";
    emulated_and_on_gpu(test, || {
        let model = model();
        let mut device = OnDevice::new(&model);
        let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
        let mut earlier = optimizer.capture(&mut device.parameters(), 0..4).unwrap();
        let mut last = optimizer.capture(&mut device.parameters(), 0..4).unwrap();
        let bits = device.bits();
        let replayed = optimizer.replay(&mut earlier, &mut device.parameters());
        // SAFETY: weights and gradients are those of the captures, and outlive the test.
        let launched = unsafe { earlier.launch_alone() };
        for error in [replayed.unwrap_err(), launched.unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("of an earlier recording"), "{text}");
        }
        assert_eq!((device.bits(), optimizer.steps_taken()), (bits.clone(), 0));
        optimizer
            .replay(&mut last, &mut device.parameters())
            .unwrap();
        let bits_after = device.bits();
        assert_ne!(bits_after, bits);
        drop(optimizer);
        // SAFETY: as above.
        let error = unsafe { last.launch_alone() }.unwrap_err();
        assert!(error.to_string().contains("tables are gone"), "{error}");
        assert_eq!(device.bits(), bits_after);
    });
}

#[test]
fn default_streams_are_refused_by_name() {
    let test = "graphs::default_streams_are_refused_by_name";
    emulated_and_on_gpu(test, || {
        let context = himuon::cuda::open(0).unwrap();
        for stream in [context.default_stream(), context.per_thread_stream()] {
            let builder = HiMuon::builder()
                .parameter("blocks.0.q.weight", &[16, 32])
                .group_with("blocks.*", MuonOptions::specs([spec("tile=16 steps=2")]));
            let backend = Box::new(CudaBackend::new(&stream).unwrap());
            let mut optimizer = builder.build_on(backend).unwrap();
            let refused = optimizer.capture(&mut [], 0..1).unwrap_err().to_string();
            assert!(refused.contains("new_stream"), "{refused}");
        }
    });
}
