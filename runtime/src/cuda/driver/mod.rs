//! The fence: every call of the driver that Rust cannot check, each as a safe function with its conditions checked.
#![allow(unsafe_code)]

mod compiler_log;
mod memory;

use std::ffi::{c_int, c_void};

use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute};
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DriverError, result};
use libloading::Library;

use super::error::CudaError;
pub(super) use compiler_log::compiler_log;
pub(super) use memory::{DeviceMemory, Rows, copy_on_device, copy_rows_on_device};

/// What the loader is asked for, in cudarc's order.
const DRIVER_NAMES: [&str; 2] = if cfg!(windows) {
    ["nvcuda.dll", "cuda.dll"]
} else {
    ["libcuda.so", "libcuda.so.1"]
};

/// The version of the driver, 13050 for 13.5; an error where there is none. Asked before anything of cudarc, which
/// would panic without a driver.
pub(super) fn driver_version() -> Result<u32, CudaError> {
    let mut reason = String::new();
    for name in DRIVER_NAMES {
        // SAFETY: the driver's initialisers have no preconditions; the name is the one that cudarc loads next.
        match unsafe { Library::new(name) } {
            Ok(library) => return version_of(library, name),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(CudaError::NoDriver {
        looked_for: DRIVER_NAMES.join(", "),
        reason,
    })
}

fn version_of(library: Library, name: &str) -> Result<u32, CudaError> {
    type GetVersion = unsafe extern "C" fn(*mut c_int) -> c_int;
    let unusable = |reason: String| CudaError::NoDriver {
        looked_for: name.to_owned(),
        reason,
    };
    let mut version = 0;
    // SAFETY: the symbol has this type in every version of cuda.h, may be called before cuInit, and writes one int.
    let status = unsafe {
        let get = library
            .get::<GetVersion>(b"cuDriverGetVersion")
            .map_err(|error| unusable(error.to_string()))?;
        get(&mut version)
    };
    // The driver stays loaded for the life of the process, as cudarc will load it anyway.
    std::mem::forget(library);
    if status == 0 {
        Ok(version.unsigned_abs())
    } else {
        Err(unusable(format!("cuDriverGetVersion returned {status}")))
    }
}

/// Makes a context current for this thread again, or none.
///
/// It must be one that the driver named as current, and that has not been destroyed since.
pub(super) fn make_current(context: Option<sys::CUcontext>) {
    let context = context.unwrap_or(std::ptr::null_mut());
    // SAFETY: null, or see above.
    let _ = unsafe { result::ctx::set_current(context) };
}

/// An attribute of a device.
pub(super) fn attribute(device: sys::CUdevice, attribute: Attribute) -> Result<u32, CudaError> {
    // SAFETY: the handle comes from cuDeviceGet, which succeeded; handles of devices never go.
    let value = unsafe { result::device::get_attribute(device, attribute) }
        .map_err(CudaError::call("reading an attribute of the device"))?;
    Ok(value.unsigned_abs())
}

/// Bytes of a device's memory.
pub(super) fn total_memory(device: sys::CUdevice) -> Result<u64, CudaError> {
    // SAFETY: as for `attribute`.
    let bytes = unsafe { result::device::total_mem(device) }
        .map_err(CudaError::call("reading the size of the device's memory"))?;
    Ok(bytes as u64)
}

/// An attribute of an address, in the current context; `None` for one that is nothing of CUDA's.
pub(super) fn pointer_attribute(
    address: u64,
    attribute: sys::CUpointer_attribute,
) -> Result<Option<u32>, CudaError> {
    // The widest of what the callers ask for is 32 bits; a truth value writes fewer.
    let mut value = 0_u32;
    // SAFETY: the driver writes an int, an unsigned int or a truth value here, and reads nothing at the address.
    let status = unsafe {
        sys::cuPointerGetAttribute(std::ptr::from_mut(&mut value).cast(), attribute, address)
    };
    match status {
        sys::CUresult::CUDA_ERROR_INVALID_VALUE => Ok(None),
        status => {
            let known = status.result().map(|()| Some(value));
            known.map_err(CudaError::call("asking whose memory an address is"))
        }
    }
}

/// A kernel's argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Pointer(u64),
    Word(u32),
    Long(u64),
}

/// Blocks, threads and dynamic shared memory of a launch, one-dimensional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) blocks: u32,
    pub(super) threads: u32,
    pub(super) shared_bytes: u32,
}

