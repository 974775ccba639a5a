//! Factors of coarse parts, whose rows many blocks share: the same bits in any order of blocks, beside the CPU's where f64 is slow and
//! Gram matrices are summed up in pairs of f32, at the ends of the range of f32, and where columns collapse.

use std::hash::{DefaultHasher, Hash, Hasher};

use himuon::HiMuon;
use himuon::cuda::Device;

use crate::coupled::{follows_the_cpu, one_that_is_not_finite};
use crate::emulator::{emulated, emulated_and_on_gpu};
use crate::model::{Model, OnDevice, normal, spec, update_gap};

/// A device whose f64 has 1/64 of the rate of f32.
const SLOW: (&str, &str) = ("HIMUON_EMULATOR_DEVICES", "sm_89");

/// Relative Frobenius gap of the update over three steps, as in `coupled`. Measured: 1.6e-5.
const GAP: f64 = 6e-5;

/// Factors of several chunks of rows, and of several times 32 columns.
fn tall() -> Model {
    Model::new(&[("blocks.0.up.weight", &[300, 44])], 41)
}

#[test]
fn the_order_of_blocks_does_not_change_a_bit() {
    let test = "shared_factors::the_order_of_blocks_does_not_change_a_bit";
    let random = ("HIMUON_EMULATOR_ORDER", "random:7");
    for device in [&[][..], &[SLOW]] {
        let run = |order: &[(&str, &str)]| {
            emulated(test, &[device, order].concat(), || {
                let model = tall();
                let mut device = OnDevice::new(&model);
                let specs = [spec("tile=16 coarse=40 fine=projected")];
                let mut optimizer = device.optimizer(model.builder(&specs));
                (0..2).for_each(|_| drop(device.step(&mut optimizer)));
                let mut hash = DefaultHasher::new();
                device.bits().hash(&mut hash);
                println!("measured: bits {:x}", hash.finish());
            })
        };
        let bits = |output: String| {
            let found = output.lines().find_map(|line| line.split("bits ").nth(1));
            found.map(str::to_owned)
        };
        let (once, again, shuffled) = (bits(run(&[])), bits(run(&[])), bits(run(&[random])));
        if std::env::var_os("HIMUON_ISOLATED_TEST").is_some() {
            return;
        }
        assert!(once.is_some());
        assert_eq!((&again, &shuffled), (&once, &once));
    }
}

#[test]
fn where_f64_is_slow_updates_follow_the_cpu() {
    let test = "shared_factors::where_f64_is_slow_updates_follow_the_cpu";
    emulated(test, &[SLOW], || {
        follows_the_cpu("tile=16 coarse=34 fine=projected", 24, [0; 4]);
        one_that_is_not_finite("tile=16 coarse=4 fine=fused");
    });
}

/// Three steps with these gradients on both sides; the optimizers, and the gap of the updates.
fn beside_the_cpu(
    mut model: Model,
    text: &str,
    gradients: &[Vec<f32>],
) -> (HiMuon, HiMuon<Device>, f64) {
    let specs = [spec(text)];
    let start = model.weights.clone();
    let mut device = OnDevice::new(&model);
    let mut on_cpu = model.builder(&specs).diagnostics(true).build().unwrap();
    let mut on_device = device.optimizer(model.builder(&specs).diagnostics(true));
    for _ in 0..3 {
        model.step_on_cpu_with(&mut on_cpu, gradients);
        device.step_with(&mut on_device, gradients);
    }
    let gap = update_gap(&start, &model.weights, &device.read());
    (on_cpu, on_device, gap)
}

/// Squares of these numbers, or what they are rounded by, are no f32 numbers.
#[test]
fn squares_beyond_the_range_of_f32_are_summed_up() {
    let test = "shared_factors::squares_beyond_the_range_of_f32_are_summed_up";
    emulated(test, &[SLOW], || {
        for exponent in [-70, 70] {
            let model = tall();
            let mut gradients = model.gradients(0);
            let factor = 2.0_f32.powi(exponent);
            gradients.iter_mut().flatten().for_each(|g| *g *= factor);
            let text = "tile=16 coarse=12 fine=projected";
            let (_, _, gap) = beside_the_cpu(model, text, &gradients);
            println!("measured: gradients of 2^{exponent}: gap {gap:.1e}");
            assert!(gap < GAP, "2^{exponent}: {gap:e}");
        }
    });
}

/// A gradient of rank two, which does not change: of six columns four collapse at every step and start from their seeds at the next.
fn columns_collapse() {
    let model = Model::new(&[("blocks.0.up.weight", &[200, 40])], 43);
    let (left, right) = (normal(1, 2 * 200), normal(2, 2 * 40));
    let gradient = (0..200 * 40).map(|number| {
        let (row, column) = (number / 40, number % 40);
        left[2 * row] * right[2 * column] + 0.3 * left[2 * row + 1] * right[2 * column + 1]
    });
    let gradients = [gradient.collect()];
    let text = "tile=16 coarse=6 fine=projected";
    let (on_cpu, on_device, gap) = beside_the_cpu(model, text, &gradients);
    println!("measured: columns that collapse: gap {gap:.1e}");
    assert!(gap < GAP, "{gap:e}");
    let (cpu, cuda) = (on_cpu.coarse_figures(0), on_device.coarse_figures(0));
    assert_eq!((cpu[0].collapsed, cuda[0].collapsed), (4, 4));
}

#[test]
fn columns_that_collapse_start_again() {
    let test = "shared_factors::columns_that_collapse_start_again";
    emulated_and_on_gpu(test, columns_collapse);
}

#[test]
fn columns_that_collapse_start_again_where_f64_is_slow() {
    let test = "shared_factors::columns_that_collapse_start_again_where_f64_is_slow";
    emulated(test, &[SLOW], columns_collapse);
}
