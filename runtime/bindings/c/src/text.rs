//! Texts from and to the caller.

use std::ffi::{CStr, CString, c_char};

use crate::status::Failure;

/// First part of the version of the header; with the other two to be compared with `himuon_version`.
pub const HIMUON_VERSION_MAJOR: u32 = 0;
/// Second part of the version of the header.
pub const HIMUON_VERSION_MINOR: u32 = 1;
/// Third part of the version of the header.
pub const HIMUON_VERSION_PATCH: u32 = 0;

/// The version of the library, as in `0.1.0`. Never null, always valid.
#[unsafe(no_mangle)]
pub extern "C" fn himuon_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Frees a text that the library made. Null is ignored.
///
/// # Safety
/// `text` comes from a function that says so, and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_text_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: made by `owned` below, by the caller's word.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// A text that the caller frees.
pub(crate) fn owned(text: String) -> *mut c_char {
    let text = CString::new(text.replace('\0', " "));
    text.unwrap_or_default().into_raw()
}

/// The caller's text.
///
/// # Safety
/// `text` is null or ends with a zero, and stays as it is for as long as the result is used.
pub(crate) unsafe fn borrowed<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::argument(format!(
            "{what} is null, expected a text"
        )));
    }
    // SAFETY: not null; the rest is the caller's word.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str()
        .map_err(|error| Failure::argument(format!("{what} is not UTF-8: {error}")))
}

/// The place for what a call gives, null until it does: what a call that failed has left there is nothing to free.
///
/// # Safety
/// `place` is null or a place that is the caller's for as long as the result is used.
pub(crate) unsafe fn cleared<'a, T>(place: *mut *mut T) -> Option<&'a mut *mut T> {
    // SAFETY: the caller's word.
    let place = unsafe { place.as_mut() }?;
    *place = std::ptr::null_mut();
    Some(place)
}
