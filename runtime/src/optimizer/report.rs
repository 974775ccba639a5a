//! What a step did, and what loading a state did.

/// Counts of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepReport {
    /// The step's number, from 0.
    pub step: u64,
    /// Kernels that were submitted, the element-wise update included.
    pub launches: usize,
    /// Whether the counts of tiles that are not finite or not orthogonalised are still on the device:
    /// [`HiMuon::tile_counts`](super::HiMuon::tile_counts) waits for them and gives their sums.
    pub counts_pending: bool,
    /// Tiles of all launches.
    pub tiles: usize,
    /// Tiles left unchanged because gradient or momentum held a NaN or an infinity.
    pub non_finite_tiles: usize,
    /// Tiles that the criterion left unorthogonalised.
    pub unorthogonalised_tiles: usize,
    /// Matrices whose coarse part was left out because gradient or momentum held a NaN or an infinity, or numbers whose
    /// products with the basis do.
    pub uncoupled_matrices: usize,
    /// Parameters of AdamW left unchanged because their gradient held a NaN or an infinity.
    pub non_finite_parameters: usize,
    /// Indices of the parameters without a gradient; they were left unchanged.
    pub missing_gradients: Vec<usize>,
    /// Set when [`NonFinitePolicy::SkipStep`](super::NonFinitePolicy::SkipStep) skipped the whole step:
    /// the index of the parameter that caused it.
    pub skipped_for: Option<usize>,
}

impl std::fmt::Display for StepReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(parameter) = self.skipped_for {
            return write!(
                f,
                "step {}: skipped, parameter {parameter} is not finite",
                self.step
            );
        }
        write!(
            f,
            "step {}: {} launches, {} tiles",
            self.step, self.launches, self.tiles
        )?;
        for (count, what) in [
            (self.non_finite_tiles, "non-finite tiles left alone"),
            (self.unorthogonalised_tiles, "tiles not orthogonalised"),
            (
                self.uncoupled_matrices,
                "matrices without their coarse part, which was not finite",
            ),
            (
                self.non_finite_parameters,
                "non-finite parameters left alone",
            ),
            (
                self.missing_gradients.len(),
                "parameters without a gradient",
            ),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// What a resumed run should know.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Steps taken when the state was saved.
    pub step: u64,
    /// Options that are not what they were when the state was saved. The present ones are used, so the run
    /// goes on with other bits than the saved one would have.
    pub differences: Vec<String>,
    /// The optimizer's learning rate before, where the state has another: the state's holds now, as a schedule left it.
    pub replaced_learning_rate: Option<f64>,
}
