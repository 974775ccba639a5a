//! Measures what tiling does to the matrices of a safetensors file, and what batch size pays.

mod batch;
mod batch_plot;
mod error;
mod lists;
mod page;
mod plot;

pub use batch::{BatchSeries, BatchTableError, batch_series};
pub use batch_plot::batch_svg;
pub use error::DiagnosisError;
pub(crate) use error::listed;
pub use lists::{parse_powers, parse_tests, parse_tiles};
pub use page::html;
pub(crate) use page::method_text;

use crate::apply::file;
use crate::apply::matrices::{Matrices, Values};
use himuon::diagnose::{DiagnoseError, DiagnosisOptions, MatrixDiagnosis, diagnose};
use safetensors::tensor::TensorView;
use serde::Serialize;
use std::path::Path;

/// What state files call the momentum of a parameter.
const MOMENTUM: &str = ".momentum_buffer";

/// A matrix that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiagnosedMatrix {
    /// Name of its tensor, with its place where that is a stack: `experts[3]`.
    pub name: String,
    /// What was found.
    #[serde(flatten)]
    pub diagnosis: MatrixDiagnosis,
}

/// A tensor, or a matrix of a stack, that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedMatrix {
    /// Its name.
    pub name: String,
    /// Shape of its tensor.
    pub shape: Vec<usize>,
    /// Why.
    pub why: String,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiagnosedFile {
    /// The matrices, by name.
    pub matrices: Vec<DiagnosedMatrix>,
    /// The rest.
    pub skipped: Vec<SkippedMatrix>,
}

/// Which tensors are measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only names that contain one of these; all where there is none.
    pub containing: Vec<String>,
    /// Second moments and moments of AdamW in a state file too, which are left out otherwise.
    pub all: bool,
}

/// Measures every matrix that `selection` takes. A file with momenta is a state file: of it only they are taken.
///
/// `progress` is called with the elements measured since its last call, and with all there are.
///
/// # Errors
/// When the file cannot be read, is no safetensors file, or holds no matrix that can be measured; for tiles,
/// powers and coefficients that do not go together.
pub fn diagnose_file(
    path: &Path,
    selection: &Selection,
    options: &DiagnosisOptions,
    mut progress: impl FnMut(&str, u64, u64),
) -> Result<DiagnosedFile, DiagnosisError> {
    for (tile, power) in options
        .tiles
        .iter()
        .flat_map(|t| options.powers.iter().map(move |p| (t, p)))
    {
        options.spec(*tile, *power)?;
    }
    let bytes = file::read(path)?;
    let input = file::parse(path, &bytes)?;
    let tensors = selected(input.tensors, selection);
    let elements = |view: &TensorView<'_>| view.shape().iter().product::<usize>() as u64;
    let total = tensors.iter().map(|(_, view)| elements(view)).sum();
    let mut found = DiagnosedFile::default();
    for (name, view) in &tensors {
        progress(name, 0, total);
        match Matrices::of(view) {
            Ok(matrices) => tensor(name, view, matrices, options, &mut found)?,
            Err(why) => found.skipped.push(SkippedMatrix {
                name: name.clone(),
                shape: view.shape().to_vec(),
                why: why.replace("mapped", "measured"),
            }),
        }
        progress(name, elements(view), total);
    }
    if found.matrices.is_empty() {
        return Err(DiagnosisError::NothingToMeasure {
            path: path.to_owned(),
            reasons: found.skipped,
        });
    }
    Ok(found)
}

fn selected<'a>(
    tensors: Vec<(String, TensorView<'a>)>,
    selection: &Selection,
) -> Vec<(String, TensorView<'a>)> {
    let state = !selection.all && tensors.iter().any(|(name, _)| name.ends_with(MOMENTUM));
    let named = |name: &str| {
        selection.containing.is_empty()
            || selection.containing.iter().any(|part| name.contains(part))
    };
    tensors
        .into_iter()
        .filter(|(name, _)| named(name) && (!state || name.ends_with(MOMENTUM)))
        .collect()
}

fn tensor(
    name: &str,
    view: &TensorView<'_>,
    matrices: Matrices,
    options: &DiagnosisOptions,
    found: &mut DiagnosedFile,
) -> Result<(), DiagnosisError> {
    let Matrices {
        element,
        count,
        rows,
        columns,
    } = matrices;
    let bytes = view.data().chunks_exact(rows * columns * element.bytes());
    for (index, bytes) in bytes.enumerate() {
        let name = if count == 1 {
            name.to_owned()
        } else {
            format!("{name}[{index}]")
        };
        let values = Values::read(bytes, element, None).to_f32();
        match diagnose(&values, rows, columns, options) {
            Ok(diagnosis) => found.matrices.push(DiagnosedMatrix { name, diagnosis }),
            Err(
                error @ (DiagnoseError::NonFinite { .. }
                | DiagnoseError::Zero { .. }
                | DiagnoseError::Empty { .. }),
            ) => found.skipped.push(SkippedMatrix {
                name,
                shape: view.shape().to_vec(),
                why: error.to_string(),
            }),
            Err(source) => return Err(DiagnosisError::Matrix { name, source }),
        }
    }
    Ok(())
}