/// Submits a kernel.
///
/// Callers build `arguments` from the parameter list that was generated with the kernel's text, and keep every
/// table and buffer that they point to alive as long as the kernel may run (memory is freed after the device).
pub(super) fn launch(
    stream: &CudaStream,
    function: &CudaFunction,
    shape: Shape,
    arguments: &[Argument],
) -> Result<(), CudaError> {
    let action = "launching";
    enter(stream.context()).map_err(CudaError::call(action))?;
    let mut pointers: Vec<*mut c_void> = arguments
        .iter()
        .map(|argument| match argument {
            Argument::Pointer(value) | Argument::Long(value) => {
                std::ptr::from_ref(value).cast_mut().cast()
            }
            Argument::Word(value) => std::ptr::from_ref(value).cast_mut().cast(),
        })
        .collect();
    // SAFETY: one pointer per parameter, of the size that the generated list gives (checked by name and kind when
    // the module was loaded); the driver copies the values before the call returns. What the kernel touches
    // follows from the tables, whose ranges `table.rs` takes from the tensors of the step.
    unsafe {
        result::launch_kernel(
            function.cu_function(),
            (shape.blocks, 1, 1),
            (shape.threads, 1, 1),
            shape.shared_bytes,
            stream.cu_stream(),
            &mut pointers,
        )
    }
    .map_err(CudaError::call(action))
}

/// Makes a context the calling thread's. Unlike cudarc's own way it does not return an error that another thread, or a `drop`,
/// has left in the context: that one says nothing of the call that follows, and [`stream_state`] returns it before a step.
fn enter(context: &CudaContext) -> Result<(), DriverError> {
    if result::ctx::get_current()? == Some(context.cu_ctx()) {
        return Ok(());
    }
    // SAFETY: the context is live as long as it is borrowed.
    unsafe { result::ctx::set_current(context.cu_ctx()) }
}

/// Whether everything submitted to the stream has ended well so far; does not wait.
pub(super) fn stream_state(stream: &CudaStream) -> Result<(), CudaError> {
    let action = "a kernel that was submitted before";
    let context = stream.context();
    context.bind_to_thread().map_err(CudaError::call(action))?;
    // SAFETY: the stream is live as long as it is borrowed.
    match unsafe { sys::cuStreamQuery(stream.cu_stream()) } {
        sys::CUresult::CUDA_ERROR_NOT_READY => Ok(()),
        status => status.result().map_err(CudaError::call(action)),
    }
}

/// Whether a stream is of the context that it is taken for; the default streams are those of any.
pub(super) fn is_of_its_context(stream: &CudaStream) -> Result<bool, CudaError> {
    const NAMED: [usize; 3] = [0, 1, 2];
    if NAMED.contains(&(stream.cu_stream() as usize)) {
        return Ok(true);
    }
    let mut found = std::ptr::null_mut();
    // SAFETY: the stream is live as long as it is borrowed; the driver writes one handle.
    unsafe { sys::cuStreamGetCtx(stream.cu_stream(), &mut found) }
        .result()
        .map_err(CudaError::call("asking for the context of the stream"))?;
    Ok(found == stream.context().cu_ctx())
}

/// Whether the stream is being captured, or waits for one that is.
pub(super) fn is_capturing(stream: &CudaStream) -> Result<bool, CudaError> {
    match stream.capture_status() {
        Ok(status) => Ok(status != sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE),
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT => Ok(true),
        Err(error) => Err(CudaError::call("a kernel that was submitted before")(error)),
    }
}
