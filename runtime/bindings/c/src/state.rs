//! Saving and resuming.

use std::ffi::c_char;

use himuon::optimizer::LoadReport;

use crate::optimizer::Optimizer;
use crate::place::{in_place, optimizer_at};
use crate::status::{Failure, Status, guarded};
use crate::text::{borrowed, cleared, owned};

/// Writes the state (momenta, moments, step, learning rate) to a safetensors file, whole or not at all. Weights are the
/// caller's. A state that a device has saved may be loaded on the CPU and the other way round.
///
/// # Safety
/// `optimizer` is an optimizer, `path` ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_save_state(
    optimizer: *mut Optimizer,
    path: *const c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (optimizer, path) = unsafe { (optimizer_at(optimizer)?, borrowed(path, "the path")?) };
        Ok(in_place!(&mut *optimizer.place, optimizer => optimizer.save_state(path))?)
    })
}

/// As `himuon_save_state`, into memory: `bytes` and `len` get what the file would hold, to be freed by
/// `himuon_bytes_free`; `bytes` gets null if it fails.
///
/// # Safety
/// `optimizer` is an optimizer, `bytes` a place for an address, `len` one for a length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_save_state_to_bytes(
    optimizer: *mut Optimizer,
    bytes: *mut *mut u8,
    len: *mut usize,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let (bytes, len) = unsafe { (cleared(bytes), len.as_mut()) };
        let (Some(bytes), Some(len)) = (bytes, len) else {
            return Err(Failure::argument(
                "the place of the bytes or of their length is null, expected a uint8_t** and a size_t*",
            ));
        };
        // SAFETY: the caller's word.
        let optimizer = unsafe { optimizer_at(optimizer)? };
        let state = in_place!(&mut *optimizer.place, optimizer => optimizer.save_state_to_bytes())?;
        let state = state.into_boxed_slice();
        *len = state.len();
        *bytes = Box::into_raw(state).cast();
        Ok(())
    })
}

/// Frees what `himuon_save_state_to_bytes` gave. Null is ignored.
///
/// # Safety
/// `bytes` and `len` come from one call of `himuon_save_state_to_bytes`, and were not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_bytes_free(bytes: *mut u8, len: usize) {
    if !bytes.is_null() {
        let state = std::ptr::slice_from_raw_parts_mut(bytes, len);
        // SAFETY: made so by `himuon_save_state_to_bytes`, by the caller's word.
        drop(unsafe { Box::from_raw(state) });
    }
}

/// Takes over a saved state. A file that is damaged or belongs to other parameters is refused, and nothing changes. The step
/// and the optimizer's learning rate become the state's: call `himuon_set_learning_rate` after this for another. The options of
/// groups, their factors and rates of their own among them, stay the present ones. `differences`, unless it is null, gets a text of
/// those that are not what they were, a line each, empty where there are none, null if it fails; it is freed by
/// `himuon_text_free`.
///
/// # Safety
/// `optimizer` is an optimizer, `path` ends with a zero, `differences` is null or a place for a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_load_state(
    optimizer: *mut Optimizer,
    path: *const c_char,
    differences: *mut *mut c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let place = unsafe { cleared(differences) };
        // SAFETY: the caller's word.
        let (optimizer, path) = unsafe { (optimizer_at(optimizer)?, borrowed(path, "the path")?) };
        let report = in_place!(&mut *optimizer.place, optimizer => optimizer.load_state(path))?;
        tell(&report, place);
        Ok(())
    })
}

/// As `himuon_load_state`, from what `himuon_save_state_to_bytes` gave or such a file holds.
///
/// # Safety
/// `optimizer` is an optimizer, `bytes` points to `len` bytes, `differences` is null or a place for a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn himuon_load_state_from_bytes(
    optimizer: *mut Optimizer,
    bytes: *const u8,
    len: usize,
    differences: *mut *mut c_char,
) -> Status {
    guarded(|| {
        // SAFETY: the caller's word.
        let place = unsafe { cleared(differences) };
        // SAFETY: the caller's word.
        let optimizer = unsafe { optimizer_at(optimizer)? };
        if bytes.is_null() {
            return Err(Failure::argument(format!(
                "the state is null, expected {len} bytes"
            )));
        }
        // SAFETY: not null, and as long by the caller's word.
        let state = unsafe { std::slice::from_raw_parts(bytes, len) };
        let report =
            in_place!(&mut *optimizer.place, optimizer => optimizer.load_state_from_bytes(state))?;
        tell(&report, place);
        Ok(())
    })
}

fn tell(report: &LoadReport, place: Option<&mut *mut c_char>) {
    if let Some(place) = place {
        *place = owned(report.differences.join("\n"));
    }
}
