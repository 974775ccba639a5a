//! Exceptions. Their texts are the library's own: what was found, what was expected, what to do.

use himuon::error::StepError as Step;
use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};

create_exception!(
    himuon,
    Error,
    PyException,
    "What himuon refuses; its subclasses say when."
);
create_exception!(
    himuon,
    BuildError,
    Error,
    "Parameters, groups or options that do not go together, or a device that is not there."
);
create_exception!(
    himuon,
    StepError,
    Error,
    "A step that was refused; nothing has changed."
);
create_exception!(
    himuon,
    TornError,
    StepError,
    "A step that failed half way, now or earlier: weights and state belong together no more. Load both."
);
create_exception!(
    himuon,
    StateError,
    Error,
    "A state that was not written or not accepted; nothing has changed."
);

/// The exception of an error of the library.
pub(crate) fn raised(error: himuon::Error) -> PyErr {
    let text = error.to_string();
    match error {
        himuon::Error::Step(Step::Torn { .. } | Step::StillTorn { .. } | Step::Lost { .. }) => {
            TornError::new_err(text)
        }
        himuon::Error::Step(_) | himuon::Error::Plan(_) | himuon::Error::Backend(_) => {
            StepError::new_err(text)
        }
        himuon::Error::State(_) => StateError::new_err(text),
        himuon::Error::Build(_) | himuon::Error::Schedule(_) => BuildError::new_err(text),
        _ => Error::new_err(text),
    }
}

/// The exception of an optimizer that is not built.
pub(crate) fn unbuilt(error: himuon::Error) -> PyErr {
    BuildError::new_err(error.to_string())
}

/// An argument that is of the right type and still none.
pub(crate) fn argument(text: impl Into<String>) -> PyErr {
    PyValueError::new_err(text.into())
}
