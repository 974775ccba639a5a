//! The suite on the `f64` reference: what it measures when the kernel is perfect.

use himuon_tests::backend::ReferenceBackend;
use himuon_tests::conformance::{criteria, invariances, maps, scaling, steps};
use himuon_tests::grid::{Grid, long_tests};

#[test]
fn operand_types_alone() {
    let largest = if long_tests("operand types at T = 128") {
        128
    } else {
        64
    };
    let mut report = maps::run(&mut ReferenceBackend, &Grid::roundings(largest));
    if largest == 128 {
        // What magnifies most, on the tiles and storages of the CUDA kernels.
        let mut grid = Grid::on_chip();
        grid.specs.retain(|(label, _)| label.starts_with("cans"));
        report.merge(maps::run(&mut ReferenceBackend, &grid));
    }
    report.finish("reference");
}

#[test]
fn steps_of_the_reference() {
    let mut report = steps::run_all(&mut ReferenceBackend);
    report.merge(criteria::run_all(&mut ReferenceBackend));
    report.merge(scaling::run_all(&mut ReferenceBackend));
    report.finish("reference");
}

#[test]
fn invariances_of_the_reference() {
    invariances::run_all(&mut ReferenceBackend).finish("reference");
}
