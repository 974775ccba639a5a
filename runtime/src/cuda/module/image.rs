//! Images of a module, and whether the driver takes them.

use std::sync::Arc;

use cudarc::driver::sys::cudaError_enum as Code;
use cudarc::driver::{CudaContext, CudaModule, DriverError};
use cudarc::nvrtc::Ptx;

use crate::cuda::driver::compiler_log;
use crate::cuda::error::CudaError;

/// What a driver may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// Machine code.
    Cubin(Vec<u8>),
    Ptx(String),
}

/// Images that the driver did not take, for people.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Vec<String>);

impl Refused {
    fn add(&mut self, form: &str, error: DriverError, log: &str) {
        let log = match log {
            "" => String::new(),
            log => format!(" ({log})"),
        };
        let entry = format!("{form}: {:?}{log}", error.0);
        if !self.0.contains(&entry) {
            self.0.push(entry);
        }
    }

    pub(super) fn text(&self) -> String {
        self.0.join(", ")
    }
}

/// The first image that the driver takes; `None` where it takes none of them, `refused` saying why.
///
/// # Errors
/// The driver fails for another reason than the image.
pub(super) fn first_taken(
    context: &Arc<CudaContext>,
    id: &str,
    images: impl IntoIterator<Item = Image>,
    refused: &mut Refused,
) -> Result<Option<Arc<CudaModule>>, CudaError> {
    for image in images {
        let (form, loaded) = match &image {
            Image::Cubin(bytes) => ("machine code", Ptx::from_binary(bytes.clone())),
            Image::Ptx(text) => ("PTX", Ptx::from_src(text)),
        };
        match context.load_module(loaded) {
            Ok(module) => return Ok(Some(module)),
            Err(error) if is_foreign(error) => {
                tracing::debug!("kernel {id}: {form}: {:?}, the next form is tried", error.0);
                let log = match &image {
                    Image::Cubin(_) => String::new(),
                    Image::Ptx(text) => compiler_log(context, text),
                };
                refused.add(form, error, &log);
            }
            Err(error) => {
                return Err(CudaError::call(format!("loading kernel {id}"))(error));
            }
        }
    }
    Ok(None)
}

/// Whether the image is for another device or driver, so that another form may do.
fn is_foreign(error: DriverError) -> bool {
    matches!(
        error.0,
        Code::CUDA_ERROR_NO_BINARY_FOR_GPU
            | Code::CUDA_ERROR_INVALID_IMAGE
            | Code::CUDA_ERROR_INVALID_SOURCE
            | Code::CUDA_ERROR_INVALID_PTX
            | Code::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
            | Code::CUDA_ERROR_JIT_COMPILER_NOT_FOUND
            | Code::CUDA_ERROR_JIT_COMPILATION_DISABLED
    )
}
