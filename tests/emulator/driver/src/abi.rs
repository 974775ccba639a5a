//! What crosses the C boundary: pointers that the caller vouches for, wrapped so that the rest of the driver reads and
//! writes through checked, safe functions.
//!
//! A value of these types only comes into being as an argument of an exported function. `cuda.h` obliges the caller to
//! pass null or a pointer that is valid for the type; that promise is what each `SAFETY` comment below rests on.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::context::Context;
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::module::Function;
use crate::stream::Stream;

/// The number that C sees.
pub(crate) type Status = c_int;

/// Runs an exported function's body; a panic, which must not cross into C, is reported as an unknown error.
pub(crate) fn guard(body: impl FnOnce() -> DriverResult) -> Status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => error.0,
        Err(_) => CudaError::UNKNOWN.0,
    }
}

/// A pointer through which a result leaves.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Out<T> {}

impl<T: Copy> Out<T> {
    /// For calls from inside that want no result.
    pub(crate) fn unwanted() -> Self {
        Self(std::ptr::null_mut())
    }

    pub(crate) fn put(self, value: T) -> DriverResult {
        if self.0.is_null() {
            return Err(CudaError::INVALID_VALUE);
        }
        // SAFETY: not null (checked above), hence by the caller's promise valid for a write of a `T`; unaligned because
        // C callers may pack.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Makes a value and writes it; without a place to write to, nothing is made.
    pub(crate) fn put_made(self, make: impl FnOnce() -> DriverResult<T>) -> DriverResult {
        if self.is_null() {
            return Err(CudaError::INVALID_VALUE);
        }
        self.put(make()?)
    }

    /// Writes if the caller wants the value.
    pub(crate) fn put_if_wanted(self, value: T) {
        // A null pointer means that it is not wanted.
        let _ = self.put(value);
    }

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// Reads what the caller put there, for arguments that go both ways.
    pub(crate) fn take(self) -> DriverResult<T> {
        In(self.0.cast_const()).read()
    }

    /// Writes at most `capacity` values, in order.
    pub(crate) fn put_all(self, values: &[T], capacity: usize) -> DriverResult {
        for (index, value) in values.iter().take(capacity).enumerate() {
            // `wrapping_add` stays inside the array that the caller promised to hold `capacity` values.
            Self(self.0.wrapping_add(index)).put(*value)?;
        }
        Ok(())
    }
}

/// A pointer to an argument.
#[repr(transparent)]
pub(crate) struct In<T>(*const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for In<T> {}

impl<T: Copy> In<T> {
    pub(crate) fn read(self) -> DriverResult<T> {
        if self.0.is_null() {
            return Err(CudaError::INVALID_VALUE);
        }
        // SAFETY: not null (checked above), hence by the caller's promise valid for a read of a `T`. The types used
        // here are structures of integers and pointers, for which every bit pattern is a value.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Reads an array; null only stands for an empty one.
    pub(crate) fn read_all(self, count: usize) -> DriverResult<Vec<T>> {
        (0..count)
            .map(|index| Self(self.0.wrapping_add(index)).read())
            .collect()
    }
}

/// A NUL-terminated text argument.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Text(*const c_char);

impl Text {
    pub(crate) fn bytes<'a>(self) -> DriverResult<&'a [u8]> {
        if self.0.is_null() {
            return Err(CudaError::INVALID_VALUE);
        }
        // SAFETY: not null, and by the caller's promise NUL-terminated and alive during the call; every use copies
        // what it keeps.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_bytes())
    }

    pub(crate) fn string(self) -> DriverResult<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| CudaError::INVALID_VALUE)
    }
}

/// A module image: PTX text, or a binary that begins with a magic number.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Image(*const c_void);

impl Image {
    /// The first bytes, up to four; fewer if a NUL ends a text before.
    pub(crate) fn magic(self) -> DriverResult<Vec<u8>> {
        let mut magic = Vec::new();
        for offset in 0..4 {
            let byte = In(self.0.cast::<u8>().wrapping_add(offset)).read()?;
            magic.push(byte);
            if byte == 0 {
                break;
            }
        }
        Ok(magic)
    }

