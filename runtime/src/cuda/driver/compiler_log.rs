//! What the driver's own compiler says of a PTX text.

use std::ffi::{CString, c_void};

use cudarc::driver::sys::{self, CUjit_option_enum as JitOption};
use cudarc::driver::{CudaContext, result};

/// Bytes of the log, at most; the driver cuts off the rest.
const MOST_LOG_BYTES: usize = 8 << 10;

/// Why the driver does not take a PTX text: the errors of its compiler, one a line; empty where it gives none.
///
/// The text is compiled once more, since the call that refused it keeps no log.
pub(in crate::cuda) fn compiler_log(context: &CudaContext, ptx: &str) -> String {
    let (Ok(()), Ok(text)) = (context.bind_to_thread(), CString::new(ptx)) else {
        return String::new();
    };
    let mut log = vec![0_u8; MOST_LOG_BYTES];
    let mut options = [
        JitOption::CU_JIT_ERROR_LOG_BUFFER,
        JitOption::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
    ];
    // A size is passed as the value itself, in the place of a pointer.
    let mut values = [
        log.as_mut_ptr().cast(),
        std::ptr::without_provenance_mut::<c_void>(MOST_LOG_BYTES),
    ];
    let mut module = std::ptr::null_mut();
    // SAFETY: the context is current; the text ends with a NUL byte; there are two options with a value each, and the driver
    // writes at most as many bytes as the second says into the buffer that the first names, which outlives the call.
    let status = unsafe {
        sys::cuModuleLoadDataEx(
            &mut module,
            text.as_ptr().cast(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    if status == sys::CUresult::CUDA_SUCCESS {
        // SAFETY: the module was loaded by the call above, and nothing else knows it.
        let unloaded = unsafe { result::module::unload(module) };
        if let Err(error) = unloaded {
            tracing::debug!("a module is not unloaded: {error:?}");
        }
    }
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).trim().to_owned()
}
