//! The suite on the CPU kernels.

use himuon_tests::conformance::{criteria, invariances, maps, scaling, steps};
use himuon_tests::cpu::CpuBackend;
use himuon_tests::grid::{Grid, long_tests};

#[test]
fn every_recurrence_on_every_input() {
    maps::run(&mut CpuBackend::new(1), &Grid::recurrences_and_inputs(64)).finish("cpu");
}

#[test]
fn large_tiles() {
    let grid = if long_tests("every recurrence and input at T = 128 and 256") {
        Grid::recurrences_and_inputs(256)
    } else {
        Grid::large()
    };
    maps::run(&mut CpuBackend::new(2), &grid).finish("cpu");
}

#[test]
fn other_steps_and_powers() {
    maps::run(&mut CpuBackend::new(1), &Grid::steps_and_powers()).finish("cpu");
}

#[test]
fn sixteen_bit_storage() {
    maps::run(&mut CpuBackend::new(1), &Grid::storage()).finish("cpu");
}

#[test]
fn published_rounding() {
    let mut backend = CpuBackend::new(1);
    let mut report = maps::run(&mut backend, &Grid::published_rounding(64));
    report.merge(maps::run(&mut backend, &Grid::published_rounding_on_chip()));
    report.finish("cpu");
}

#[test]
fn whole_steps() {
    let mut backend = CpuBackend::new(2);
    let mut report = steps::run_all(&mut backend);
    report.merge(steps::run_master_weights(&mut backend));
    report.finish("cpu");
}

#[test]
fn criteria_decide_as_the_reference_does() {
    criteria::run_all(&mut CpuBackend::new(2)).finish("cpu");
}

#[test]
fn scales() {
    scaling::run_all(&mut CpuBackend::new(1)).finish("cpu");
}

#[test]
fn exact_facts() {
    invariances::run_all(&mut CpuBackend::new(2)).finish("cpu");
}
