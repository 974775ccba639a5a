//! What the optimizer asks of a device.

mod cpu;

use himuon_templates::KernelSpec;

pub use cpu::CpuBackend;

use crate::launch::{AdamWTensor, LaunchReport, MatrixStep};
use crate::plan::{Launch, Plan, WorkspaceModel};
use crate::tensor::TensorRef;
use crate::tuning::DeviceFingerprint;

/// Why a backend cannot do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No kernel for the specification.
    #[error("the {backend} backend has no kernel for {spec}: {reason}")]
    Unsupported {
        /// Name of the backend.
        backend: &'static str,
        /// The specification.
        spec: String,
        /// What is missing and what to use instead.
        reason: String,
    },
    /// Scratch memory or state could not be allocated.
    #[error(
        "{bytes} bytes for {purpose} cannot be allocated; lower the memory budget or free memory"
    )]
    OutOfMemory {
        /// What for.
        purpose: String,
        /// How many.
        bytes: u64,
    },
    /// A launch failed.
    #[error("a launch of {spec} failed: {reason}")]
    Launch {
        /// The specification, or the name of the element-wise update.
        spec: String,
        /// What the device said.
        reason: String,
    },
}

/// A device that runs the launches of a plan.
///
/// `prepare` does everything that can fail; after it, `launch` and `adamw` only submit.
pub trait Backend: WorkspaceModel + std::fmt::Debug + Send {
    /// A short name: `cpu`.
    fn name(&self) -> &'static str;

    /// The device, as tuning tables name it.
    fn fingerprint(&self) -> DeviceFingerprint;

    /// Threads that share a launch's tiles.
    fn threads(&self) -> usize;

    /// Identity of the kernel that runs a specification, as state files record it.
    fn kernel_id(&self, spec: &KernelSpec, variant: Option<&str>) -> String;

    /// Bytes of a matrix's entry in the launch table.
    fn table_entry_bytes(&self) -> u64;

    /// Makes kernels and allocates scratch memory for a plan.
    ///
    /// # Errors
    /// No kernel, or not enough memory. Nothing that the optimizer holds has changed.
    fn prepare(&mut self, plan: &Plan) -> Result<(), BackendError>;

    /// Runs one chunk of a launch: momentum and weight are updated in place.
    ///
    /// # Errors
    /// The device failed; what the chunk has changed by then is unknown.
    fn launch(
        &mut self,
        launch: &Launch,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, BackendError>;

    /// Runs the element-wise update of every tensor.
    ///
    /// # Errors
    /// The device failed; what has changed by then is unknown.
    fn adamw(&mut self, tensors: &mut [AdamWTensor<'_>]) -> Result<(), BackendError>;

    /// Whether no number is a NaN or an infinity.
    fn all_finite(&self, tensor: TensorRef<'_>) -> bool;
}
