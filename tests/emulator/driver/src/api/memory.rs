//! `cuMemAlloc*`, `cuMemFree*`, `cuMemGetInfo`, `cuMemGetAddressRange` and `cuPointerGetAttribute`.

use std::ffi::{c_int, c_uint};

use crate::abi::{HostAddress, Out, Status};
use crate::driver::{Session, in_context};
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::pool::Pool;
use crate::stream::Stream;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) -> Status {
    in_context(|session| address.put_made(|| session.allocate(bytes)))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemAllocPitch_v2(
    address: Out<u64>,
    pitch: Out<usize>,
    width: usize,
    height: usize,
    _element: c_uint,
) -> Status {
    /// Rows start at multiples of this, as on hardware.
    const PITCH_UNIT: usize = 512;
    in_context(|session| {
        let row = width
            .checked_next_multiple_of(PITCH_UNIT)
            .ok_or(CudaError::INVALID_VALUE)?;
        let bytes = row.checked_mul(height).ok_or(CudaError::INVALID_VALUE)?;
        pitch.put(row)?;
        address.put_made(|| session.allocate(bytes))
    })
}

/// A kernel of the emulator cannot read host memory.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemAllocManaged(
    _address: Out<u64>,
    _bytes: usize,
    _flags: c_uint,
) -> Status {
    in_context(|_| Err(CudaError::NOT_SUPPORTED))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemFree_v2(address: u64) -> Status {
    in_context(|session| session.free(address))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemAllocAsync(
    address: Out<u64>,
    bytes: usize,
    stream: Handle<Stream>,
) -> Status {
    in_context(|session| {
        let pool = session.state.devices[session.device()?].pool;
        let stream = session.stream(stream)?;
        address.put_made(|| session.allocate_async(bytes, pool, stream))
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemAllocFromPoolAsync(
    address: Out<u64>,
    bytes: usize,
    pool: Handle<Pool>,
    stream: Handle<Stream>,
) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        address.put_made(|| session.allocate_async(bytes, pool, stream))
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemFreeAsync(address: u64, stream: Handle<Stream>) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        session.free_async(address, stream)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> Status {
    in_context(|session| {
        let memory = &session.driver.devices[session.device()?].memory;
        free.put((memory.capacity() - memory.live_bytes()) as usize)?;
        total.put(memory.capacity() as usize)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemGetAddressRange_v2(
    first: Out<u64>,
    bytes: Out<usize>,
    address: u64,
) -> Status {
    in_context(|session| {
        let (start, length) = range(session, address)?;
        first.put_if_wanted(start);
        bytes.put_if_wanted(length as usize);
        Ok(())
    })
}

fn range(session: &Session, address: u64) -> DriverResult<(u64, u64)> {
    let device = session
        .driver
        .holder(address, 1)
        .map_err(|_| CudaError::NOT_FOUND)?;
    let found = session.driver.devices[device].memory.allocation_of(address);
    found.ok_or(CudaError::NOT_FOUND)
}

/// The attributes that tell what a pointer is and whose.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuPointerGetAttribute(
    data: HostAddress,
    attribute: c_uint,
    address: u64,
) -> Status {
    const CONTEXT: c_uint = 1;
    const MEMORY_TYPE: c_uint = 2;
    const DEVICE_POINTER: c_uint = 3;
    const IS_MANAGED: c_uint = 8;
    const DEVICE_ORDINAL: c_uint = 9;
    const RANGE_START: c_uint = 11;
    const RANGE_SIZE: c_uint = 12;
    const DEVICE_MEMORY: c_uint = 2;
    in_context(|session| {
        let (start, bytes) = range(session, address).map_err(|_| CudaError::INVALID_VALUE)?;
        let device = session.driver.holder(address, 1)?;
        match attribute {
            CONTEXT => {
                let owner = session.state.allocations.get(&start);
                let context = owner.map_or(Handle::NULL, |allocation| allocation.context);
                data.write(&context.number().to_ne_bytes())
            }
            MEMORY_TYPE => data.write(&DEVICE_MEMORY.to_ne_bytes()),
            DEVICE_POINTER => data.write(&address.to_ne_bytes()),
            IS_MANAGED => data.write(&[0]),
            DEVICE_ORDINAL => data.write(&(device as c_int).to_ne_bytes()),
            RANGE_START => data.write(&start.to_ne_bytes()),
            RANGE_SIZE => data.write(&bytes.to_ne_bytes()),
            _ => Err(CudaError::NOT_SUPPORTED),
        }
    })
}
