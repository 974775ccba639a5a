//! `cuMemPool*` and the pools of devices.

use std::ffi::{c_int, c_uint};

use crate::abi::{HostAddress, In, Out, PoolProperties, Status};
use crate::driver::{in_context, with_state};
use crate::error::CudaError;
use crate::handle::Handle;
use crate::pool::{Pool, PoolValue};

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetDefaultMemPool(
    pool: Out<Handle<Pool>>,
    device: c_int,
) -> Status {
    with_state(|_, state| pool.put(state.devices[state.ordinal(device)?].default_pool))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetMemPool(pool: Out<Handle<Pool>>, device: c_int) -> Status {
    with_state(|_, state| pool.put(state.devices[state.ordinal(device)?].pool))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceSetMemPool(device: c_int, pool: Handle<Pool>) -> Status {
    with_state(|_, state| {
        let index = state.ordinal(device)?;
        if state.pools.get(pool)?.device != index {
            return Err(CudaError::INVALID_DEVICE);
        }
        state.devices[index].pool = pool;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemPoolCreate(
    pool: Out<Handle<Pool>>,
    properties: In<PoolProperties>,
) -> Status {
    /// `CU_MEM_ALLOCATION_TYPE_PINNED` and `CU_MEM_LOCATION_TYPE_DEVICE`.
    const PINNED: c_uint = 1;
    const DEVICE: c_uint = 1;
    with_state(|_, state| {
        let wanted = properties.read()?;
        if wanted.allocation_type != PINNED || wanted.location_type != DEVICE {
            return Err(CudaError::INVALID_VALUE);
        }
        if wanted.handle_types != 0 {
            return Err(CudaError::NOT_SUPPORTED);
        }
        let device = state.ordinal(wanted.location_id)?;
        pool.put(state.pools.insert(Pool::new(device)))
    })
}

/// Allocations of the pool stay valid; a device that used it goes back to its default pool.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemPoolDestroy(pool: Handle<Pool>) -> Status {
    with_state(|_, state| {
        if state
            .devices
            .iter()
            .any(|device| device.default_pool == pool)
        {
            return Err(CudaError::INVALID_VALUE);
        }
        state.pools.remove(pool)?;
        for device in state
            .devices
            .iter_mut()
            .filter(|device| device.pool == pool)
        {
            device.pool = device.default_pool;
        }
        Ok(())
    })
}

/// Nothing is held back, so that there is nothing to trim.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemPoolTrimTo(pool: Handle<Pool>, _keep: usize) -> Status {
    with_state(|_, state| state.pools.get(pool).map(|_| ()))
}

/// Accounts are settled when queued frees are executed.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemPoolGetAttribute(
    pool: Handle<Pool>,
    attribute: c_uint,
    value: HostAddress,
) -> Status {
    in_context(
        |session| match session.state.pools.get(pool)?.attribute(attribute)? {
            PoolValue::Flag(flag) => value.write(&flag.to_ne_bytes()),
            PoolValue::Bytes(bytes) => value.write(&bytes.to_ne_bytes()),
        },
    )
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemPoolSetAttribute(
    pool: Handle<Pool>,
    attribute: c_uint,
    value: HostAddress,
) -> Status {
    in_context(|session| {
        let value = if Pool::is_flag(attribute) {
            let bytes = value.read(size_of::<c_int>())?;
            PoolValue::Flag(
                bytes
                    .try_into()
                    .map(c_int::from_ne_bytes)
                    .map_err(|_| CudaError::UNKNOWN)?,
            )
        } else {
            let bytes = value.read(size_of::<u64>())?;
            PoolValue::Bytes(
                bytes
                    .try_into()
                    .map(u64::from_ne_bytes)
                    .map_err(|_| CudaError::UNKNOWN)?,
            )
        };
        session
            .state
            .pools
            .get_mut(pool)?
            .set_attribute(attribute, value)
    })
}
