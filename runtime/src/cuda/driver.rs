//! The fence: every call of the driver that Rust cannot check, each as a safe function with its conditions checked.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute};
use cudarc::driver::{CudaFunction, CudaStream, result};
use libloading::Library;

use super::error::CudaError;
use super::per_thread::wait_for_all;
use crate::backend::BackendError;

/// What the loader is asked for, in cudarc's order.
const DRIVER_NAMES: [&str; 2] = if cfg!(windows) {
    ["nvcuda.dll", "cuda.dll"]
} else {
    ["libcuda.so", "libcuda.so.1"]
};

/// Pageable memory of at most so many bytes is staged by the copy itself; before a larger copy the driver may wait for all that
/// the stream holds.
const STAGED_AT_ONCE: usize = 64 << 10;

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

/// Device memory of one allocation, zeroed when it is made.
#[derive(Debug)]
pub(super) struct DeviceMemory {
    pointer: u64,
    bytes: usize,
    stream: Arc<CudaStream>,
}

impl DeviceMemory {
    pub(super) fn zeroed(
        stream: &Arc<CudaStream>,
        bytes: usize,
        purpose: &str,
    ) -> Result<Self, BackendError> {
        let refused =
            |error| match CudaError::call(format!("allocating {bytes} bytes for {purpose}"))(error)
            {
                CudaError::Call {
                    out_of_memory: true,
                    ..
                } => BackendError::OutOfMemory {
                    purpose: purpose.to_owned(),
                    bytes: bytes as u64,
                },
                other => other.into(),
            };
        stream.context().bind_to_thread().map_err(refused)?;
        // SAFETY: the size is not 0; the context is current.
        let pointer = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(refused)?;
        let memory = DeviceMemory {
            pointer,
            bytes,
            stream: Arc::clone(stream),
        };
        memory.set(0)?;
        Ok(memory)
    }

    pub(super) fn pointer(&self) -> u64 {
        self.pointer
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Fills all bytes, in the order of the stream.
    pub(super) fn set(&self, byte: u8) -> Result<(), CudaError> {
        self.bind("filling device memory")?;
        // SAFETY: the allocation holds `bytes` bytes and lives until `drop`, which waits for the device.
        unsafe { result::memset_d8_async(self.pointer, byte, self.bytes, self.stream.cu_stream()) }
            .map_err(CudaError::call("filling device memory"))
    }

    /// Sets one 32-bit word, in the order of the stream.
    pub(super) fn set_word(&self, index: usize, value: u32) -> Result<(), CudaError> {
        self.check(4 * index, 4)?;
        self.bind("setting a word of device memory")?;
        let at = self.pointer + 4 * index as u64;
        // SAFETY: `check` compared the place with the allocation, which is aligned to 256 bytes.
        unsafe { sys::cuMemsetD32Async(at, value, 1, self.stream.cu_stream()) }
            .result()
            .map_err(CudaError::call("setting a word of device memory"))
    }

    /// Writes bytes from `offset` on, in the order of the stream. The bytes have been read when this returns.
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), CudaError> {
        self.check(offset, bytes.len())?;
        self.bind("copying to the device")?;
        let mut at = self.pointer + offset as u64;
        for part in bytes.chunks(STAGED_AT_ONCE) {
            // SAFETY: `check` compared the range with the allocation. Pageable memory is staged before the call returns.
            unsafe { result::memcpy_htod_async(at, part, self.stream.cu_stream()) }
                .map_err(CudaError::call("copying to the device"))?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Reads bytes from `offset` on, after everything submitted before, by other threads too.
    pub(super) fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.check(offset, bytes.len())?;
        self.bind("copying from the device")?;
        wait_for_all(&self.stream)?;
        let at = self.pointer + offset as u64;
        // SAFETY: `check` compared the range with the allocation; the buffer outlives the copy, which is waited for.
        unsafe { result::memcpy_dtoh_async(bytes, at, self.stream.cu_stream()) }
            .map_err(CudaError::call("copying from the device"))?;
        self.stream
            .synchronize()
            .map_err(CudaError::call("copying from the device"))
    }

    /// Reads 32-bit words from the start, after everything submitted before.
    pub(super) fn read_words(&self, count: usize) -> Result<Vec<u32>, CudaError> {
        let mut bytes = vec![0; 4 * count];
        self.read(0, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    fn bind(&self, action: &str) -> Result<(), CudaError> {
        let context = self.stream.context();
        context.bind_to_thread().map_err(CudaError::call(action))
    }

    fn check(&self, offset: usize, bytes: usize) -> Result<(), CudaError> {
        if offset
            .checked_add(bytes)
            .is_some_and(|end| end <= self.bytes)
        {
            return Ok(());
        }
        Err(CudaError::Layout {
            id: "runtime".to_owned(),
            reason: format!(
                "{bytes} bytes at {offset} are outside an allocation of {} bytes",
                self.bytes
            ),
        })
    }
}

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        let freed = self.stream.context().bind_to_thread().and_then(|()| {
            // SAFETY: the pointer came from malloc and is freed once, here; cuMemFree waits for work that uses it.
            unsafe { result::free_sync(self.pointer) }
        });
        if let Err(error) = freed {
            tracing::debug!("device memory is not freed: {error:?}");
        }
    }
}

/// Copies between two places on the device, in the order of the stream.
///
/// Both ranges must lie in live allocations: that is what the borrowed tensors that callers take them from promise.
pub(super) fn copy_on_device(
    stream: &CudaStream,
    from: u64,
    to: u64,
    bytes: usize,
) -> Result<(), CudaError> {
    if bytes == 0 {
        return Ok(());
    }
    let action = "copying on the device";
    let context = stream.context();
    context.bind_to_thread().map_err(CudaError::call(action))?;
    // SAFETY: see above; a range that is no allocation's is refused by the driver.
    unsafe { result::memcpy_dtod_async(to, from, bytes, stream.cu_stream()) }
        .map_err(CudaError::call(action))
}

/// Rows in device memory: the first byte, and how many bytes lie from one row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) pointer: u64,
    pub(super) pitch: usize,
}

