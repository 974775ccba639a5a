//! State moves between the CPU and the device, bit for bit.

use crate::emulator::emulated_and_on_gpu;
use crate::model::{Model, OnDevice, tile, update_gap};

#[test]
fn a_checkpoint_goes_from_the_cpu_to_the_device_and_back_bit_for_bit() {
    let test = "state::a_checkpoint_goes_from_the_cpu_to_the_device_and_back_bit_for_bit";
    emulated_and_on_gpu(test, || {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, third] = ["a", "b", "c"].map(|name| folder.path().join(name));
        let mut model = Model::mixed();
        let mut on_cpu = model.builder(&[tile(16)]).build().unwrap();
        model.step_on_cpu(&mut on_cpu);
        on_cpu.save_state(&first).unwrap();

        let mut device = OnDevice::new(&model);
        let mut on_device = device.optimizer(model.builder(&[tile(16)]));
        let report = on_device.load_state(&first).unwrap();
        assert_eq!(report.step, 1);
        assert!(
            report.differences.iter().any(|line| line.contains("cuda")),
            "{report:?}"
        );
        on_device.save_state(&second).unwrap();
        let mut back = model.builder(&[tile(16)]).build().unwrap();
        back.load_state(&second).unwrap();
        back.save_state(&third).unwrap();
        assert!(tensors(&first) == tensors(&second) && tensors(&first) == tensors(&third));

        // The run goes on there as it would have here.
        let start = model.weights.clone();
        model.step_on_cpu(&mut on_cpu);
        device.step(&mut on_device);
        let gap = update_gap(&start, &model.weights, &device.read());
        // As steps.rs says; measured 1.0e-5.
        assert!(gap < 2e-5, "{gap:e}");

        // A run on the device that was interrupted gives the bits of one that was not.
        let saved = folder.path().join("d");
        on_device.save_state(&saved).unwrap();
        let mut resumed = OnDevice::new(&Model {
            weights: device.read(),
            ..model.clone()
        });
        let mut other = resumed.optimizer(model.builder(&[tile(16)]));
        other.load_state(&saved).unwrap();
        device.step(&mut on_device);
        resumed.step(&mut other);
        assert_eq!(device.bits(), resumed.bits());
    });
}

/// Names, types, shapes and bytes of a state file.
fn tensors(path: &std::path::Path) -> Vec<(String, String, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut found: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let kind = format!("{:?}{:?}", tensor.dtype(), tensor.shape());
            (name, kind, tensor.data().to_vec())
        })
        .collect();
    found.sort();
    assert!(found.len() > 4);
    found
}
