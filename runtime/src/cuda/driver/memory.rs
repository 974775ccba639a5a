//! Device memory, and copies between its places.

use std::sync::Arc;

use cudarc::driver::sys;
use cudarc::driver::{CudaStream, result};

use super::enter;
use crate::backend::BackendError;
use crate::cuda::address::reads_pageable_memory;
use crate::cuda::error::CudaError;
use crate::cuda::per_thread::wait_for_all;

/// Pageable memory of at most so many bytes is staged by the copy itself; before a larger copy the driver may wait for all that
/// the stream holds.
const STAGED_AT_ONCE: usize = 64 << 10;

/// Device memory of one allocation, zeroed when it is made.
#[derive(Debug)]
pub(in crate::cuda) struct DeviceMemory {
    pointer: u64,
    bytes: usize,
    stream: Arc<CudaStream>,
}

impl DeviceMemory {
    pub(in crate::cuda) fn zeroed(
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
        enter(stream.context()).map_err(refused)?;
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

    pub(in crate::cuda) fn pointer(&self) -> u64 {
        self.pointer
    }

    pub(in crate::cuda) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Fills all bytes, in the order of the stream.
    pub(in crate::cuda) fn set(&self, byte: u8) -> Result<(), CudaError> {
        self.bind("filling device memory")?;
        // SAFETY: the allocation holds `bytes` bytes and lives until `drop`, which waits for the device.
        unsafe { result::memset_d8_async(self.pointer, byte, self.bytes, self.stream.cu_stream()) }
            .map_err(CudaError::call("filling device memory"))
    }

    /// Sets one 32-bit word, in the order of the stream.
    pub(in crate::cuda) fn set_word(&self, index: usize, value: u32) -> Result<(), CudaError> {
        self.check(4 * index, 4)?;
        self.bind("setting a word of device memory")?;
        let at = self.pointer + 4 * index as u64;
        // SAFETY: `check` compared the place with the allocation, which is aligned to 256 bytes.
        unsafe { sys::cuMemsetD32Async(at, value, 1, self.stream.cu_stream()) }
            .result()
            .map_err(CudaError::call("setting a word of device memory"))
    }

    /// Writes bytes from `offset` on, in the order of the stream. The bytes have been read when this returns.
    pub(in crate::cuda) fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), CudaError> {
        self.check(offset, bytes.len())?;
        self.bind("copying to the device")?;
        let mut at = self.pointer + offset as u64;
        let copied = bytes.chunks(STAGED_AT_ONCE).try_for_each(|part| {
            // SAFETY: `check` compared the range with the allocation. Pageable memory is staged before the call returns, or
            // waited for below.
            unsafe { result::memcpy_htod_async(at, part, self.stream.cu_stream()) }?;
            at += part.len() as u64;
            Ok(())
        });
        let waited = match reads_pageable_memory(self.stream.context()) {
            true => self.stream.synchronize(),
            false => Ok(()),
        };
        copied
            .and(waited)
            .map_err(CudaError::call("copying to the device"))
    }

    /// Reads bytes from `offset` on, after everything submitted before, by other threads too.
    pub(in crate::cuda) fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), CudaError> {
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
    pub(in crate::cuda) fn read_words(&self, count: usize) -> Result<Vec<u32>, CudaError> {
        let mut bytes = vec![0; 4 * count];
        self.read(0, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    fn bind(&self, action: &str) -> Result<(), CudaError> {
        enter(self.stream.context()).map_err(CudaError::call(action))
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
        let freed = enter(self.stream.context()).and_then(|()| {
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
pub(in crate::cuda) fn copy_on_device(
    stream: &CudaStream,
    from: u64,
    to: u64,
    bytes: usize,
) -> Result<(), CudaError> {
    if bytes == 0 {
        return Ok(());
    }
    let action = "copying on the device";
    enter(stream.context()).map_err(CudaError::call(action))?;
    // SAFETY: see above; a range that is no allocation's is refused by the driver.
    unsafe { result::memcpy_dtod_async(to, from, bytes, stream.cu_stream()) }
        .map_err(CudaError::call(action))
}

/// Rows in device memory: the first byte, and how many bytes lie from one row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cuda) struct Rows {
    pub(in crate::cuda) pointer: u64,
    pub(in crate::cuda) pitch: usize,
}

/// Copies `height` rows of `width` bytes between two places on the device, in the order of the stream: in one call,
/// or row by row where the device takes no such pitch, which CUDA leaves open.
///
/// As for [`copy_on_device`], all rows must lie in live allocations.
pub(in crate::cuda) fn copy_rows_on_device(
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
    enter(stream.context()).map_err(CudaError::call(action))?;
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
