//! What must hold exactly, whatever the rounding.

use crate::backend::{Backend, Refusal};
use crate::inputs::{Input, gaussian};
use crate::random::Random;
use crate::report::Report;
use crate::specs::{every_recurrence, tile, with_tile};
use crate::storage::Buffer;
use crate::tolerances::Tolerance;
use himuon::KernelSpec;
use himuon::reference::{Matrix, Normalisation, tiles};
use himuon::templates::{Element, Tile};

/// How far s_K(1) of an `f32` kernel may be off: X = g/|g| is 1 up to one rounding (6e-8), which `cans` magnifies
/// 1100 times. Measured: 2e-5.
const ONE: f64 = 1e-4;

/// Two orders of the sums of an `f32` kernel, ||difference||_F/||map||_F of a 33 x 20 Gaussian matrix.
const ORDER: Tolerance = Tolerance {
    bound: 1e-5,
    worst: 3.1e-6,
};

/// Runs all of them for every recurrence.
pub fn run_all(backend: &mut dyn Backend) -> Report {
    let mut report = Report::default();
    for (label, spec) in every_recurrence() {
        let checks = [padding, covering, sign, isolation, orthants, repetition];
        for check in checks {
            if let Err(refusal) = check(backend, label, &spec, &mut report) {
                match refusal {
                    Refusal::Unsupported(why) => report.skip(why),
                    Refusal::Failed(why) => report.holds(false, || format!("{label}: {why}")),
                }
            }
        }
    }
    report
}

type Outcome = Result<(), Refusal>;

fn map(
    backend: &mut dyn Backend,
    spec: &KernelSpec,
    tile: Tile,
    matrix: &Matrix,
) -> Result<Matrix, Refusal> {
    let (rows, columns) = matrix.shape();
    let buffer = Buffer::contiguous(matrix, Element::F32);
    let spec = with_tile(spec, tile);
    let (values, _) = backend.map(&spec, buffer.read(), rows, columns, Normalisation::None)?;
    Ok(Matrix::from_f32(rows, columns, &values))
}

fn input(rows: usize, columns: usize, seed: u64) -> Matrix {
    Input::Gaussian.matrix(rows, columns, rows.min(columns), Element::F32, seed)
}

/// A matrix in a frame of zeros is mapped to its own map in a frame of zeros: padding is exact.
fn padding(
    backend: &mut dyn Backend,
    label: &str,
    spec: &KernelSpec,
    report: &mut Report,
) -> Outcome {
    let name = backend.name().to_owned();
    for (rows, columns) in [(5, 11), (13, 7), (16, 16), (1, 3)] {
        let inner = input(rows, columns, 3);
        // Twice the size: `turbo` scales the rows of the oriented tile, so the orientation must stay.
        let (height, width) = (2 * rows, 2 * columns);
        let framed = Matrix::from_fn(height, width, |row, column| {
            if row < rows {
                inner.get(row, column)
            } else {
                0.0
            }
        });
        let expected = map(backend, spec, Tile::Full, &inner)?;
        let found = map(backend, spec, Tile::Full, &framed)?;
        let mut inside = Matrix::zeros(rows, columns);
        let mut zero_outside = true;
        for row in 0..height {
            for column in 0..width {
                if row < rows && column < columns {
                    inside.set(row, column, found.get(row, column));
                } else {
                    zero_outside &= found.get(row, column) == 0.0;
                }
            }
        }
        report.holds(zero_outside, || {
            format!("{name} {label} {rows}x{columns}: padding is not zero")
        });
        let error = inside.combined(1.0, -1.0, &expected).norm() / expected.norm();
        // The frame changes the order in which the norm is summed, nothing else.
        report.holds(error <= 1e-5, || {
            format!("{name} {label} {rows}x{columns}: the frame changes the map by {error:.2e}")
        });
    }
    Ok(())
}

/// A tile at least as large as the matrix in both dimensions is the whole matrix: bit for bit, or up to the order of sums
/// where kernels of different families map the two.
fn covering(
    backend: &mut dyn Backend,
    label: &str,
    spec: &KernelSpec,
    report: &mut Report,
) -> Outcome {
    let name = backend.name().to_owned();
    let matrix = input(33, 20, 4);
    let one_order = backend.sums_in_one_order();
    let full = map(backend, spec, Tile::Full, &matrix)?;
    for tile in [tile(33, 20), tile(64, 64), tile(33, 1000)] {
        let found = map(backend, spec, tile, &matrix)?;
        let case = format!("{name} {label}: {tile:?} and the full map");
        if one_order {
            report.holds(found == full, || format!("{case} differ"));
            continue;
        }
        let error = found.combined(1.0, -1.0, &full).norm() / full.norm();
        let tolerance = Ok(ORDER);
        report.measured("order of sums".to_owned(), tolerance, error, &case);
    }
    let split = map(backend, spec, tile(32, 20), &matrix)?;
    report.holds(split != full, || {
        format!("{name} {label}: 32 rows of 33 gave the full map")
    });
    Ok(())
}

