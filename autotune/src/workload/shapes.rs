//! The matrices of a model: by name, from a list, or from its parameters.

use super::WorkloadError;
use super::models::{MODELS, model};
use crate::apply::shapes_of;
use himuon::optimizer::{BuildError, HiMuonBuilder, MuonOptions, View};
use himuon::tuning::{DeviceFingerprint, TuningTable};
use himuon::{Error, HiMuon, KernelSpec};
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
        let alone = |builder: HiMuonBuilder| {
            let tuning = TuningTable::new(DeviceFingerprint::cpu());
            builder.threads(1).tuning(tuning)
        };
        let (optimizer, _) = optimizer_of(parameters, "*", spec, alone)?;
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

/// An optimizer over the parameters of a file that maps those of a pattern. What the library refuses because its three dimensions
/// may be a stack of matrices or a convolution is a stack here, where nobody can be asked; the names of those come with it.
///
/// # Errors
/// The optimizer is refused for another reason.
pub fn optimizer_of(
    parameters: &[(String, Vec<usize>)],
    pattern: &str,
    spec: &KernelSpec,
    declare: impl Fn(HiMuonBuilder) -> HiMuonBuilder,
) -> Result<(HiMuon, Vec<String>), Error> {
    let tiles = || MuonOptions::specs([spec.clone()]);
    let builder = || declare(HiMuon::builder().parameters(parameters.iter().cloned()));
    let (name, others) = match builder().group_with(pattern, tiles()).build() {
        Err(Error::Build(BuildError::AmbiguousView { name, others, .. })) => (name, others),
        built => return Ok((built?, Vec::new())),
    };
    let stacks: Vec<String> = [name].into_iter().chain(others).collect();
    let as_stacks = tiles().view(View::Stack);
    let builder = match parameters.iter().any(|(_, shape)| shape.len() > 3) {
        false => builder().group_with(pattern, as_stacks),
        // Four dimensions are a convolution. The names of the others let them be mapped, or they would not have come this far.
        true => builder()
            .group_of("(stacks)", stacks.iter().cloned(), as_stacks.every_matrix())
            .group_with(pattern, tiles()),
    };
    Ok((builder.build()?, stacks))
}

/// Most matrices of a list.
const MOST_MATRICES: usize = 1 << 20;
/// Most elements of all matrices: a hundred times those of the largest models.
const MOST_ELEMENTS: usize = 1 << 48;

/// How many elements matrices (rows, columns) have in all.
///
/// # Errors
/// One has none, or all have more than any model has.
pub fn elements(shapes: impl IntoIterator<Item = (usize, usize)>) -> Result<usize, String> {
    let mut sum = 0usize;
    for (rows, columns) in shapes {
        let size = rows.checked_mul(columns);
        sum = match size.and_then(|size| sum.checked_add(size)) {
            Some(_) if size == Some(0) => {
                return Err(format!("a matrix of {rows} x {columns} has no element"));
            }
            Some(next) if next <= MOST_ELEMENTS => next,
            _ => {
                return Err(format!(
                    "with a matrix of {rows} x {columns} there are more than the {MOST_ELEMENTS} elements that a launch may have"
                ));
            }
        };
    }
    Ok(sum)
}

/// One line of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    rows: usize,
    columns: usize,
    #[serde(default = "one")]
    count: usize,
}

const fn one() -> usize {
    1
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
        Some("safetensors") => match shapes_of(path)?.parameters {
            none if none.is_empty() => Err(WorkloadError::NoParameters {
                path: path.to_owned(),
            }),
            parameters => Ok(Matrices::Parameters(parameters)),
        },
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
    let shapes = match text.trim_start().starts_with('{') {
        true => serde_json::from_str::<BTreeMap<String, (usize, usize)>>(&text)
            .map(|named| named.into_values().collect())
            .map_err(|error| error.to_string()),
        false => serde_json::from_str::<Vec<Line>>(&text)
            .map_err(|error| error.to_string())
            .and_then(|lines| repeated(&lines)),
    };
    let shapes: Vec<(usize, usize)> = shapes.map_err(wrong)?;
    if shapes.is_empty() {
        return Err(wrong("no matrix".to_owned()));
    }
    elements(shapes.iter().copied()).map_err(wrong)?;
    Ok(Matrices::Listed(shapes))
}

/// Every matrix as often as its line says.
fn repeated(lines: &[Line]) -> Result<Vec<(usize, usize)>, String> {
    let mut shapes = Vec::new();
    for line in lines {
        if line.count > MOST_MATRICES - shapes.len() {
            return Err(format!(
                "{} matrices of {} x {} make more than the {MOST_MATRICES} that a list may have",
                line.count, line.rows, line.columns
            ));
        }
        shapes.extend(std::iter::repeat_n((line.rows, line.columns), line.count));
    }
    Ok(shapes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Matrices, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shapes.json");
        std::fs::write(&path, text).unwrap();
        read_list(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_read_and_what_no_launch_can_be_is_refused() {
        let listed = read("[{\"rows\": 2, \"columns\": 3, \"count\": 2}]").unwrap();
        assert_eq!(listed, Matrices::Listed(vec![(2, 3), (2, 3)]));
        let named = read(" {\"w\": [2, 3]}").unwrap();
        assert_eq!(named, Matrices::Listed(vec![(2, 3)]));
        for (text, says) in [
            ("[{\"rows\": 2, \"colums\": 3}]", "unknown field `colums`"),
            (
                "[{\"rows\": 2, \"columns\": 3, \"cuont\": 3}]",
                "unknown field `cuont`",
            ),
            (
                "[{\"rows\": 4294967296, \"columns\": 4294967296}]",
                "elements that a launch",
            ),
            (
                "[{\"rows\": 2, \"columns\": 3, \"count\": 1000000000000}]",
                "that a list may have",
            ),
            (
                "{\"a\": [4611686018427387904, 3], \"b\": [1, 1]}",
                "elements that a launch",
            ),
            ("[{\"rows\": 0, \"columns\": 3}]", "has no element"),
            ("[]", "no matrix"),
            ("3", "expected a sequence"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains(says) && error.contains("shapes.json"),
                "{error}"
            );
        }
    }
}
