//! What a call comes to, and the text of the last error.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use himuon::Error;
use himuon::backend::BackendError;
use himuon::cpu::with_default_floats;
use himuon::cuda::CudaError;
use himuon::error::StepError;

/// What a call came to.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// An argument is null, not UTF-8, misaligned, overlaps another, lies in another memory, or names nothing. Nothing has
    /// changed.
    Argument = 1,
    /// The library refused, as the text says. Nothing has changed.
    Refused = 2,
    /// A step failed after its first launch, now or earlier: weights and state belong together no more. Load a saved
    /// state with its weights; in a new process where the text says that the device is lost.
    Torn = 3,
    /// A defect of the library; the handle must not be used any more, nor freed.
    Panic = 4,
}

/// Why a call failed.
pub(crate) struct Failure {
    status: Status,
    text: String,
}

impl Failure {
    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Failure {
            status: Status::Argument,
            text: text.into(),
        }
    }

    pub(crate) fn refused(error: impl std::fmt::Display) -> Self {
        Failure {
            status: Status::Refused,
            text: error.to_string(),
        }
    }
}

impl From<CudaError> for Failure {
    fn from(error: CudaError) -> Self {
        match error {
            // What was passed, rather than what is there.
            CudaError::Elsewhere { .. } | CudaError::ForeignStream { .. } => {
                Failure::argument(error.to_string())
            }
            CudaError::Call { lost: true, .. } => Error::from(BackendError::from(error)).into(),
            other => Failure::refused(other),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let torn = matches!(
            error,
            Error::Step(
                StepError::Torn { .. } | StepError::StillTorn { .. } | StepError::Lost { .. }
            ) | Error::Backend(BackendError::Device { lost: true, .. })
        );
        Failure {
            status: if torn { Status::Torn } else { Status::Refused },
            text: error.to_string(),
        }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs `body`, whatever the caller has made of floating-point arithmetic; keeps the text of its failure.
pub(crate) fn guarded(body: impl FnOnce() -> Result<(), Failure>) -> Status {
    let in_ours = || with_default_floats(body);
    let failure = match catch_unwind(AssertUnwindSafe(in_ours)) {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(failure)) => failure,
        Err(_) => Failure {
            status: Status::Panic,
            text: "a defect: the library panicked; please report it with what it printed"
                .to_owned(),
        },
    };
    // A text with a zero inside would end there for the caller too.
    let text = failure.text.replace('\0', " ");
    LAST.with(|last| *last.borrow_mut() = CString::new(text).unwrap_or_default());
    failure.status
}

/// The text of the last call of this thread that failed: what was found, what was expected, what to do. Valid until the
/// next call that fails; empty before the first. Never null.
#[unsafe(no_mangle)]
pub extern "C" fn himuon_last_error() -> *const c_char {
    LAST.with(|last| last.borrow().as_ptr())
}
