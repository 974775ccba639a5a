//! Why a CUDA device cannot be used, or failed.

use std::path::PathBuf;

use cudarc::driver::DriverError;
use cudarc::driver::sys::cudaError_enum as Code;
use himuon_codegen::compile::CompileError;
use himuon_codegen::render::RenderError;

use crate::backend::BackendError;

/// Everything that the CUDA backend may refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// No driver library.
    #[error(
        "no CUDA driver: none of {looked_for} can be loaded ({reason}); install NVIDIA's driver, or put the \
         library's folder on the loader's path (LD_LIBRARY_PATH)"
    )]
    NoDriver {
        /// The names that were tried.
        looked_for: String,
        /// What the loader says.
        reason: String,
    },
    /// A driver that lacks what is needed.
    #[error(
        "the CUDA driver is of version {found}, expected 12.0 or newer; update NVIDIA's driver"
    )]
    DriverTooOld {
        /// Its version.
        found: String,
    },
    /// The driver has no device.
    #[error(
        "the CUDA driver {version} finds no device ({reason}); check nvidia-smi and CUDA_VISIBLE_DEVICES"
    )]
    NoDevice {
        /// The driver's version.
        version: String,
        /// What the driver says.
        reason: String,
    },
    /// A number that no device has.
    #[error("there is no CUDA device {found}: {count} found, numbered from 0; see himuon devices")]
    Ordinal {
        /// The number that was asked for.
        found: usize,
        /// Devices that there are.
        count: usize,
    },
    /// A device that no kernel is made for.
    #[error(
        "device {ordinal} ({name}) has compute capability {major}.{minor}, expected 7.5 or higher; use another device"
    )]
    Capability {
        /// Its number.
        ordinal: usize,
        /// Its name.
        name: String,
        /// Its compute capability.
        major: u32,
        /// Its compute capability.
        minor: u32,
    },
    /// A stream of something else than the device.
    #[error(
        "the stream is not one of the context of CUDA device {expected}; pass one that was made while that device was current"
    )]
    ForeignStream {
        /// The device's number.
        expected: usize,
    },
    /// An address of something else than the device's memory.
    #[error(
        "{address:#x} is {found}, expected an address in the memory of CUDA device {expected}; pass tensors of that device"
    )]
    Elsewhere {
        /// The address.
        address: u64,
        /// Whose it is.
        found: String,
        /// The device's number.
        expected: usize,
    },
    /// The driver refused a call.
    #[error("{action}: the CUDA driver says {code} ({text})")]
    Call {
        /// What was being done.
        action: String,
        /// The driver's name of the error.
        code: String,
        /// The driver's words.
        text: String,
        /// Whether the device's memory is lost to this process.
        lost: bool,
        /// Whether memory ran out.
        out_of_memory: bool,
    },
    /// A kernel has no text.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// A kernel cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Neither among the kernels that the program carries nor to be compiled here.
    #[error(
        "kernel {id} for {target} is not among the compiled kernels that this program carries: {found}; and it cannot \
         be compiled here: {compiling}"
    )]
    NotShipped {
        /// The kernel.
        id: String,
        /// The device's architecture.
        target: String,
        /// What the program carries, and what to do.
        found: String,
        /// Why it is not compiled where the program runs.
        compiling: String,
    },
    /// A folder holds no kernels that a device could run.
    #[error(
        "{}: {reason}; name the folder that `himuon emit --complete --out FOLDER` has filled where there is a CUDA compiler",
        path.display()
    )]
    Bundles {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The driver takes nothing that the compiler makes.
    #[error(
        "kernel {id}: the driver, of CUDA {driver}, takes nothing that NVRTC {compiler} makes for {target} ({refused}); \
         update NVIDIA's driver, or name an NVRTC of CUDA {driver} or older by HIMUON_NVRTC_PATH"
    )]
    Refused {
        /// The kernel.
        id: String,
        /// The device's architecture.
        target: String,
        /// The compiler's version.
        compiler: String,
        /// The CUDA version of the driver.
        driver: String,
        /// What the driver says of each form.
        refused: String,
    },
    /// No compiled kernel, and compiling is switched off.
    #[error(
        "kernel {id} is in no cache for {target}, and this build has no feature `jit`; build with it, or put \
         {id}/{target}.cubin or .ptx, with all kernels of the text, into the folder `modules` of the cache"
    )]
    NotCompiled {
        /// The kernel.
        id: String,
        /// The device's architecture.
        target: String,
    },
    /// A kernel whose parameters this version does not know.
    #[error("kernel {id}: {reason}; please report it")]
    Layout {
        /// The kernel.
        id: String,
        /// What was found.
        reason: String,
    },
}

impl CudaError {
    pub(super) fn call(action: impl Into<String>) -> impl FnOnce(DriverError) -> CudaError {
        let action = action.into();
        move |error| CudaError::Call {
            action,
            code: format!("{:?}", error.0),
            text: described(error),
            lost: is_lost(error.0),
            out_of_memory: error.0 == Code::CUDA_ERROR_OUT_OF_MEMORY,
        }
    }
}

fn described(error: DriverError) -> String {
    error.error_string().map_or_else(
        |_| "no description".to_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}

/// Faults of a kernel destroy the context: every later call fails, and device memory cannot be read any more. These are the
/// codes after which cuda.h asks for a new process, and that of a fault that the driver has no other name for.
fn is_lost(code: Code) -> bool {
    matches!(
        code,
        Code::CUDA_ERROR_DEINITIALIZED
            | Code::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | Code::CUDA_ERROR_CONTAINED
            | Code::CUDA_ERROR_ILLEGAL_ADDRESS
            | Code::CUDA_ERROR_LAUNCH_TIMEOUT
            | Code::CUDA_ERROR_ASSERT
            | Code::CUDA_ERROR_HARDWARE_STACK_ERROR
            | Code::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | Code::CUDA_ERROR_MISALIGNED_ADDRESS
            | Code::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | Code::CUDA_ERROR_INVALID_PC
            | Code::CUDA_ERROR_LAUNCH_FAILED
            | Code::CUDA_ERROR_TENSOR_MEMORY_LEAK
            | Code::CUDA_ERROR_MPS_CLIENT_TERMINATED
            | Code::CUDA_ERROR_EXTERNAL_DEVICE
            | Code::CUDA_ERROR_ECC_UNCORRECTABLE
            | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED
            | Code::CUDA_ERROR_UNKNOWN
    )
}

impl From<CudaError> for BackendError {
    fn from(error: CudaError) -> Self {
        let lost = matches!(error, CudaError::Call { lost: true, .. });
        let reason = if lost {
            format!("{error}; the device is lost to this process, start a new one")
        } else {
            error.to_string()
        };
        BackendError::Device {
            action: "CUDA".to_owned(),
            reason,
            lost,
        }
    }
}