/// Copies `height` rows of `width` bytes between two places on the device, in the order of the stream: in one call,
/// or row by row where the device takes no such pitch, which CUDA leaves open.
///
/// As for [`copy_on_device`], all rows must lie in live allocations.
pub(super) fn copy_rows_on_device(
    stream: &CudaStream,
    from: Rows,
    to: Rows,
    width: usize,
    height: usize,
) -> Result<(), CudaError> {
    if width == 0 || height == 0 {
        return Ok(());
    }
    let action = "copying rows on the device";
    let context = stream.context();
    context.bind_to_thread().map_err(CudaError::call(action))?;
    let copy = description_of(from, to, width, height);
    // SAFETY: the description is of this frame and read before the call returns; for its places see above.
    match unsafe { sys::cuMemcpy2DAsync_v2(&copy, stream.cu_stream()) } {
        // What is refused has no effect; a range that is no allocation's is refused again below.
        sys::CUresult::CUDA_ERROR_INVALID_VALUE => (0..height).try_for_each(|row| {
            let place = |rows: Rows| rows.pointer + (row * rows.pitch) as u64;
            copy_on_device(stream, place(from), place(to), width)
        }),
        status => status.result().map_err(CudaError::call(action)),
    }
}

fn description_of(from: Rows, to: Rows, width: usize, height: usize) -> sys::CUDA_MEMCPY2D {
    sys::CUDA_MEMCPY2D {
        srcXInBytes: 0,
        srcY: 0,
        srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        srcHost: std::ptr::null(),
        srcDevice: from.pointer,
        srcArray: std::ptr::null_mut(),
        srcPitch: from.pitch,
        dstXInBytes: 0,
        dstY: 0,
        dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
        dstHost: std::ptr::null_mut(),
        dstDevice: to.pointer,
        dstArray: std::ptr::null_mut(),
        dstPitch: to.pitch,
        WidthInBytes: width,
        Height: height,
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
    let context = stream.context();
    let action = "launching";
    context.bind_to_thread().map_err(CudaError::call(action))?;
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
