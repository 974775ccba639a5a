//! What the optimizer asks of a device.

mod cpu;

use std::collections::BTreeSet;

use himuon_templates::KernelSpec;

pub use cpu::CpuBackend;

use crate::launch::{AdamWTensor, LaunchReport, MatrixStep, StepWork, TileCounts};
use crate::memory::{Host, Memory};
use crate::plan::{Chunk, Launch, Plan, WorkspaceModel};
use crate::tuning::{DeviceFingerprint, TuningTarget};

/// A kernel that a step of the schedule will need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRequest {
    /// What is computed.
    pub spec: KernelSpec,
    /// The variant's name; `None`: the default.
    pub variant: Option<String>,
    /// Whether rows of the matrices are normalised.
    pub row_normalised: bool,
}

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
    /// A variant that is not the default cannot be loaded or launched. Nothing has run; another variant may do.
    #[error("variant {variant} of {spec} cannot be used: {reason}")]
    Variant {
        /// The specification.
        spec: Box<KernelSpec>,
        /// The variant's name.
        variant: String,
        /// What the device said.
        reason: String,
    },
    /// A launch was refused before any of it ran. Nothing has been written, so that the step may be taken again.
    #[error("a launch of {spec} was refused before it ran: {reason}")]
    Refused {
        /// The specification, or the name of the element-wise update.
        spec: String,
        /// What was found, what is expected.
        reason: String,
    },
    /// A launch failed; what it has changed by then is unknown.
    #[error("a launch of {spec} failed: {reason}")]
    Launch {
        /// The specification, or the name of the element-wise update.
        spec: String,
        /// What the device said.
        reason: String,
    },
    /// The device cannot take a tensor as it was passed.
    #[error("the {tensor} of a step: {reason}")]
    Tensor {
        /// `weight` or `gradient`, with the place in the step.
        tensor: String,
        /// What was found, what is expected.
        reason: String,
    },
    /// The device failed at something else than a launch, or at one submitted earlier.
    #[error("{action}: {reason}")]
    Device {
        /// What was being done.
        action: String,
        /// What the device said, and what to do.
        reason: String,
        /// Whether the device is lost to this process, and with it everything in its memory.
        lost: bool,
    },
}

/// Steps that are recorded once and replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The first of them.
    pub first_step: u64,
    /// For each of them the phase whose launches run.
    pub phases: Vec<u32>,
    /// Number of phases.
    pub phase_count: u32,
}

/// What a backend without recordings says.
fn no_recording() -> BackendError {
    BackendError::Unsupported {
        backend: "this",
        spec: "a recorded step".to_owned(),
        reason: "steps are recorded by the CUDA backend alone; take ordinary steps".to_owned(),
    }
}

/// A device that runs the launches of a plan over tensors in the memory `M`.
///
/// `prepare` and `bind` do everything that can fail; after them, `launch` and `adamw` only submit.
pub trait Backend<M: Memory = Host>: WorkspaceModel + std::fmt::Debug + Send {
    /// A short name: `cpu`.
    fn name(&self) -> &'static str;

    /// The device, as tuning tables name it.
    fn fingerprint(&self) -> DeviceFingerprint;

    /// Threads that share a launch's tiles; on a GPU blocks that are in flight at once.
    fn threads(&self) -> usize;

    /// The device as the tuner runs it; `None`: it cannot be tuned from here.
    fn tuning_target(&self) -> Option<Box<dyn TuningTarget>> {
        None
    }

    /// Identity of the kernel that runs a specification, as state files record it.
    fn kernel_id(&self, spec: &KernelSpec, variant: Option<&str>) -> String;

    /// Bytes of a matrix's entry in the launch table.
    fn table_entry_bytes(&self) -> u64;

    /// What gives memory to the optimizer's state.
    fn allocator(&self) -> M::Allocator;

