//! What the emulator offers beyond CUDA, under names of its own. `himuon-toolkit` wraps these in safe functions.

use std::ffi::{c_char, c_int};

use crate::abi::{Out, Status, Text, with_terminator};
use crate::driver::{driver, with_state};
use crate::error::CudaError;
use crate::injection::Target;

/// Copies a text with its NUL as far as it fits; the bytes that the whole text takes.
fn copy_text(text: &str, buffer: Out<c_char>, capacity: usize) -> usize {
    if capacity > 0 && !buffer.is_null() {
        // Not null (just checked): writing cannot be refused.
        let _ = buffer.put_all(&with_terminator(text, capacity), capacity);
    }
    text.len() + 1
}

/// The last message: a kernel fault with kernel, PTX line, block, warp, lane and address, or why a call was refused.
/// Returns the bytes that the text takes with its NUL, 0 if there is none.
#[unsafe(no_mangle)]
pub(super) extern "C" fn himuonEmulatorLastMessage(buffer: Out<c_char>, capacity: usize) -> usize {
    let Ok(driver) = driver() else { return 0 };
    let state = driver.state.lock();
    state
        .reports
        .last_message
        .as_ref()
        .map_or(0, |text| copy_text(text, buffer, capacity))
}

/// Counters of every kernel since the start or the last reset, as a JSON object by kernel name. Returns the bytes
/// that the text takes with its NUL.
#[unsafe(no_mangle)]
pub(super) extern "C" fn himuonEmulatorCounters(buffer: Out<c_char>, capacity: usize) -> usize {
    let Ok(driver) = driver() else { return 0 };
    copy_text(&driver.state.lock().reports.to_json(), buffer, capacity)
}

/// How often what a kind of `HIMUON_EMULATOR_FAIL` names was done since the start, failures included.
#[unsafe(no_mangle)]
pub(super) extern "C" fn himuonEmulatorUses(kind: Text, count: Out<u64>) -> Status {
    with_state(|_, state| {
        let target = Target::named(&kind.string()?).ok_or(CudaError::INVALID_VALUE)?;
        count.put(state.injection.uses(target))
    })
}

/// Forgets the counters.
#[unsafe(no_mangle)]
pub(super) extern "C" fn himuonEmulatorResetCounters() -> Status {
    with_state(|_, state| {
        state.reports.forget_kernels();
        Ok(())
    })
}

/// Bytes of device memory in use now, and the most that ever was.
#[unsafe(no_mangle)]
pub(super) extern "C" fn himuonEmulatorMemory(
    device: c_int,
    live_bytes: Out<u64>,
    peak_bytes: Out<u64>,
) -> Status {
    with_state(|driver, state| {
        let memory = &driver.devices[state.ordinal(device)?].memory;
        live_bytes.put(memory.live_bytes())?;
        peak_bytes.put(memory.peak_bytes())
    })
}
