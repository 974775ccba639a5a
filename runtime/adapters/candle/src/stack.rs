//! A stack that is deep enough for the nested operations of a step.

use candle_core::{Error, Result};

use crate::error::CandleError;

/// Bytes of stack that one variable takes on the way down: 552 were measured where the compiler optimises, and where it
/// does not frames are several times as large.
const BYTES_PER_VARIABLE: usize = 8 << 10;
/// Bytes of stack of the step itself, at the bottom.
const STEP_BYTES: usize = 4 << 20;
/// Up to this many variables the caller's stack does: 35 KiB as measured, where a thread's has 2 MiB.
const NESTED_IN_PLACE: usize = 64;

/// Whether a descent over so many variables runs on a thread of its own.
pub(crate) fn needs_a_thread(variables: usize) -> bool {
    variables > NESTED_IN_PLACE
}

/// Runs a descent over so many variables, on a thread of its own where the caller's stack may be too small.
///
/// The thread's stack is address space until it is written to. A panic of the descent goes on in the caller.
pub(crate) fn with_stack_for<T: Send>(
    variables: usize,
    descent: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    if !needs_a_thread(variables) {
        return descent();
    }
    let bytes = STEP_BYTES + BYTES_PER_VARIABLE * variables;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("himuon-step".to_owned())
            .stack_size(bytes)
            .spawn_scoped(scope, descent)
            .map_err(|source| {
                Error::wrap(CandleError::Stack {
                    variables,
                    bytes,
                    source,
                })
            })?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