    /// Whether everything submitted before has ended well, as far as that is known without waiting.
    ///
    /// # Errors
    /// A launch of an earlier step failed while it ran.
    fn check(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Whether what is submitted now goes into a graph instead of running.
    ///
    /// # Errors
    /// The device failed.
    fn is_capturing(&self) -> Result<bool, BackendError> {
        Ok(false)
    }

    /// Told what [`Backend::load_ahead`] will be asked for next, and whether a step updates anything by AdamW: what takes long
    /// and can be done side by side, such as compiling, is done here. What fails, fails again where it is asked for.
    fn compile_ahead(&mut self, kernels: &BTreeSet<KernelRequest>, adamw: bool) {
        let _ = (kernels, adamw);
    }

    /// Makes a kernel that a later step of the schedule will need, so that no step waits for a compiler.
    ///
    /// # Errors
    /// No kernel. Nothing that the optimizer holds has changed.
    fn load_ahead(&mut self, kernel: &KernelRequest) -> Result<(), BackendError> {
        let _ = kernel;
        Ok(())
    }

    /// Makes kernels and allocates scratch memory for a plan.
    ///
    /// # Errors
    /// No kernel, or not enough memory. Nothing that the optimizer holds has changed. [`BackendError::Variant`] makes
    /// the optimizer try the next choice of its tuning table.
    fn prepare(&mut self, plan: &Plan) -> Result<(), BackendError>;

    /// Puts what the launches of a prepared plan read into place: tables of matrices and scalars.
    ///
    /// # Errors
    /// Tensors that the device cannot take, or not enough memory. Nothing that the optimizer holds has changed.
    fn bind(&mut self, plan: &Plan, work: &StepWork<'_, M>) -> Result<(), BackendError> {
        let _ = (plan, work);
        Ok(())
    }

    /// Submits what a step begins with; returns how many kernels that were.
    ///
    /// # Errors
    /// The device failed.
    fn begin_step(&mut self) -> Result<usize, BackendError> {
        Ok(0)
    }

    /// Runs one chunk of a launch: momentum and weight are updated in place.
    ///
    /// # Errors
    /// [`BackendError::Refused`] where nothing of the chunk has run, as the optimizer then stays as it is if this was the
    /// first launch of its step. Any other: the device failed; what the chunk has changed by then is unknown.
    fn launch(
        &mut self,
        launch: &Launch,
        chunk: &Chunk,
        matrices: &mut [MatrixStep<'_, M>],
    ) -> Result<LaunchReport, BackendError>;

    /// Runs the element-wise update of every tensor.
    ///
    /// # Errors
    /// As [`launch`](Self::launch).
    fn adamw(&mut self, tensors: &mut [AdamWTensor<'_, M>]) -> Result<(), BackendError>;

    /// For each tensor, whether no number is a NaN or an infinity.
    ///
    /// # Errors
    /// The device failed.
    fn all_finite(&mut self, tensors: &[M::Ref<'_>]) -> Result<Vec<bool>, BackendError>;

    /// Whether the element-wise update leaves numbers whose gradient is not finite alone by itself, so that
    /// gradients need not be read before it.
    fn adamw_skips_non_finite(&self) -> bool {
        false
    }

    /// Tables that were written to the device since the backend was made: only those that changed.
    fn table_uploads(&self) -> u64 {
        0
    }

    /// Prepares the device for recording steps; their tables are bound phase by phase after that.
    ///
    /// # Errors
    /// The backend records nothing, or not enough memory.
    fn prepare_recording(&mut self, recording: Recording) -> Result<(), BackendError> {
        let _ = recording;
        Err(no_recording())
    }

    /// Says which phase of the recording `bind`, `launch` and `adamw` are for from now on; `None`: none.
    ///
    /// # Errors
    /// The backend records nothing.
    fn select_phase(&mut self, phase: Option<u32>) -> Result<(), BackendError> {
        match phase {
            None => Ok(()),
            Some(_) => Err(no_recording()),
        }
    }

    /// Refuses a plan whose launches cannot be recorded.
    ///
    /// # Errors
    /// A kernel that does not read the step on the device.
    fn check_recordable(&self, plan: &Plan) -> Result<(), BackendError> {
        let _ = plan;
        Err(no_recording())
    }

    /// Sets the step that the next replay takes.
    ///
    /// # Errors
    /// The device failed.
    fn set_clock(&mut self, step: u64) -> Result<(), BackendError> {
        let _ = step;
        Err(no_recording())
    }

    /// Submits the launch that decides at each replay which phase runs.
    ///
    /// # Errors
    /// The device failed.
    fn record_clock(&mut self) -> Result<(), BackendError> {
        Err(no_recording())
    }

    /// Whether a recording was replayed past its last step; waits for the device.
    ///
    /// # Errors
    /// The device failed.
    fn replayed_past_end(&mut self) -> Result<bool, BackendError> {
        Ok(false)
    }

    /// Counts that launches left on the device since the backend was made; waits for them.
    ///
    /// # Errors
    /// The device failed.
    fn counts(&mut self) -> Result<TileCounts, BackendError> {
        Ok(TileCounts::default())
    }
}
