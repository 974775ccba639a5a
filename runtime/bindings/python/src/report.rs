//! What a step did.

use pyo3::prelude::*;

/// Counts of one step.
#[pyclass(frozen, get_all, module = "himuon")]
pub(crate) struct StepReport {
    /// The step's number, from 0.
    step: u64,
    /// Kernels that were launched.
    launches: usize,
    /// Whether the counts of what was left alone are still on the device: `Optimizer.tile_counts` waits for them.
    counts_pending: bool,
    /// Tiles of all launches.
    tiles: usize,
    /// Tiles left unchanged because gradient or momentum held a NaN or an infinity.
    non_finite_tiles: usize,
    /// Tiles that a criterion left unorthogonalised.
    unorthogonalised_tiles: usize,
    /// Matrices whose coarse part was left out because it was not finite.
    uncoupled_matrices: usize,
    /// Parameters of AdamW left unchanged because their gradient held a NaN or an infinity.
    non_finite_parameters: usize,
    /// Names of the parameters without a gradient, which were left unchanged.
    missing_gradients: Vec<String>,
    /// Name of the parameter for which the whole step was skipped.
    skipped_for: Option<String>,
    /// All of it in a line.
    text: String,
}

impl StepReport {
    pub(crate) fn new(report: &himuon::optimizer::StepReport, names: &[String]) -> Self {
        let named = |index: &usize| names.get(*index).cloned().unwrap_or_default();
        StepReport {
            step: report.step,
            launches: report.launches,
            counts_pending: report.counts_pending,
            tiles: report.tiles,
            non_finite_tiles: report.non_finite_tiles,
            unorthogonalised_tiles: report.unorthogonalised_tiles,
            uncoupled_matrices: report.uncoupled_matrices,
            non_finite_parameters: report.non_finite_parameters,
            missing_gradients: report.missing_gradients.iter().map(named).collect(),
            skipped_for: report.skipped_for.as_ref().map(named),
            text: report.to_string(),
        }
    }
}

#[pymethods]
impl StepReport {
    /// The report of a step that had nothing to do.
    #[staticmethod]
    #[pyo3(name = "_of_nothing")]
    fn of_nothing(step: u64) -> Self {
        StepReport {
            step,
            launches: 0,
            counts_pending: false,
            tiles: 0,
            non_finite_tiles: 0,
            unorthogonalised_tiles: 0,
            uncoupled_matrices: 0,
            non_finite_parameters: 0,
            missing_gradients: Vec::new(),
            skipped_for: None,
            text: format!("step {step}: nothing to do here"),
        }
    }

    fn __repr__(&self) -> &str {
        &self.text
    }
}

/// Counts of all steps of an optimizer.
#[pyclass(frozen, get_all, module = "himuon")]
pub(crate) struct TileCounts {
    /// Tiles left unchanged because gradient or momentum held a NaN or an infinity.
    non_finite_tiles: u64,
    /// Tiles that a criterion left unorthogonalised.
    unorthogonalised_tiles: u64,
    /// Numbers of AdamW's parameters that a device left unchanged.
    non_finite_numbers: u64,
    /// Matrices whose coarse part was left out because they were not finite.
    uncoupled_matrices: u64,
}

impl From<himuon::launch::TileCounts> for TileCounts {
    fn from(counts: himuon::launch::TileCounts) -> Self {
        TileCounts {
            non_finite_tiles: counts.non_finite_tiles,
            unorthogonalised_tiles: counts.unorthogonalised_tiles,
            non_finite_numbers: counts.non_finite_numbers,
            uncoupled_matrices: counts.uncoupled_matrices,
        }
    }
}

#[pymethods]
impl TileCounts {
    /// The counts where there is nothing to count.
    #[staticmethod]
    #[pyo3(name = "_of_nothing")]
    fn of_nothing() -> Self {
        TileCounts {
            non_finite_tiles: 0,
            unorthogonalised_tiles: 0,
            non_finite_numbers: 0,
            uncoupled_matrices: 0,
        }
    }

    fn __repr__(&self) -> String {
        format!(
            "{} non-finite tiles, {} tiles not orthogonalised, {} non-finite numbers, {} uncoupled matrices",
            self.non_finite_tiles,
            self.unorthogonalised_tiles,
            self.non_finite_numbers,
            self.uncoupled_matrices
        )
    }
}
