//! What is current for the caller's thread.

use std::sync::OnceLock;

use cudarc::driver::{result, sys};

use super::device::start;
use super::driver::make_current;
use super::error::CudaError;

/// What is current for this thread, made so again when this is dropped.
///
/// Whatever is asked of a device makes it current, as in all of cudarc. Programs of CUDA's runtime, PyTorch among them, take
/// the thread's device from what is current: they keep it around their calls.
///
/// ```no_run
/// use himuon::cuda::{self, CurrentContext};
///
/// let _current = CurrentContext::keep()?;
/// let context = cuda::open(1)?; // current until both are dropped
/// # Ok::<(), cuda::CudaError>(())
/// ```
#[derive(Debug)]
pub struct CurrentContext(Option<sys::CUcontext>);

impl CurrentContext {
    /// Keeps what is current now. It must not be destroyed meanwhile; a primary context, which is what programs of CUDA's
    /// runtime use, is not.
    ///
    /// # Errors
    /// No driver, no device, or the driver does not tell, as in a process that was forked after it was started.
    pub fn keep() -> Result<Self, CudaError> {
        static STARTED: OnceLock<()> = OnceLock::new();
        let action = "asking for the current context";
        if STARTED.get().is_none() {
            start()?;
            STARTED.get_or_init(|| ());
        }
        let current = result::ctx::get_current().map_err(CudaError::call(action))?;
        Ok(CurrentContext(current))
    }
}

impl Drop for CurrentContext {
    fn drop(&mut self) {
        // By the documentation of `keep` the context is there still.
        make_current(self.0);
    }
}
