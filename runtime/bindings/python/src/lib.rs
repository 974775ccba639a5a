//! The native part of the Python package `himuon`.
//!
//! Tensors come in by DLPack and are used where they lie: numpy arrays, torch tensors, and others, on the CPU or a CUDA
//! device. Nothing is copied. While a step runs, other Python threads run too.
#![allow(unsafe_code)]

mod errors;
mod kept;
mod map;
mod messages;
mod optimizer;
mod options;
mod place;
mod report;
mod selection;
mod state;
mod tensor;

use pyo3::prelude::*;

/// Hierarchical Muon: the optimizer step of every layer as independent tiles.
#[pymodule]
mod _himuon {
    #[pymodule_export]
    use super::errors::{BuildError, Error, StateError, StepError, TornError};
    #[pymodule_export]
    use super::kept::route;
    #[pymodule_export]
    use super::map::map_into;
    #[pymodule_export]
    use super::optimizer::Optimizer;
    #[pymodule_export]
    use super::options::{AdamW, Muon};
    #[pymodule_export]
    use super::report::{StepReport, TileCounts};
    #[pymodule_export]
    use super::state::{read_state, write_state};

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        messages::forward_to_logging();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
