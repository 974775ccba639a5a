//! Pinned host memory: `cuMemHostAlloc`, `cuMemHostRegister` and the like.

use std::ffi::c_uint;

use crate::abi::{HostAddress, Out, Status};
use crate::driver::in_context;
use crate::error::CudaError;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemHostAlloc(
    address: Out<HostAddress>,
    bytes: usize,
    flags: c_uint,
) -> Status {
    in_context(|session| {
        session.refuse_unsafe_call()?;
        address.put_made(|| session.state.host_ranges.allocate(bytes, flags))
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemAllocHost_v2(address: Out<HostAddress>, bytes: usize) -> Status {
    cuMemHostAlloc(address, bytes, 0)
}

/// Queued copies may still use the memory, so this waits for the context, as the driver does.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemFreeHost(address: HostAddress) -> Status {
    in_context(|session| {
        session.refuse_unsafe_call()?;
        if address.0 == 0 {
            return Ok(());
        }
        session.drain()?;
        session.state.host_ranges.free(address)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemHostRegister_v2(
    address: HostAddress,
    bytes: usize,
    flags: c_uint,
) -> Status {
    in_context(|session| {
        session.refuse_unsafe_call()?;
        session.state.host_ranges.register(address, bytes, flags)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemHostUnregister(address: HostAddress) -> Status {
    in_context(|session| {
        session.refuse_unsafe_call()?;
        session.drain()?;
        session.state.host_ranges.unregister(address)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemHostGetFlags(flags: Out<c_uint>, address: HostAddress) -> Status {
    in_context(|session| flags.put(session.state.host_ranges.flags(address)?))
}

/// Kernels of the emulator cannot reach host memory.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemHostGetDevicePointer_v2(
    _device: Out<u64>,
    _host: HostAddress,
    _flags: c_uint,
) -> Status {
    in_context(|_| Err(CudaError::NOT_SUPPORTED))
}
