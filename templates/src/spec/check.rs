//! Which fields go together, and the coefficients that follow from them.

use super::{CoefficientSet, KernelSpec, Recurrence};
use crate::coefficients::StepTable;

/// Why a specification is refused. The text says what was found and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// The recurrence does not go with the power, the steps or the list.
    Recurrence(String),
}

impl std::fmt::Display for SpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SpecError::Recurrence(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for SpecError {}

impl KernelSpec {
    /// Whether a kernel exists for this specification.
    ///
    /// # Errors
    /// The first rule that is broken, with the accepted values.
    pub fn check(&self) -> Result<(), SpecError> {
        self.step_table().map(|_| ())
    }

    /// The coefficients of every step, in the exact bits that all backends use.
    ///
    /// # Errors
    /// When recurrence, power and steps do not go together.
    pub fn step_table(&self) -> Result<StepTable, SpecError> {
        let repeated = |step: [f32; 3]| Ok(StepTable::Odd(vec![step; self.steps as usize]));
        match &self.recurrence {
            Recurrence::NewtonSchulz(CoefficientSet::Muon) => repeated([3.4445, -4.7750, 2.0315]),
            Recurrence::NewtonSchulz(CoefficientSet::Cubic) => repeated([1.5, -0.5, 0.0]),
            Recurrence::NewtonSchulz(CoefficientSet::Quintic) => repeated([1.875, -1.25, 0.375]),
            other => Err(SpecError::Recurrence(format!(
                "no coefficients for {other:?}"
            ))),
        }
    }
}
