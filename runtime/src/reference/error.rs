//! What the reference refuses.

use himuon_templates::spec::SpecError;

/// Why the reference cannot compute what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The specification resolves to no coefficients.
    #[error(transparent)]
    Spec(#[from] SpecError),
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