    pub(crate) fn text(self) -> Text {
        Text(self.0.cast())
    }
}

/// Memory of the host process, by address.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostAddress(pub(crate) usize);

impl HostAddress {
    /// Copies `bytes` bytes out of the host's memory.
    pub(crate) fn read(self, bytes: usize) -> DriverResult<Vec<u8>> {
        let mut copy = vec![0_u8; bytes];
        if bytes == 0 {
            return Ok(copy);
        }
        if self.0 == 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        let source: *const u8 = std::ptr::with_exposed_provenance(self.0);
        // SAFETY: the caller of a copy promises that the host range stays readable until the copy is complete; `copy`
        // is a fresh buffer of the same length.
        unsafe { std::ptr::copy_nonoverlapping(source, copy.as_mut_ptr(), bytes) };
        Ok(copy)
    }

    /// Copies `data` into the host's memory.
    pub(crate) fn write(self, data: &[u8]) -> DriverResult {
        if data.is_empty() {
            return Ok(());
        }
        if self.0 == 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        let destination: *mut u8 = std::ptr::with_exposed_provenance_mut(self.0);
        // SAFETY: the caller of a copy promises that the host range stays writable until the copy is complete; `data`
        // is memory of the driver and cannot overlap it.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), destination, data.len()) };
        Ok(())
    }
}

/// A host function with its argument, called in stream order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostCall {
    pub(crate) function: Option<extern "C" fn(usize)>,
    pub(crate) argument: usize,
}

impl HostCall {
    pub(crate) fn run(self) {
        if let Some(function) = self.function {
            function(self.argument);
        }
    }
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LaunchConfig {
    pub(crate) grid: [c_uint; 3],
    pub(crate) block: [c_uint; 3],
    pub(crate) shared_bytes: c_uint,
    pub(crate) stream: Handle<Stream>,
    pub(crate) attributes: In<LaunchAttribute>,
    pub(crate) attribute_count: c_uint,
}

/// `CUlaunchAttribute`: a number and a union of 64 bytes.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaunchAttribute {
    pub(crate) id: c_uint,
    pub(crate) pad: c_uint,
    pub(crate) value: [c_uint; 16],
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct KernelNodeParams {
    pub(crate) function: Handle<Function>,
    pub(crate) grid: [c_uint; 3],
    pub(crate) block: [c_uint; 3],
    pub(crate) shared_bytes: c_uint,
    pub(crate) parameters: usize,
    pub(crate) extra: usize,
    pub(crate) kernel: usize,
    pub(crate) context: Handle<Context>,
}

/// `CUDA_MEMSET_NODE_PARAMS`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemsetNodeParams {
    pub(crate) destination: u64,
    pub(crate) pitch: usize,
    pub(crate) value: c_uint,
    pub(crate) element_bytes: c_uint,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// `CUDA_MEMCPY2D_v2`: first the source, then the destination.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memcpy2D {
    pub(crate) source: Memcpy2DSide,
    pub(crate) destination: Memcpy2DSide,
    pub(crate) width_bytes: usize,
    pub(crate) height: usize,
}

/// Where the rows of one side of a `CUDA_MEMCPY2D_v2` lie.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memcpy2DSide {
    pub(crate) x_bytes: usize,
    pub(crate) y: usize,
    /// `CUmemorytype`.
    pub(crate) memory_type: c_uint,
    pub(crate) host: usize,
    pub(crate) device: u64,
    pub(crate) array: usize,
    pub(crate) pitch: usize,
}

/// `CUgraphExecUpdateResultInfo`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct UpdateResult {
    pub(crate) result: c_uint,
    pub(crate) error_node: u64,
    pub(crate) error_from_node: u64,
}

/// The first fields of `CUmemPoolProps`, which are all that the emulator looks at.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolProperties {
    pub(crate) allocation_type: c_uint,
    pub(crate) handle_types: c_uint,
    pub(crate) location_type: c_uint,
    pub(crate) location_id: c_int,
}

/// A module image in memory of the driver, which must end with a NUL.
pub(crate) fn image_of(bytes: &[u8]) -> Image {
    Image(bytes.as_ptr().cast())
}

/// The text as C characters, cut so that it fits into `capacity` with its NUL.
pub(crate) fn with_terminator(text: &str, capacity: usize) -> Vec<c_char> {
    let fitting = capacity.saturating_sub(1);
    text.bytes()
        .take(fitting)
        .chain([0])
        .take(capacity)
        .map(|byte| byte as c_char)
        .collect()
}

/// The caller's function from block size to dynamic shared memory, `CUoccupancyB2DSize`; null if it does not vary.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct SharedForBlock(Option<extern "C" fn(c_int) -> usize>);

impl SharedForBlock {
    pub(crate) fn bytes(self, threads: u32) -> Option<usize> {
        self.0.map(|function| function(threads as c_int))
    }
}