/// T = 1: the sign times one constant, and zero for zero.
fn sign(backend: &mut dyn Backend, label: &str, spec: &KernelSpec, report: &mut Report) -> Outcome {
    let name = backend.name().to_owned();
    let mut matrix = input(4, 6, 5);
    matrix.set(2, 2, 0.0);
    let found = map(backend, spec, Tile::square(1), &matrix)?;
    let constant = found.get(0, 0).abs();
    let exact = spec.step_table().map(|table| match table {
        // After the rescales of these two, the one singular value is 1 as well.
        himuon::templates::StepTable::Identity => 1.0,
        table => table.response(1.0),
    });
    if let Ok(exact) = exact {
        report.holds((constant - exact).abs() <= ONE, || {
            format!("{name} {label}: s_K(1) is {constant}, expected {exact}")
        });
    }
    for (from, to) in matrix.values().iter().zip(found.values()) {
        let expected = if *from == 0.0 {
            0.0
        } else {
            from.signum() * constant
        };
        report.holds((to - expected).abs() <= ONE, || {
            format!("{name} {label}: {from} is mapped to {to}, expected {expected}")
        });
    }
    Ok(())
}

/// A NaN or an infinity poisons its own tile only: all others keep their bits, and it is counted.
fn isolation(
    backend: &mut dyn Backend,
    label: &str,
    spec: &KernelSpec,
    report: &mut Report,
) -> Outcome {
    let name = backend.name().to_owned();
    let tile = tile(8, 8);
    let clean = input(20, 28, 6);
    let expected = map(backend, spec, tile, &clean)?;
    let mut poisoned = clean.clone();
    poisoned.set(9, 10, f64::NAN);
    poisoned.set(19, 27, f64::NEG_INFINITY);
    let buffer = Buffer::contiguous(&poisoned, Element::F32);
    let spec = with_tile(spec, tile);
    let (values, launch) = backend.map(&spec, buffer.read(), 20, 28, Normalisation::None)?;
    let found = Matrix::from_f32(20, 28, &values);
    report.holds(launch.non_finite_tiles == 2, || {
        format!("{name} {label}: reported {launch:?}")
    });
    for bounds in tiles(tile, 20, 28) {
        let hit = [(8, 8), (16, 24)].contains(&(bounds.row, bounds.column));
        let same = found.cut(&bounds) == expected.cut(&bounds);
        report.holds(hit || same, || {
            format!("{name} {label}: {bounds:?} changed")
        });
    }
    Ok(())
}

/// The map is odd, bit for bit.
fn orthants(
    backend: &mut dyn Backend,
    label: &str,
    spec: &KernelSpec,
    report: &mut Report,
) -> Outcome {
    let name = backend.name().to_owned();
    let matrix = input(19, 30, 8);
    let found = map(backend, spec, tile(16, 16), &matrix)?;
    let negated = map(backend, spec, tile(16, 16), &matrix.scaled(-1.0))?;
    report.holds(negated == found.scaled(-1.0), || {
        format!("{name} {label}: not odd")
    });
    Ok(())
}

/// The same input gives the same bits, and so does each tile cut out and mapped by itself next to another.
fn repetition(
    backend: &mut dyn Backend,
    label: &str,
    spec: &KernelSpec,
    report: &mut Report,
) -> Outcome {
    let name = backend.name().to_owned();
    let matrix = input(40, 40, 9);
    let found = map(backend, spec, tile(16, 16), &matrix)?;
    let again = map(backend, spec, tile(16, 16), &matrix)?;
    report.holds(found == again, || {
        format!("{name} {label}: two runs differ")
    });
    let mut random = Random::new(10);
    let mut beside = gaussian(16, 32, &mut random);
    let first = tiles(tile(16, 16), 40, 40)[0];
    beside.paste(&first, &matrix.cut(&first));
    let beside = map(backend, spec, tile(16, 16), &beside)?;
    report.holds(beside.cut(&first) == found.cut(&first), || {
        format!("{name} {label}: a tile depends on its neighbours")
    });
    Ok(())
}
