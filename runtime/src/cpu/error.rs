//! Why a kernel refuses.

use himuon_templates::{Element, spec::SpecError};

/// Why a launch was refused. Whatever it is, nothing has been written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// The specification itself.
    #[error("{0}")]
    Spec(#[from] SpecError),
    /// The specification asks for what the CPU does not have.
    #[error("the CPU kernels do not support {found}; {hint}")]
    Unsupported {
        /// What was asked for.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// A matrix without rows or columns, or with more elements than memory.
    #[error(
        "matrix {matrix}: {rows} x {columns} is no size that can be mapped; both dimensions must be at least 1"
    )]
    Size {
        /// Index in the launch.
        matrix: usize,
        /// Rows found.
        rows: usize,
        /// Columns found.
        columns: usize,
    },
    /// A tensor is too short for its matrix.
    #[error(
        "matrix {matrix}: the {tensor} holds {found} numbers, {needed} are needed; check its shape and leading dimension"
    )]
    Length {
        /// Index in the launch.
        matrix: usize,
        /// Which tensor.
        tensor: &'static str,
        /// Numbers found.
        found: usize,
        /// Numbers needed.
        needed: usize,
    },
    /// Rows would overlap.
    #[error(
        "matrix {matrix}: the leading dimension of the {tensor} is {found}, at least its {columns} columns are needed"
    )]
    Leading {
        /// Index in the launch.
        matrix: usize,
        /// Which tensor.
        tensor: &'static str,
        /// Leading dimension found.
        found: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// A tensor of another type than the specification states.
    #[error(
        "matrix {matrix}: the {tensor} is {found:?}, the specification states {expected:?}; convert it or change `element`"
    )]
    Element {
        /// Index in the launch.
        matrix: usize,
        /// Which tensor.
        tensor: &'static str,
        /// Type found.
        found: Element,
        /// Type of the specification.
        expected: Element,
    },
    /// A run-time scalar that is no number, or out of range.
    #[error("matrix {matrix}: {scalar} is {found}; {accepted}")]
    Scalar {
        /// Index in the launch.
        matrix: usize,
        /// Which scalar.
        scalar: &'static str,
        /// Value found.
        found: f32,
        /// What is accepted.
        accepted: &'static str,
    },
    /// The decay would turn the weight's sign.
    #[error(
        "matrix {matrix}: learning rate {learning_rate} times weight decay {weight_decay} is above 1; lower one of them"
    )]
    Decay {
        /// Index in the launch.
        matrix: usize,
        /// lr.
        learning_rate: f32,
        /// wd.
        weight_decay: f32,
    },
    /// Scratch memory could not be allocated.
    #[error(
        "{bytes} bytes of workspace cannot be allocated; use smaller tiles or fewer threads, or free memory"
    )]
    OutOfMemory {
        /// Bytes that the launch needs.
        bytes: usize,
    },
    /// The threads could not be started.
    #[error("a pool of {threads} threads could not be started: {reason}")]
    Pool {
        /// Threads asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// The variant needs an instruction set that this processor lacks.
    #[error("this processor lacks {0}; choose one of `CpuKernel::variants`")]
    InstructionSet(&'static str),
    /// The variant is none of those that compute the right bits.
    #[error("{0} is no variant of the CPU kernels; choose one of `CpuKernel::variants`")]
    Variant(String),
}
