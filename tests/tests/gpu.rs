//! The suite on a GPU: the same kernels, cases and tolerances as `cuda` and `streamed` have on the emulated driver, which this
//! process does not load.
//!
//! To rehearse it where there is no GPU, with the cut-off sums of tensor cores:
//! `HIMUON_EMULATOR_SUMS=truncated LD_LIBRARY_PATH=target/emulated-driver-debug cargo test --workspace --test gpu`
//! once another test has built the emulated driver.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test without its device fails")]

use himuon::cuda;
use himuon::templates::variant::Plain;
use himuon::templates::{Element, Mode, Operand, Tile, Variant};
use himuon_tests::conformance::step_case::{StepCase, run};
use himuon_tests::conformance::{criteria, invariances, maps, scaling, steps};
use himuon_tests::cuda::CudaBackend;
use himuon_tests::grid::{Grid, long_tests};
use himuon_tests::inputs::Input;
use himuon_tests::report::Report;
use himuon_tests::specs::{every_recurrence, tile, with_tile};

/// Kernels on the first GPU; `None`, having said why, where there is none that can be used.
fn gpu() -> Option<CudaBackend> {
    let device = match cuda::devices() {
        Ok(mut devices) => devices.remove(0),
        Err(error) => {
            println!("SKIPPED: no GPU to run on ({error})");
            return None;
        }
    };
    match CudaBackend::on_gpu(&device.target()) {
        Ok(backend) => {
            println!("on {}, driver {}", device.name, device.driver_version());
            Some(backend)
        }
        Err(error) => {
            println!("SKIPPED: {} cannot be used ({error})", device.name);
            None
        }
    }
}

/// Whether tiles hold numbers as wide as bf16 and tf32 in tensor cores.
fn has_wide_tensor_cores(backend: &CudaBackend) -> bool {
    backend.target() != "sm_75"
}

#[test]
fn every_recurrence_on_tiles_and_types_in_turn() {
    let Some(mut backend) = gpu() else { return };
    let turns = if long_tests("turns 1 to 8 of recurrences, tiles and types") {
        9
    } else {
        1
    };
    let mut report = Report::default();
    for grid in (0..turns).flat_map(Grid::in_turn) {
        report.merge(maps::run(&mut backend, &grid));
    }
    report.finish("gpu");
}

/// The sizes in most use, with the operands of each: what the other cases have little of.
#[test]
fn the_stock_tiles_in_sixteen_bits() {
    let Some(mut backend) = gpu() else { return };
    let operands = match has_wide_tensor_cores(&backend) {
        true => vec![Operand::Bf16, Operand::F16, Operand::Tf32],
        false => vec![Operand::F16],
    };
    let mut specs = every_recurrence();
    specs.retain(|(label, _)| label.starts_with("muon") || label.starts_with("fitted"));
    let grid = Grid {
        specs,
        tiles: [16, 32, 64, 128]
            .map(|edge| (tile(edge, edge), vec![(200, 150)]))
            .to_vec(),
        inputs: vec![Input::Gaussian, Input::NearLowRank],
        elements: vec![Element::F16],
        roundings: operands
            .into_iter()
            .map(|operand| (operand, Mode::Accurate))
            .collect(),
    };
    maps::run(&mut backend, &grid).finish("gpu");
}

#[test]
fn whole_steps() {
    let Some(mut backend) = gpu() else { return };
    let mut report = Report::default();
    for case in steps::recurrences()
        .into_iter()
        .chain(steps::scalars())
        .chain(steps::strides_and_poison())
    {
        report.merge(run(&mut backend, &case));
    }
    report.merge(steps::run_master_weights(&mut backend));
    report.finish("gpu");
}

#[test]
fn criteria_decide_as_the_reference_does() {
    let Some(mut backend) = gpu() else { return };
    criteria::run_all(&mut backend).finish("gpu");
}

#[test]
fn scales() {
    let Some(mut backend) = gpu() else { return };
    scaling::run_all(&mut backend).finish("gpu");
}

#[test]
fn exact_facts() {
    let Some(mut backend) = gpu() else { return };
    if long_tests("exact facts of the CUDA kernels") {
        invariances::run_all(&mut backend).finish("gpu");
    }
}

/// Nothing but the elements themselves need be aligned, and the map of power > 0 may take its gradient's place.
#[test]
fn tensors_at_any_address_and_gradients_that_are_consumed() {
    let (Some(shifted), Some(consuming)) = (gpu(), gpu()) else {
        return;
    };
    let mut backends = [shifted.shifted(1), consuming.consuming_gradients()];
    let mut report = Report::default();
    for backend in &mut backends {
        for text in ["tile=16", "tile=16 power=1/2", "tile=64 weight=f16"] {
            report.merge(run(backend, &StepCase::new(text, text.parse().unwrap())));
        }
    }
    report.finish("gpu");
}

/// The families for what does not fit on chip.
#[test]
fn the_plain_and_the_streamed_family() {
    let Some(mut backend) = gpu() else { return };
    let mut report = Report::default();
    backend.select(Some(Variant::Plain(Plain { warps: 3 })));
    for text in ["tile=16", "tile=16 power=1/2"] {
        report.merge(run(
            &mut backend,
            &StepCase::new(text, text.parse().unwrap()),
        ));
    }
    backend.select(None);
    for (label, spec) in every_recurrence() {
        let mut case = StepCase::new(label, with_tile(&spec, Tile::Full));
        case.shapes = vec![(144, 176), (80, 66), (1, 20), (5, 1)];
        case.steps = 1;
        report.merge(run(&mut backend, &case));
    }
    for text in ["tile=136x160", "tile=full momentum=bf16 weight=f16"] {
        let mut case = StepCase::new(text, text.parse().unwrap());
        case.shapes = vec![(144, 300), (40, 176)];
        case.gaps = (3, 17);
        report.merge(run(&mut backend, &case));
    }
    report.finish("gpu");
}
