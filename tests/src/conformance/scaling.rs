//! The map with its scale: tile by tile, or by the RMS of the whole matrix.

use crate::backend::{Backend, Refusal};
use crate::inputs::Input;
use crate::report::Report;
use crate::specs::{newton_schulz, power, tile, with_tile};
use crate::storage::Buffer;
use crate::svd::relative_error;
use crate::tolerances::STEP;
use himuon::KernelSpec;
use himuon::reference::{Matrix, Normalisation, ReferenceMap};
use himuon::templates::{CoefficientSet, Element, Recurrence, Tile};

/// Every normalisation on matrices whose tiles differ in norm by up to 1e4.
pub fn run_all(backend: &mut dyn Backend) -> Report {
    let mut report = Report::default();
    let specs = [
        newton_schulz(CoefficientSet::Muon, 5),
        power(Recurrence::Fitted, 1, 2, 6),
        power(Recurrence::Coupled, 1, 3, 6),
        power(Recurrence::Identity, 1, 1, 0),
    ];
    for spec in &specs {
        for tile in [Tile::square(16), tile(20, 48), Tile::Full] {
            for normalisation in [
                Normalisation::None,
                Normalisation::Tile { factor: 0.2 },
                Normalisation::Rms { factor: 0.2 },
            ] {
                for input in [
                    Input::Gaussian,
                    Input::IllConditioned,
                    Input::Zero,
                    Input::Huge,
                ] {
                    one(
                        backend,
                        &with_tile(spec, tile),
                        normalisation,
                        input,
                        &mut report,
                    );
                }
            }
        }
    }
    report
}

fn one(
    backend: &mut dyn Backend,
    spec: &KernelSpec,
    normalisation: Normalisation,
    input: Input,
    report: &mut Report,
) {
    let (rows, columns) = (50, 70);
    let name = format!(
        "{} {:?} {:?} {normalisation:?} {input:?}",
        backend.name(),
        spec.recurrence,
        spec.tile
    );
    let map = match ReferenceMap::new(spec) {
        Ok(map) => map,
        Err(error) => return report.skip(error.to_string()),
    };
    let matrix = input.matrix(rows, columns, rows, Element::F32, 7);
    let buffer = Buffer::contiguous(&matrix, Element::F32);
    match backend.map(spec, buffer.read(), rows, columns, normalisation) {
        Ok((found, _)) => {
            let found = Matrix::from_f32(rows, columns, &found);
            let expected = map.apply(&matrix, normalisation);
            let error = if expected.norm() == 0.0 {
                found.norm()
            } else {
                relative_error(&found, &expected)
            };
            report.measured("scaled map".to_owned(), Ok(STEP), error, &name);
        }
        Err(Refusal::Unsupported(why)) => report.skip(why),
        Err(Refusal::Failed(why)) => report.holds(false, || format!("{name}: {why}")),
    }
}
