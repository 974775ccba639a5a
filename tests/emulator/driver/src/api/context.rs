//! `cuCtx*` and `cuDevicePrimaryCtx*`.

use std::ffi::{c_int, c_uint, c_ulonglong};

use parking_lot::MutexGuard;

use crate::abi::{Out, Status};
use crate::context::Context;
use crate::driver::{
    Driver, Session, State, current_context, in_context, with_contexts, with_driver, with_state,
};
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;

/// Flags of `cuCtxCreate` that exist.
const CONTEXT_FLAGS: c_uint = 0x1FF;
/// `CU_LIMIT_*` that a device without printf, malloc and dynamic parallelism still has.
const LAST_LIMIT: c_uint = 6;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDevicePrimaryCtxRetain(
    context: Out<Handle<Context>>,
    device: c_int,
) -> Status {
    with_state(|_, state| {
        let index = state.ordinal(device)?;
        let primary = match state.devices[index].primary {
            Some(primary) => primary,
            None => {
                let flags = state.devices[index].primary_flags;
                let created = state.create_context(index, flags, true)?;
                state.devices[index].primary = Some(created);
                created
            }
        };
        context.put(primary)?;
        state.devices[index].retained += 1;
        Ok(())
    })
}

/// Ends the primary context of a device. The state has been locked since it was found that it shall end: whoever retains it
/// later gets another one, never one that is about to go.
fn end_primary(
    driver: &'static Driver,
    mut state: MutexGuard<'static, State>,
    index: usize,
) -> DriverResult {
    state.devices[index].retained = 0;
    let Some(context) = state.devices[index].primary.take() else {
        return Ok(());
    };
    Session {
        driver,
        state,
        context,
    }
    .destroy_context()
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Status {
    with_driver(|driver| {
        let mut state = driver.state.lock();
        let index = state.ordinal(device)?;
        let retained = &mut state.devices[index].retained;
        *retained = retained.checked_sub(1).ok_or(CudaError::INVALID_CONTEXT)?;
        if *retained > 0 {
            return Ok(());
        }
        end_primary(driver, state, index)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDevicePrimaryCtxReset_v2(device: c_int) -> Status {
    with_driver(|driver| {
        let state = driver.state.lock();
        let index = state.ordinal(device)?;
        end_primary(driver, state, index)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDevicePrimaryCtxGetState(
    device: c_int,
    flags: Out<c_uint>,
    active: Out<c_int>,
) -> Status {
    with_state(|_, state| {
        let found = &state.devices[state.ordinal(device)?];
        flags.put(found.primary_flags)?;
        active.put(c_int::from(found.primary.is_some()))
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: c_uint) -> Status {
    with_state(|_, state| {
        if flags & !CONTEXT_FLAGS != 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        let index = state.ordinal(device)?;
        state.devices[index].primary_flags = flags;
        Ok(())
    })
}

fn create(context: Out<Handle<Context>>, flags: c_uint, device: c_int) -> Status {
    with_state(|_, state| {
        if flags & !CONTEXT_FLAGS != 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        let index = state.ordinal(device)?;
        let created = state.create_context(index, flags, false)?;
        with_contexts(|contexts| contexts.push(created));
        context.put(created)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxCreate_v2(
    context: Out<Handle<Context>>,
    flags: c_uint,
    device: c_int,
) -> Status {
    create(context, flags, device)
}

/// Execution affinity and graphics sharing, which the parameters would ask for, are not emulated.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxCreate_v4(
    context: Out<Handle<Context>>,
    parameters: usize,
    flags: c_uint,
    device: c_int,
) -> Status {
    if parameters != 0 {
        return CudaError::NOT_SUPPORTED.0;
    }
    create(context, flags, device)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxDestroy_v2(context: Handle<Context>) -> Status {
    with_driver(|driver| {
        let state = driver.state.lock();
        match state.contexts.get(context) {
            Ok(Context { primary: false, .. }) => {}
            _ => return Err(CudaError::INVALID_CONTEXT),
        }
        with_contexts(|contexts| {
            if contexts.last() == Some(&context) {
                contexts.pop();
            }
        });
        Session {
            driver,
            state,
            context,
        }
        .destroy_context()
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetCurrent(context: Out<Handle<Context>>) -> Status {
    with_driver(|_| context.put(current_context()))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxSetCurrent(context: Handle<Context>) -> Status {
    with_state(|_, state| {
        if !context.is_null() && !state.contexts.contains(context) {
            return Err(CudaError::INVALID_CONTEXT);
        }
        with_contexts(|contexts| {
            contexts.pop();
            if !context.is_null() {
                contexts.push(context);
            }
        });
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxPushCurrent_v2(context: Handle<Context>) -> Status {
    with_state(|_, state| {
        state
            .contexts
            .get(context)
            .map_err(|_| CudaError::INVALID_CONTEXT)?;
        with_contexts(|contexts| contexts.push(context));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxPopCurrent_v2(context: Out<Handle<Context>>) -> Status {
    with_driver(|_| {
        let popped = with_contexts(Vec::pop).ok_or(CudaError::INVALID_CONTEXT)?;
        context.put_if_wanted(popped);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetDevice(device: Out<c_int>) -> Status {
    in_context(|session| device.put(session.device()? as c_int))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetId(context: Handle<Context>, id: Out<c_ulonglong>) -> Status {
    in_context(|session| {
        let asked = if context.is_null() {
            session.context
        } else {
            context
        };
        session
            .state
            .contexts
            .get(asked)
            .map_err(|_| CudaError::INVALID_CONTEXT)?;
        id.put(asked.number())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetApiVersion(
    context: Handle<Context>,
    version: Out<c_uint>,
) -> Status {
    in_context(|session| {
        let asked = if context.is_null() {
            session.context
        } else {
            context
        };
        session
            .state
            .contexts
            .get(asked)
            .map_err(|_| CudaError::INVALID_CONTEXT)?;
        version.put(3020)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxSynchronize() -> Status {
    in_context(|session| {
        session.refuse_while_context_is_captured()?;
        session.drain()
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetFlags(flags: Out<c_uint>) -> Status {
    in_context(|session| flags.put(session.state.contexts.get(session.context)?.flags))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxSetFlags(flags: c_uint) -> Status {
    in_context(|session| {
        if flags & !CONTEXT_FLAGS != 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        let context = session.context;
        session.state.contexts.get_mut(context)?.flags = flags;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetLimit(value: Out<usize>, limit: c_uint) -> Status {
    in_context(|session| {
        if limit > LAST_LIMIT {
            return Err(CudaError::INVALID_VALUE);
        }
        let limits = &session.state.contexts.get(session.context)?.limits;
        value.put(limits.get(&limit).copied().unwrap_or(0))
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxSetLimit(limit: c_uint, value: usize) -> Status {
    in_context(|session| {
        if limit > LAST_LIMIT {
            return Err(CudaError::UNSUPPORTED_LIMIT);
        }
        let context = session.context;
        session
            .state
            .contexts
            .get_mut(context)?
            .limits
            .insert(limit, value);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetCacheConfig(config: Out<c_uint>) -> Status {
    in_context(|session| config.put(session.state.contexts.get(session.context)?.cache_config))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxSetCacheConfig(config: c_uint) -> Status {
    in_context(|session| {
        if config > 3 {
            return Err(CudaError::INVALID_VALUE);
        }
        let context = session.context;
        session.state.contexts.get_mut(context)?.cache_config = config;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxGetStreamPriorityRange(
    least: Out<c_int>,
    greatest: Out<c_int>,
) -> Status {
    in_context(|_| {
        least.put_if_wanted(crate::stream::LEAST_PRIORITY);
        greatest.put_if_wanted(crate::stream::GREATEST_PRIORITY);
        Ok(())
    })
}

/// Emulated devices cannot read each other's memory; copies between them work.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxEnablePeerAccess(peer: Handle<Context>, _flags: c_uint) -> Status {
    in_context(|session| {
        session
            .state
            .contexts
            .get(peer)
            .map_err(|_| CudaError::INVALID_CONTEXT)?;
        Err(CudaError::PEER_ACCESS_UNSUPPORTED)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuCtxDisablePeerAccess(peer: Handle<Context>) -> Status {
    in_context(|session| {
        session
            .state
            .contexts
            .get(peer)
            .map_err(|_| CudaError::INVALID_CONTEXT)?;
        Err(CudaError::PEER_ACCESS_NOT_ENABLED)
    })
}
