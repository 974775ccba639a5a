//! The matrices of a file that stand for all of them.

use super::AdviseError;
use crate::apply::{NamedMatrix, matrix_names, read_matrices};
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
}

/// The momenta of a state file, or the matrices of any other safetensors file; of many a few, of large ones the top
/// left part.
///
/// # Errors
/// The file cannot be read or has no matrix.
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
    let step = names.len().div_ceil(MOST);
    let chosen: Vec<String> = names.iter().step_by(step).cloned().collect();
    let mut momentum = Momentum {
        found: names.len(),
        ..Momentum::default()
    };
    for matrix in read_matrices(path, &chosen)? {
        let part = matrix.cut(LARGEST);
        momentum.cut += usize::from(part.values.len() < matrix.values.len());
        momentum.matrices.push(part);
    }
    Ok(momentum)
}
