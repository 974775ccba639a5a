//! Row normalisation beside the CPU's.

use himuon::HiMuon;
use himuon::optimizer::{HiMuonBuilder, MuonOptions, NorMuon};
use himuon::tensor::{TensorMut, TensorRef};

use crate::emulator::emulated;
use crate::model::{Model, OnDevice, spec, update_gap};

/// Relative Frobenius gap of the update over three steps, worst parameter, standard normal weights and gradients, f32
/// operands on both sides.
const GAP: f64 = 6e-5;

fn model() -> Model {
    Model::new(
        &[
            ("blocks.0.q.weight", &[60, 52]),
            ("blocks.0.up.weight", &[150, 20]),
            ("blocks.0.down.weight", &[20, 70]),
        ],
        31,
    )
}

/// Rows are normalised but for the last matrix, which has the same specification.
fn builder(model: &Model, text: &str) -> HiMuonBuilder {
    let options = || MuonOptions::specs([spec(text)]);
    HiMuon::builder()
        .parameters(model.parameters.iter().map(|(name, shape)| (name, shape)))
        .threads(1)
        .group_with("*.down.*", options())
        .group_with("blocks.*", options().row_normalisation(NorMuon::default()))
}

fn follows_the_cpu(text: &str, launches: usize) {
    let mut model = model();
    let start = model.weights.clone();
    let mut device = OnDevice::strided(0, &model, vec![3, 0, 1]);
    let mut on_cpu = builder(&model, text).build().unwrap();
    let mut on_device = device.optimizer(builder(&model, text));
    let mut worst: f64 = 0.0;
    for step in 0..3 {
        model.step_on_cpu(&mut on_cpu);
        let report = device.step(&mut on_device);
        let planned = on_device.plan(step).unwrap().kernels() as usize;
        assert_eq!((planned, report.launches), (launches, launches), "{text}");
        let gap = update_gap(&start, &model.weights, &device.read());
        worst = worst.max(gap);
        assert!(gap < GAP, "{text}, step {step}: {gap:e}");
    }
    println!("measured: {text}: gap {worst:.1e}");
}

#[test]
fn normalised_rows_follow_the_cpu() {
    let test = "row_normalisation::normalised_rows_follow_the_cpu";
    emulated(test, &[], || {
        follows_the_cpu("tile=16", 5);
        follows_the_cpu("tile=7x64", 5);
        follows_the_cpu("tile=16 coarse=4 fine=fused", 10);
        follows_the_cpu("tile=16 coarse=20", 13);
        // Muon itself with normalised rows, by the streamed family.
        follows_the_cpu("tile=full", 25);
    });
}

#[test]
fn moments_are_state_and_tiles_that_are_not_finite_take_no_part() {
    let test = "row_normalisation::moments_are_state_and_tiles_that_are_not_finite_take_no_part";
    emulated(test, &[], || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut model = model();
        let start = model.weights.clone();
        let mut device = OnDevice::new(&model);
        let mut on_cpu = builder(&model, "tile=16").build().unwrap();
        let mut on_device = device.optimizer(builder(&model, "tile=16"));
        let mut gradients = model.gradients(0);
        gradients[0][52 * 20 + 3] = f32::INFINITY;
        // A row of tiles that are all left alone.
        (0..20).for_each(|column| gradients[1][column] = f32::NAN);
        for (slice, gradient) in device.gradients.iter_mut().zip(&gradients) {
            let slice = slice.as_mut().unwrap();
            device.stream.memcpy_htod(gradient, slice).unwrap();
        }
        on_device.step(&mut device.parameters()).unwrap();
        let pairs = model.weights.iter_mut().zip(&gradients);
        let mut parameters: Vec<_> = pairs
            .map(|(weight, gradient)| himuon::ParameterStep {
                weight: TensorMut::F32(weight),
                gradient: Some(TensorRef::F32(gradient)),
            })
            .collect();
        on_cpu.step(&mut parameters).unwrap();
        drop(parameters);
        let counts = on_device.tile_counts().unwrap();
        assert_eq!(counts, on_cpu.tile_counts().unwrap());
        assert_eq!(counts.non_finite_tiles, 3);
        // The moments go to the CPU, which goes on as the device does.
        on_device.save_state(&path).unwrap();
        let mut resumed = builder(&model, "tile=16").build().unwrap();
        resumed.load_state(&path).unwrap();
        model.step_on_cpu(&mut resumed);
        device.step(&mut on_device);
        let gap = update_gap(&start, &model.weights, &device.read());
        println!("measured: after numbers that are not finite: gap {gap:.1e}");
        assert!(gap < GAP, "{gap:e}");
    });
}
