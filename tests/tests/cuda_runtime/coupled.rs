//! Tiles coupled by a coarse part, beside the CPU's.

use crate::emulator::emulated;
use crate::model::{Model, OnDevice, spec, update_gap};

/// Relative Frobenius gap of the update over three steps, worst parameter, standard normal weights and gradients, f32
/// operands on both sides.
const GAP: f64 = 2e-5;

/// Three steps on both sides; launches of a step without AdamW's.
fn follows_the_cpu(text: &str, launches: usize) {
    let mut model = Model::mixed();
    let specs = [spec(text)];
    let start = model.weights.clone();
    let mut device = OnDevice::new(&model);
    let mut on_cpu = model.builder(&specs).build().unwrap();
    let mut on_device = device.optimizer(model.builder(&specs));
    for step in 0..3 {
        let cpu = model.step_on_cpu(&mut on_cpu);
        let report = device.step(&mut on_device);
        assert_eq!(report.launches, launches + 1, "{text}");
        assert_eq!(report.tiles, cpu.tiles);
        let gap = update_gap(&start, &model.weights, &device.read());
        println!("measured: {text}, step {step}: gap {gap:.1e}");
        assert!(gap < GAP, "{text}, step {step}: {gap:e}");
    }
}

#[test]
fn coupled_tiles_follow_the_cpu() {
    let test = "coupled::coupled_tiles_follow_the_cpu";
    emulated(test, &[], || {
        follows_the_cpu("tile=16 coarse=4 fine=fused", 8);
        follows_the_cpu("tile=16 coarse=4", 11);
        follows_the_cpu("tile=16 coarse=6 fine=none", 8);
        follows_the_cpu("tile=16 coarse=64", 8);
        follows_the_cpu("tile=7 coarse=5 fine=fused", 8);
    });
}
