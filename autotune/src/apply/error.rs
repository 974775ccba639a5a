//! Why a file could not be mapped.

use himuon::cpu::CpuError;
use himuon::templates::SpecError;
use std::path::PathBuf;

/// Why a file could not be mapped. Whatever it is, the output file is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Input and output are one file.
    #[error("{path} is both input and output: give another output file")]
    SamePath {
        /// The path.
        path: PathBuf,
    },
    /// The specification itself.
    #[error(transparent)]
    Spec(SpecError),
    /// The input cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The input is something else, or damaged.
    #[error("{path} is no whole safetensors file ({reason}): give a file written by safetensors")]
    Format {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The output cannot be written.
    #[error("{path} cannot be written: {reason}")]
    Write {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(CpuError),
    /// There is no such CUDA device, or it cannot be used.
    #[error(transparent)]
    Cuda(#[from] himuon::cuda::CudaError),
    /// The CUDA device refused.
    #[error(transparent)]
    Device(#[from] himuon::backend::BackendError),
}

impl From<CpuError> for ApplyError {
    fn from(error: CpuError) -> Self {
        match error {
            CpuError::Spec(error) => ApplyError::Spec(error),
            other => ApplyError::Kernel(other),
        }
    }
}
