//! `cuFunc*`.

use std::ffi::{c_char, c_int, c_uint};

use crate::abi::{Out, Status};
use crate::driver::in_context;
use crate::error::CudaError;
use crate::handle::Handle;
use crate::module::{Function, Image};

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuFuncGetAttribute(
    value: Out<c_int>,
    attribute: c_uint,
    function: Handle<Function>,
) -> Status {
    in_context(|session| value.put(session.function_attribute(function, attribute)?))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuFuncSetAttribute(
    function: Handle<Function>,
    attribute: c_uint,
    value: c_int,
) -> Status {
    in_context(|session| session.set_function_attribute(function, attribute, value))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuFuncSetCacheConfig(
    function: Handle<Function>,
    config: c_uint,
) -> Status {
    in_context(|session| {
        if config > 3 {
            return Err(CudaError::INVALID_VALUE);
        }
        session.state.functions.get_mut(function)?.cache_config = config;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuFuncGetModule(
    module: Out<Handle<Image>>,
    function: Handle<Function>,
) -> Status {
    in_context(|session| module.put(session.state.functions.get(function)?.module))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuFuncGetName(
    name: Out<*const c_char>,
    function: Handle<Function>,
) -> Status {
    in_context(|session| name.put(session.state.functions.get(function)?.c_name.as_ptr()))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuFuncGetParamInfo(
    function: Handle<Function>,
    index: usize,
    offset: Out<usize>,
    bytes: Out<usize>,
) -> Status {
    in_context(|session| {
        let kernel = session.state.functions.get(function)?.kernel()?;
        let param = kernel.params().get(index).ok_or(CudaError::INVALID_VALUE)?;
        bytes.put_if_wanted(param.bytes as usize);
        offset.put(param.offset as usize)
    })
}
