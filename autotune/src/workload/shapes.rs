//! The matrices of a model: by name, from a list, or from its parameters.

use super::WorkloadError;
use super::models::{MODELS, model};
use crate::apply::shapes_of;
use himuon::optimizer::MuonOptions;
use himuon::tuning::{DeviceFingerprint, TuningTable};
use himuon::{HiMuon, KernelSpec};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Where matrices come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Matrices {
    /// The same ones, whatever the specification: rows and columns.
    Listed(Vec<(usize, usize)>),
    /// The parameters of a file, by name and shape; the optimizer decides which are matrices.
    Parameters(Vec<(String, Vec<usize>)>),
}

impl Matrices {
    /// The matrices that a specification meets.
    ///
    /// # Errors
    /// The optimizer takes none of the parameters.
    pub fn of(&self, spec: &KernelSpec, path: &Path) -> Result<Vec<(usize, usize)>, WorkloadError> {
        let parameters = match self {
            Matrices::Listed(shapes) => return Ok(shapes.clone()),
            Matrices::Parameters(parameters) => parameters,
        };
        let optimizer = HiMuon::builder()
            .group_with("*", MuonOptions::specs([spec.clone()]))
            .parameters(parameters.iter().cloned())
            .threads(1)
            .tuning(TuningTable::new(DeviceFingerprint::cpu()))
            .build()?;
        let plan = optimizer.plan(0)?;
        let matrices = plan.launches.iter().flat_map(|launch| &launch.matrices);
        let shapes: Vec<_> = matrices.map(|m| (m.rows, m.columns)).collect();
        if shapes.is_empty() {
            return Err(WorkloadError::NoMatrices {
                path: path.to_owned(),
            });
        }
        Ok(shapes)
    }
}

/// One line of a list.
#[derive(Deserialize)]
struct Line {
    rows: usize,
    columns: usize,
    #[serde(default = "one")]
    count: usize,
}

const fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ShapesFile {
    Lines(Vec<Line>),
    Named(BTreeMap<String, (usize, usize)>),
}

/// Reads the matrices of a known model, a `.json` list or a `.safetensors` file.
///
/// # Errors
/// None of these, or a file that does not read.
pub fn read_shapes(text: &str) -> Result<Matrices, WorkloadError> {
    if let Some(shapes) = model(text) {
        return Ok(Matrices::Listed(shapes));
    }
    let path = Path::new(text);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => read_list(path),
        Some("safetensors") => Ok(Matrices::Parameters(shapes_of(path)?)),
        _ => Err(WorkloadError::UnknownModel {
            found: text.to_owned(),
            known: MODELS.map(|(name, _)| name).join(", "),
        }),
    }
}

fn read_list(path: &Path) -> Result<Matrices, WorkloadError> {
    let text = std::fs::read_to_string(path).map_err(|source| WorkloadError::Read {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |reason: String| WorkloadError::Shapes {
        path: path.to_owned(),
        reason,
    };
    let shapes: Vec<(usize, usize)> = match serde_json::from_str(&text) {
        Ok(ShapesFile::Lines(lines)) => lines
            .iter()
            .flat_map(|line| std::iter::repeat_n((line.rows, line.columns), line.count))
            .collect(),
        Ok(ShapesFile::Named(named)) => named.into_values().collect(),
        Err(error) => return Err(wrong(error.to_string())),
    };
    if shapes.is_empty() || shapes.iter().any(|(rows, columns)| rows * columns == 0) {
        return Err(wrong("no matrix, or one without elements".to_owned()));
    }
    Ok(Matrices::Listed(shapes))
}
