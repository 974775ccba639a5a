//! The suite on the generated CUDA kernels: emitted as bundles, compiled, launched from their manifests through cudarc
//! on the emulated driver, whose checks fail a launch.
//!
//! The whole grid: `HIMUON_LONG_TESTS=1 cargo test --release -p himuon-tests --test cuda`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test without its device fails")]

use himuon::templates::variant::Plain;
use himuon::templates::{CoefficientSet, Element, Mode, Operand, Recurrence, Variant};
use himuon_tests::conformance::step_case::StepCase;
use himuon_tests::conformance::{criteria, invariances, maps, scaling, step_case, steps};
use himuon_tests::cuda::CudaBackend;
use himuon_tests::grid::{Grid, PLAIN, long_tests};
use himuon_tests::inputs::Input;
use himuon_tests::report::Report;
use himuon_tests::specs::{newton_schulz, power, tile, with_tile};
use himuon_toolkit::emulated::isolated;

fn sm_80() -> CudaBackend {
    CudaBackend::new("sm_80").unwrap()
}

fn maps_of(backend: &mut CudaBackend, grids: &[Grid]) -> Report {
    let mut report = Report::default();
    for grid in grids {
        report.merge(maps::run(backend, grid));
    }
    report
}

#[test]
fn every_recurrence_on_tiles_and_types_in_turn() {
    let turns = if long_tests("turns 1 to 8 of recurrences, tiles and types") {
        9
    } else {
        1
    };
    let grids: Vec<Grid> = (0..turns).flat_map(Grid::in_turn).collect();
    maps_of(&mut sm_80(), &grids).finish("cuda");
}

fn run(cases: impl IntoIterator<Item = StepCase>) -> Report {
    let mut report = Report::default();
    let mut backend = sm_80();
    for case in cases {
        report.merge(step_case::run(&mut backend, &case));
    }
    report
}

#[test]
fn whole_steps() {
    let report = if long_tests("tilings and storages of whole steps") {
        steps::run_all(&mut sm_80())
    } else {
        run(steps::recurrences().into_iter().chain(steps::scalars()))
    };
    report.finish("cuda");
}

#[test]
fn whole_steps_of_master_weights() {
    steps::run_master_weights(&mut sm_80()).finish("cuda");
}

/// Long tests have these among all whole steps.
#[test]
fn whole_steps_with_strides_and_poison() {
    run(steps::strides_and_poison()).finish("cuda");
}

#[test]
fn criteria_decide_as_the_reference_does() {
    criteria::run_all(&mut sm_80()).finish("cuda");
}

#[test]
fn scales() {
    scaling::run_all(&mut sm_80()).finish("cuda");
}

#[test]
fn exact_facts() {
    if long_tests("exact facts of the CUDA kernels") {
        invariances::run_all(&mut sm_80()).finish("cuda");
    }
}

/// A part of the whole grid.
fn whole(what: &str, grid: fn() -> Grid) {
    if long_tests(what) {
        maps_of(&mut sm_80(), &[grid()]).finish("cuda");
    }
}

#[test]
fn whole_grid_of_tiles_operands_and_elements() {
    whole("every recurrence x tile x operand x element", Grid::on_chip);
}

#[test]
fn whole_grid_of_steps_and_powers() {
    whole(
        "other steps and powers x operand",
        Grid::steps_and_powers_on_chip,
    );
}

#[test]
fn whole_grid_of_the_published_rounding() {
    whole(
        "the published rounding x tile",
        Grid::published_rounding_on_chip,
    );
}

#[test]
fn whole_grid_of_small_and_ragged_tiles() {
    whole("every recurrence x small tile in f32", || {
        Grid::recurrences_and_inputs(64)
    });
}

