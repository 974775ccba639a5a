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
    maps::run(&mut ReferenceBackend, &Grid::roundings(largest)).finish("reference");
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
