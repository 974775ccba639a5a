//! The matrices of a file that stand for all of them.

use super::AdviseError;
use crate::apply::{NamedMatrix, matrix_names, visit_matrices};
use crate::diagnose::SkippedMatrix;
use std::path::Path;

/// What a momentum is called in a state file.
const MOMENTUM: &str = ".momentum_buffer";
/// Matrices that are compared, spread over the file.
const MOST: usize = 8;
/// Rows and columns that are compared of a larger matrix: whole-matrix Muon costs their third power.
const LARGEST: usize = 2048;

/// Matrices of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Momentum {
    /// The matrices.
    pub matrices: Vec<NamedMatrix>,
    /// How many matrices the file has.
    pub found: usize,
    /// How many of those here are parts of larger ones.
    pub cut: usize,
    /// Those that tell nothing, and why: a map leaves them as they are or zero.
    pub left_out: Vec<SkippedMatrix>,
}

/// The momenta of a state file, or the matrices of any other safetensors file; of many a few, of large ones the top
/// left part. Those with a NaN or an infinity and those that are zero are left out.
///
/// # Errors
/// The file cannot be read or has no matrix, or none that can be compared.
pub fn momentum(path: &Path) -> Result<Momentum, AdviseError> {
    let mut names = matrix_names(path)?;
    if names.iter().any(|name| name.ends_with(MOMENTUM)) {
        names.retain(|name| name.ends_with(MOMENTUM));
    }
    if names.is_empty() {
        return Err(AdviseError::NoMatrix {
            path: path.display().to_string(),
        });
    }
    let mut momentum = Momentum {
        found: names.len(),
        ..Momentum::default()
    };
    visit_matrices(path, &names.clone(), |matrix| {
        if let Some(why) = why_not(&matrix.cut(LARGEST)) {
            names.retain(|name| *name != matrix.name);
            momentum.left_out.push(SkippedMatrix {
                name: matrix.name,
                shape: vec![matrix.rows, matrix.columns],
                why: why.to_owned(),
            });
        }
    })?;
    if names.is_empty() {
        return Err(AdviseError::NothingToCompare {
            path: path.display().to_string(),
            reasons: momentum.left_out,
        });
    }
    let step = names.len().div_ceil(MOST);
    let chosen: Vec<String> = names.iter().step_by(step).cloned().collect();
    visit_matrices(path, &chosen, |matrix| {
        let part = matrix.cut(LARGEST);
        momentum.cut += usize::from(part.values.len() < matrix.values.len());
        momentum.matrices.push(part);
    })?;
    Ok(momentum)
}

/// Why the update of a matrix compares with nothing; `None`: it does.
fn why_not(matrix: &NamedMatrix) -> Option<&'static str> {
    if !matrix.values.iter().all(|value| value.is_finite()) {
        return Some("it holds a NaN or an infinity");
    }
    let zero = matrix.values.iter().all(|value| *value == 0.0);
    zero.then_some("it is zero everywhere")
}
