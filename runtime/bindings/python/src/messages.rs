//! What the library says while it works, handed to Python's `logging` under the name `himuon`.

use himuon::messages::{Level, LevelFilter, forward};
use pyo3::exceptions::PyException;
use pyo3::ffi::Py_AddPendingCall;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};

/// Forwards messages for as long as the process runs; once it does, does nothing.
///
/// The library lets other Python threads run wherever it may have something to say, so that the thread that says it can
/// wait for the interpreter. At its end there is none, and what is still said is lost.
pub(crate) fn forward_to_logging() {
    // The only subscriber of this module is the one that an earlier import has set.
    let _ = forward(LevelFilter::INFO, |level, text| {
        Python::try_attach(|py| log(py, level, text));
    });
}

/// The numbers of Python's `logging`.
fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        _ => 10,
    }
}

fn log(py: Python<'_>, level: Level, text: &str) {
    // What is let go while an exception is on its way may have something to say too.
    let pending = PyErr::take(py);
    let logged = py
        .import("logging")
        .and_then(|logging| logging.call_method1("getLogger", ("himuon",)))
        .and_then(|logger| logger.call_method1("log", (number(level), text)));
    match logged {
        // Ctrl-C, or what a handler of a signal has raised, came while Python ran for this message: it is not about it. Signals
        // are the main thread's.
        Err(error) if !error.is_instance_of::<PyException>(py) && is_main_thread(py) => {
            raise_later(py, error);
        }
        Err(error) => error.write_unraisable(py, None),
        Ok(_) => {}
    }
    if let Some(error) = pending {
        error.restore(py);
    }
}

fn is_main_thread(py: Python<'_>) -> bool {
    let compared = py.import("threading").and_then(|threading| {
        let main = threading.call_method0("main_thread")?;
        Ok(threading.call_method0("current_thread")?.is(&main))
    });
    compared.unwrap_or(false)
}

/// Raises an exception in the main thread as soon as that runs Python again.
fn raise_later(py: Python<'_>, error: PyErr) {
    let kept = Box::into_raw(Box::new(error));
    // SAFETY: `raise` gets the address once, or never where the interpreter has no room for it.
    let added = unsafe { Py_AddPendingCall(Some(raise), kept.cast()) };
    if added != 0 {
        // SAFETY: nobody else has got the address.
        unsafe { Box::from_raw(kept) }.write_unraisable(py, None);
    }
}

/// Called by the interpreter, attached to it.
extern "C" fn raise(error: *mut c_void) -> c_int {
    // SAFETY: `raise_later` boxed it, and each call has its own.
    let error = unsafe { Box::from_raw(error.cast::<PyErr>()) };
    Python::attach(|py| error.restore(py));
    -1
}