fn steps_of(backend: &mut CudaBackend) -> Report {
    let specs = [
        with_tile(&newton_schulz(CoefficientSet::Muon, 5), tile(16, 16)),
        with_tile(&power(Recurrence::Fitted, 1, 2, 6), tile(16, 16)),
    ];
    let mut report = Report::default();
    for spec in specs {
        let mut poisoned = StepCase::new("poisoned", spec.clone());
        poisoned.poison = true;
        let mut masters = spec.clone();
        masters.storage.weight = Element::Bf16;
        masters.storage.master_weights = true;
        report.merge(step_case::run(backend, &StepCase::new("step", spec)));
        report.merge(step_case::run(backend, &poisoned));
        report.merge(step_case::run(backend, &StepCase::new("masters", masters)));
    }
    report
}

/// Nothing but the elements themselves need be aligned.
#[test]
fn tensors_at_any_address() {
    steps_of(&mut sm_80().shifted(1)).finish("cuda");
}

/// The map of power > 0 in the place of its gradient.
#[test]
fn gradients_that_are_consumed() {
    let mut report = steps_of(&mut sm_80().consuming_gradients());
    let plain = sm_80().with_variant(Variant::Plain(Plain { warps: 2 }));
    report.merge(steps_of(&mut plain.consuming_gradients()));
    report.finish("cuda");
}

/// The family for what does not fit on chip, on what does.
#[test]
fn the_plain_family() {
    let plain = Variant::Plain(Plain { warps: 3 });
    steps_of(&mut sm_80().with_variant(plain)).finish("cuda");
}

/// The text of another class on a device of that class, in a process of its own.
fn on(device: &str, test: &str, target: &'static str, operand: Operand) {
    // Warps in another order than elsewhere: the same tolerances, and no race.
    let environment = [
        ("HIMUON_EMULATOR_DEVICES", device),
        ("HIMUON_EMULATOR_ORDER", "random:7"),
    ];
    let outcome = isolated(test, &environment, || {
        let mut backend = CudaBackend::new(target).unwrap();
        let mut report = Report::default();
        for (rows, columns) in [(48, 48), (64, 64), (96, 40)] {
            for base in [
                newton_schulz(CoefficientSet::Muon, 5),
                power(Recurrence::Fitted, 1, 2, 6),
            ] {
                let grid = Grid {
                    specs: vec![(target, base)],
                    tiles: vec![(tile(rows, columns), vec![(100, 70)])],
                    inputs: vec![Input::Gaussian, Input::NearLowRank],
                    elements: vec![Element::F16],
                    roundings: vec![(operand, Mode::Accurate)],
                };
                report.merge(maps::run(&mut backend, &grid));
            }
        }
        report.finish(target);
    });
    outcome.unwrap();
}

/// Shared memory is written by whole matrices there.
#[test]
fn compute_capability_9_0() {
    on("sm_90", "compute_capability_9_0", "sm_90a", Operand::Bf16);
}

/// Tensor cores take f16 alone there, and half as deep.
#[test]
fn compute_capability_7_5() {
    on("sm_75", "compute_capability_7_5", "sm_75", Operand::F16);
}

/// Tensor cores cut sums off, which the emulator does only where it is asked to: full f32 must not lean on exact ones.
#[test]
fn f32_products_where_sums_are_cut_off() {
    let test = "f32_products_where_sums_are_cut_off";
    let outcome = isolated(test, &[("HIMUON_EMULATOR_SUMS", "truncated")], || {
        let grid = Grid {
            specs: vec![
                ("muon k5", newton_schulz(CoefficientSet::Muon, 5)),
                (
                    "polar express",
                    newton_schulz(CoefficientSet::PolarExpress, 5),
                ),
            ],
            tiles: vec![(tile(64, 64), vec![(64, 64)])],
            inputs: vec![Input::Gaussian, Input::IllConditioned],
            elements: vec![Element::F32],
            roundings: vec![PLAIN],
        };
        let report = maps::run(&mut sm_80(), &grid);
        report.finish("tensor cores that cut off");
    });
    outcome.unwrap();
}
