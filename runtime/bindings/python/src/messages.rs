//! What the library says while it works, handed to Python's `logging` under the name `himuon`.

use himuon::messages::{Level, LevelFilter, forward};
use pyo3::prelude::*;

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
    if let Err(error) = logged {
        error.write_unraisable(py, None);
    }
    if let Some(error) = pending {
        error.restore(py);
    }
}
