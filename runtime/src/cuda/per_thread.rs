//! A default stream that is another one in each thread, as candle's devices have it.

use std::thread::{self, ThreadId};

use cudarc::driver::CudaStream;

use super::error::CudaError;

/// `CU_STREAM_PER_THREAD`.
pub(super) const PER_THREAD: usize = 2;

fn is_per_thread(stream: &CudaStream) -> bool {
    stream.cu_stream() as usize == PER_THREAD
}

/// Waits for all threads where each has a stream of its own behind this handle: what follows is ordered behind this
/// thread's work alone.
///
/// # Errors
/// What a kernel that was submitted before ended with.
pub(super) fn wait_for_all(stream: &CudaStream) -> Result<(), CudaError> {
    if !is_per_thread(stream) {
        return Ok(());
    }
    let waited = stream.context().synchronize();
    waited.map_err(CudaError::call("waiting for other threads' streams"))
}

/// The thread that submitted last.
#[derive(Debug)]
pub(super) struct LastThread(ThreadId);

impl LastThread {
    pub(super) fn this() -> Self {
        LastThread(thread::current().id())
    }

    /// Makes this thread's submissions follow those of the thread that submitted last.
    ///
    /// # Errors
    /// As [`wait_for_all`].
    pub(super) fn follow(&mut self, stream: &CudaStream) -> Result<(), CudaError> {
        let this = thread::current().id();
        if this != self.0 {
            wait_for_all(stream)?;
            self.0 = this;
        }
        Ok(())
    }
}
