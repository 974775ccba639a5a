//! Why a file could not be diagnosed.

use super::SkippedMatrix;
use crate::apply::ApplyError;
use himuon::diagnose::DiagnoseError;
use himuon::templates::SpecError;
use std::path::PathBuf;

/// Why a file could not be diagnosed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiagnosisError {
    /// Tiles, powers, coefficients and steps do not go together.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] ApplyError),
    /// No matrix in it, or none that can be measured.
    #[error("{path} holds no matrix that can be measured{}", listed(.reasons))]
    NothingToMeasure {
        /// Its path.
        path: PathBuf,
        /// What it holds instead.
        reasons: Vec<SkippedMatrix>,
    },
    /// A matrix could not be measured.
    #[error("{name}: {source}")]
    Matrix {
        /// Its name.
        name: String,
        /// Why.
        source: DiagnoseError,
    },
    /// A plot could not be drawn.
    #[error("the plots cannot be drawn: {0}")]
    Plot(String),
}

/// Names, shapes and reasons, a line each; of many the first.
pub(crate) fn listed(reasons: &[SkippedMatrix]) -> String {
    const SHOWN: usize = 5;
    if reasons.is_empty() {
        return ": it has no tensor of a selected name".to_owned();
    }
    let lines = reasons.iter().take(SHOWN);
    let mut text: String = lines
        .map(|skipped| format!("\n  {} {:?}: {}", skipped.name, skipped.shape, skipped.why))
        .collect();
    if reasons.len() > SHOWN {
        text.push_str(&format!("\n  and {} more", reasons.len() - SHOWN));
    }
    text
}
