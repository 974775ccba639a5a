//! The map of every tile against the same map in `f64`.

use crate::backend::{Backend, Refusal};
use crate::grid::Grid;
use crate::inputs::Input;
use crate::judge::{Judgement, judge};
use crate::report::Report;
use crate::storage::{Buffer, half_ulp};
use crate::tolerances::Class;
use himuon::KernelSpec;
use himuon::reference::{Matrix, Normalisation, ReferenceMap, tiles};
use himuon::templates::{Element, Mode, Storage, Tile};

/// One matrix of the grid.
struct Case {
    label: &'static str,
    spec: KernelSpec,
    shape: (usize, usize),
    input: Input,
    element: Element,
}

/// Runs a grid.
pub fn run(backend: &mut dyn Backend, grid: &Grid) -> Report {
    let mut report = Report::default();
    for case in cases(grid) {
        run_case(backend, &case, &mut report);
    }
    report
}

fn cases(grid: &Grid) -> Vec<Case> {
    let mut cases = Vec::new();
    for (label, spec) in &grid.specs {
        for (tile, shapes) in &grid.tiles {
            for shape in shapes {
                for input in &grid.inputs {
                    for element in &grid.elements {
                        for (operand, mode) in &grid.roundings {
                            cases.push(Case {
                                label,
                                spec: KernelSpec {
                                    tile: *tile,
                                    operand: *operand,
                                    mode: *mode,
                                    storage: Storage {
                                        weight: *element,
                                        ..spec.storage
                                    },
                                    ..spec.clone()
                                },
                                shape: *shape,
                                input: *input,
                                element: *element,
                            });
                        }
                    }
                }
            }
        }
    }
    // The published code does not guard its norm: 1e20 overflows it by design.
    cases.retain(|case| case.spec.mode == Mode::Accurate || case.input != Input::Huge);
    cases
}

fn smaller_edge(tile: Tile, (rows, columns): (usize, usize)) -> usize {
    let (height, width) = tile.effective(rows, columns);
    height.min(width)
}

fn run_case(backend: &mut dyn Backend, case: &Case, report: &mut Report) {
    let (rows, columns) = case.shape;
    let edge = smaller_edge(case.spec.tile, case.shape);
    let seed = 1 + (rows * 1000 + columns) as u64;
    let input = case.input.matrix(rows, columns, edge, case.element, seed);
    let name = format!(
        "{} {} {:?} {rows}x{columns} {:?} {:?} {:?} {:?}",
        backend.name(),
        case.label,
        case.spec.tile,
        case.input,
        case.element,
        case.spec.operand,
        case.spec.mode
    );
    let reference = match ReferenceMap::new(&case.spec) {
        Ok(reference) => reference,
        Err(error) => return report.skip(format!("{}: {error}", case.label)),
    };
    let buffer = Buffer::contiguous(&input, case.element);
    let result = backend.map(
        &case.spec,
        buffer.read(),
        rows,
        columns,
        Normalisation::None,
    );
    let (found, launch) = match result {
        Ok(result) => result,
        Err(Refusal::Unsupported(why)) => return report.skip(why),
        Err(Refusal::Failed(why)) => return report.holds(false, || format!("{name}: {why}")),
    };
    let found = Matrix::from_f32(rows, columns, &found);
    let rounding = backend.map_element(&case.spec);
    let all = tiles(case.spec.tile, rows, columns);
    report.holds(
        launch.tiles == all.len() && launch.non_finite_tiles == 0,
        || format!("{name}: reported {launch:?} for {} finite tiles", all.len()),
    );
    for bounds in all {
        let tile = input.cut(&bounds);
        let rank = case
            .input
            .rank(edge)
            .filter(|rank| *rank < tile.min_dimension());
        let expected = reference.polynomial(&tile);
        let found = without_rounding(&found.cut(&bounds), &expected, rounding);
        let judgement = judge(&tile, &found, &expected, rank);
        let place = format!("{name} tile ({}, {})", bounds.row, bounds.column);
        record(report, case, tile.min_dimension(), &judgement, &place);
    }
}

/// What is left of each element's error when its own rounding to 16 bits is taken off.
fn without_rounding(found: &Matrix, expected: &Matrix, element: Element) -> Matrix {
    if element == Element::F32 {
        return found.clone();
    }
    Matrix::from_fn(found.rows(), found.columns(), |row, column| {
        let (found, expected) = (found.get(row, column), expected.get(row, column));
        let error = found - expected;
        let rounding = 1.001 * half_ulp(element, expected.abs().max(found.abs()));
        if error.abs() <= rounding {
            expected
        } else {
            found - error.signum() * rounding
        }
    })
}

fn record(report: &mut Report, case: &Case, edge: usize, judgement: &Judgement, place: &str) {
    let class = Class::of(&case.spec, edge, case.input, judgement.norm);
    report.measured(class.to_string(), class.tolerance(), judgement.error, place);
    report.holds(judgement.is_bounded(), || {
        format!("{place}: ||O||_2 = {:.3}", judgement.spectral_norm)
    });
}
