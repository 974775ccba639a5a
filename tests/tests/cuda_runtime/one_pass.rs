//! Tiles that take their coarse part in, beside the CPU's.

use crate::coupled::{follows_the_cpu, model};
use crate::emulator::emulated_and_on_gpu;
use crate::model::{OnDevice, report_gap, spec};

#[test]
fn tiles_that_take_their_coarse_part_in_follow_the_cpu() {
    let test = "one_pass::tiles_that_take_their_coarse_part_in_follow_the_cpu";
    emulated_and_on_gpu(test, || {
        let none = [0; 4];
        follows_the_cpu("tile=16 coarse=4 fine=fused", 17, [0, 3, 1, 2]);
        follows_the_cpu("tile=16 coarse=6 fine=none", 17, none);
        // Nothing is left of the stack; several passes of the factors through shared memory.
        follows_the_cpu("tile=16 coarse=34 fine=fused", 17, none);
        // Edges that are no multiples of four, single elements, three strips in a warp, tiles held transposed and lying ones, some of
        // which are as many as the rows or columns of a matrix leave.
        follows_the_cpu("tile=7 coarse=5 fine=fused", 17, [0, 1, 0, 5]);
        follows_the_cpu("tile=1 coarse=3 fine=fused", 17, none);
        follows_the_cpu("tile=48 coarse=9 fine=fused", 17, none);
        follows_the_cpu("tile=64x32 coarse=5 fine=fused", 17, [0, 2, 4, 0]);
        follows_the_cpu("tile=16x64 coarse=5 fine=fused", 17, none);
        // The stack and the square matrix are one tile each: they have no coarse part.
        follows_the_cpu("tile=80 coarse=8 fine=fused", 17, none);
    });
}

/// Largest relative gap of what is reported of a tile. Measured: 2.0e-6.
const REPORT_GAP: f32 = 1e-5;

#[test]
fn tiles_that_take_their_coarse_part_in_are_reported() {
    let test = "one_pass::tiles_that_take_their_coarse_part_in_are_reported";
    emulated_and_on_gpu(test, || {
        let specs = [spec("tile=16 coarse=4 fine=fused steps=3")];
        let mut model = model();
        let mut device = OnDevice::new(&model);
        let mut on_cpu = model.builder(&specs).diagnostics(true).build().unwrap();
        let mut on_device = device.optimizer(model.builder(&specs).diagnostics(true));
        let mut quiet = OnDevice::new(&model);
        let mut unreported = quiet.optimizer(model.builder(&specs));
        for _ in 0..2 {
            model.step_on_cpu(&mut on_cpu);
            device.step(&mut on_device);
            quiet.step(&mut unreported);
        }
        assert_eq!(device.bits(), quiet.bits(), "reports change nothing");
        let mut worst = 0.0_f32;
        for parameter in 1..4 {
            let here = on_cpu.tile_diagnostics(parameter);
            worst = worst.max(report_gap(here, on_device.tile_diagnostics(parameter)));
        }
        println!("measured: reports of tiles with a coarse part: {worst:.1e}");
        assert!(worst <= REPORT_GAP, "{worst:e}");
    });
}
