//! Graphs and what is not a replay between them: states that are loaded, and what cannot be recorded.

use himuon::optimizer::ProbeOptions;

use crate::emulator::{emulated, emulated_and_on_gpu};
use crate::model::{Model, OnDevice, spec, tile};

const STEPS: u64 = 4;

fn model() -> Model {
    Model::new(
        &[("blocks.0.q.weight", &[20, 20]), ("blocks.0.norm", &[20])],
        7,
    )
}

/// A state from before the first step has no momenta: the graph's tables must not keep those that it replaces.
#[test]
fn a_state_that_is_loaded_goes_on_in_the_graph() {
    let test = "graph_states::a_state_that_is_loaded_goes_on_in_the_graph";
    emulated_and_on_gpu(test, || {
        for text in [
            "tile=16",
            "tile=16 power=1/2",
            "tile=16 coarse=4 fine=fused",
        ] {
            let model = model();
            let specs = [spec(text)];
            let mut eager = OnDevice::new(&model);
            let mut one_by_one = eager.optimizer(model.builder(&specs));
            let mut device = OnDevice::new(&model);
            let mut optimizer = device.optimizer(model.builder(&specs));
            let start = optimizer.save_state_to_bytes().unwrap();
            let mut graph = optimizer
                .capture(&mut device.parameters(), 0..STEPS)
                .unwrap();
            let mut replays = |device: &mut OnDevice, count: u64| {
                for _ in 0..count {
                    device.load_gradients(optimizer.steps_taken());
                    optimizer
                        .replay(&mut graph, &mut device.parameters())
                        .unwrap();
                }
                if count < STEPS {
                    optimizer.load_state_from_bytes(&start).unwrap();
                }
            };
            replays(&mut device, 2);
            for (weight, numbers) in device.weights.iter_mut().zip(&model.weights) {
                device.stream.memcpy_htod(numbers, weight).unwrap();
            }
            replays(&mut device, STEPS);
            for _ in 0..STEPS {
                eager.step(&mut one_by_one);
            }
            assert_eq!(device.bits(), eager.bits(), "{text}");
        }
    });
}

#[test]
fn a_probe_and_more_steps_than_a_recording_has_are_refused() {
    let test = "graph_states::a_probe_and_more_steps_than_a_recording_has_are_refused";
    emulated(test, &[], || {
        let model = model();
        let mut device = OnDevice::new(&model);
        let mut optimizer = device.optimizer(model.builder(&[tile(16)]));
        let all = 0..u64::from(u32::MAX);
        let error = optimizer.capture(&mut device.parameters(), all);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("to hold 1 to 16777216"), "{error}");
        let probing = model.builder(&[tile(16)]).probe(ProbeOptions::default());
        let mut probing = device.optimizer(probing);
        let error = probing.capture(&mut device.parameters(), 0..2);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("probe"), "{error}");
    });
}
