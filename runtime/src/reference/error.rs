//! What the reference refuses.

use himuon_templates::spec::SpecError;

/// Why the reference cannot compute what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The specification resolves to no coefficients.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A criterion decides between U V^T and M; with 0 < p there is nothing to decide between.
    #[error(
        "a MiMuon criterion goes with power 0 only, found power {numerator}/{denominator}: drop one of the two"
    )]
    CriterionWithPower {
        /// Numerator of the power.
        numerator: u32,
        /// Denominator of the power.
        denominator: u32,
    },
    /// Gradient, momentum, weight and row moments are not of one shape.
    #[error("{what} is {found:?}, but the weight is {expected:?}: give tensors of one shape")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// Its rows and columns.
        found: (usize, usize),
        /// Rows and columns of the weight.
        expected: (usize, usize),
    },
}
