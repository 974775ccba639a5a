//! `cuGetErrorName` and `cuGetErrorString`.

use std::ffi::{c_char, c_int};

use crate::abi::{Out, Status, guard};
use crate::error::{CudaError, describe};

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGetErrorName(code: c_int, name: Out<*const c_char>) -> Status {
    guard(|| match describe(code) {
        Some((text, _)) => name.put(text.as_ptr()),
        None => {
            name.put_if_wanted(std::ptr::null());
            Err(CudaError::INVALID_VALUE)
        }
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuGetErrorString(code: c_int, text: Out<*const c_char>) -> Status {
    guard(|| match describe(code) {
        Some((_, description)) => text.put(description.as_ptr()),
        None => {
            text.put_if_wanted(std::ptr::null());
            Err(CudaError::INVALID_VALUE)
        }
    })
}
