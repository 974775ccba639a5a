//! `cuModule*`.

use std::ffi::{c_char, c_uint, c_void};
use std::fs;

use crate::abi::{self, In, Out, Status, Text, image_of, with_terminator};
use crate::driver::{Session, in_context};
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::module::{Function, Image};

/// `CU_JIT_ERROR_LOG_BUFFER` and its size.
const ERROR_LOG_BUFFER: c_uint = 5;
const ERROR_LOG_BUFFER_BYTES: c_uint = 6;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleLoadData(module: Out<Handle<Image>>, image: abi::Image) -> Status {
    in_context(|session| module.put_made(|| session.load_module(image)))
}

/// Of the options only the error log is honoured: the rest tune a compiler that is not there.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleLoadDataEx(
    module: Out<Handle<Image>>,
    image: abi::Image,
    option_count: c_uint,
    options: In<c_uint>,
    values: In<usize>,
) -> Status {
    in_context(|session| {
        let options = options.read_all(option_count as usize)?;
        let values = values.read_all(option_count as usize)?;
        match session.load_module(image) {
            Ok(loaded) => module.put(loaded),
            Err(error) => {
                write_error_log(session, &options, &values)?;
                Err(error)
            }
        }
    })
}

fn write_error_log(session: &Session, options: &[c_uint], values: &[usize]) -> DriverResult {
    let value_of = |option| {
        options
            .iter()
            .zip(values)
            .find(|(known, _)| **known == option)
            .map(|(_, value)| *value)
    };
    if let (Some(buffer), Some(capacity)) =
        (value_of(ERROR_LOG_BUFFER), value_of(ERROR_LOG_BUFFER_BYTES))
        && capacity > 0
    {
        let message = session
            .state
            .reports
            .last_message
            .clone()
            .unwrap_or_default();
        let text = with_terminator(&message, capacity);
        let bytes: Vec<u8> = text
            .iter()
            .map(|character| character.cast_unsigned())
            .collect();
        abi::HostAddress(buffer).write(&bytes)?;
    }
    Ok(())
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleLoadFatBinary(
    module: Out<Handle<Image>>,
    image: abi::Image,
) -> Status {
    cuModuleLoadData(module, image)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleLoad(module: Out<Handle<Image>>, file: Text) -> Status {
    in_context(|session| {
        let mut image = fs::read(file.string()?).map_err(|_| CudaError::FILE_NOT_FOUND)?;
        image.push(0);
        module.put_made(|| session.load_module(image_of(&image)))
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleUnload(module: Handle<Image>) -> Status {
    in_context(|session| session.unload_module(module))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleGetFunction(
    function: Out<Handle<Function>>,
    module: Handle<Image>,
    name: Text,
) -> Status {
    in_context(|session| function.put(session.function(module, &name.string()?)?))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleGetFunctionCount(
    count: Out<c_uint>,
    module: Handle<Image>,
) -> Status {
    in_context(|session| {
        let image = session.state.modules.get(module)?;
        count.put(image.loaded.module().kernels().count() as c_uint)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleEnumerateFunctions(
    functions: Out<Handle<Function>>,
    capacity: c_uint,
    module: Handle<Image>,
) -> Status {
    in_context(|session| {
        let image = session.state.modules.get(module)?;
        let names: Vec<String> = image
            .loaded
            .module()
            .kernels()
            .map(|kernel| kernel.name().to_owned())
            .collect();
        let found = names
            .iter()
            .map(|name| session.function(module, name))
            .collect::<DriverResult<Vec<_>>>()?;
        functions.put_all(&found, capacity as usize)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleGetGlobal_v2(
    address: Out<u64>,
    bytes: Out<usize>,
    module: Handle<Image>,
    name: Text,
) -> Status {
    in_context(|session| {
        let image = session.state.modules.get(module)?;
        let (first, length) = image
            .loaded
            .global(&name.string()?)
            .ok_or(CudaError::NOT_FOUND)?;
        address.put_if_wanted(first);
        bytes.put_if_wanted(length as usize);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuModuleGetLoadingMode(mode: Out<c_uint>) -> Status {
    const EAGER: c_uint = 1;
    in_context(|_| mode.put(EAGER))
}

/// NVRTC opens the driver and asks for private tables; without this symbol it would jump to null.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGetExportTable(table: Out<*const c_void>, _id: In<c_char>) -> Status {
    table.put_if_wanted(std::ptr::null());
    CudaError::NOT_SUPPORTED.0
}
