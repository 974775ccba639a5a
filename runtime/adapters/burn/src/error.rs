//! Why a module cannot be handed to the optimizer.

use burn_core::tensor::DType;

/// Why an optimizer is not made for a module, or a step not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BurnError {
    /// A parameter without a path.
    #[error(
        "a parameter of shape {shape:?} is the module itself, so it has no path to be named by; make it a field of a module"
    )]
    Unnamed {
        /// Shape of the parameter.
        shape: Vec<usize>,
    },
    /// A type that the optimizer does not store.
    #[error(
        "{tensor} {name} is {found:?}, expected F32, BF16 or F16; convert it, or freeze the parameter before the \
         optimizer is made"
    )]
    Type {
        /// `parameter` or `gradient of`.
        tensor: &'static str,
        /// The parameter.
        name: String,
        /// Its type.
        found: DType,
    },
    /// A shape that is not the one that the optimizer was made for.
    #[error(
        "{tensor} {name} has shape {found:?}, expected {expected:?}; make the optimizer for the module that is stepped"
    )]
    Shape {
        /// `parameter` or `gradient of`.
        tensor: &'static str,
        /// The parameter.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape of the parameter when the optimizer was made.
        expected: Vec<usize>,
    },
    /// Two parameters of one identifier that cannot be one parameter.
    #[error(
        "parameters {first} and {second} have one identifier but shapes {first_shape:?} and {second_shape:?}; give the \
         second one of its own with Param::from_tensor"
    )]
    Shared {
        /// The first.
        first: String,
        /// The other.
        second: String,
        /// Shape of the first.
        first_shape: Vec<usize>,
        /// Shape of the other.
        second_shape: Vec<usize>,
    },
    /// Two trainable places of one identifier that cannot take one tensor.
    #[error(
        "parameters {first} and {second} have one identifier but are {first_tensor} and {second_tensor}; bring them to \
         one type and device, freeze one, or give the second an identifier of its own with Param::from_tensor"
    )]
    Diverged {
        /// The first.
        first: String,
        /// The other.
        second: String,
        /// Type and device of the first.
        first_tensor: String,
        /// Type and device of the other.
        second_tensor: String,
    },
    /// Gradients that are not of the module.
    #[error(
        "none of the {found} gradients is of one of the {expected} parameters that the optimizer was made for; take them \
         with GradientsParams::from_grads from the module that is stepped: load_record gives it other identifiers"
    )]
    Foreign {
        /// Number of gradients.
        found: usize,
        /// Number of parameters.
        expected: usize,
    },
    /// A gradient of a parameter that the optimizer was not made for.
    #[error(
        "parameter {name} has a gradient, but the optimizer was made without it; make the optimizer for this module, \
         after its last change"
    )]
    Unknown {
        /// The parameter.
        name: String,
    },
    /// A parameter of the optimizer that the module does not have.
    #[error(
        "the module has no parameter {name}, for which the optimizer was made; step the module that it was made for"
    )]
    Missing {
        /// The parameter.
        name: String,
    },
    /// A tensor that its device does not hand over.
    #[error("{tensor} {name} cannot be read from its device: {reason}")]
    Read {
        /// `parameter` or `gradient of`.
        tensor: &'static str,
        /// The parameter.
        name: String,
        /// What the backend said.
        reason: String,
    },
    /// What the optimizer behind refused. After a failure in the middle of a step the module is still as it was, and
    /// further steps are refused until a state is loaded.
    #[error(transparent)]
    Optimizer(#[from] himuon::Error),
}
