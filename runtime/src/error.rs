//! The error on top; each area has its own below.

use crate::backend::BackendError;
use crate::plan::PlanError;
use crate::schedule::ScheduleError;
use crate::state::StateError;
use crate::tuning::TuningError;

pub use crate::optimizer::{BuildError, StepError};

/// Everything that a call of this crate may refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The optimizer cannot be built as declared.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A step was refused, or failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A schedule asks for what no config declares.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// No plan keeps the budget.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A state file was not written or not accepted.
    #[error(transparent)]
    State(#[from] StateError),
    /// A tuning table was not written or not accepted.
    #[error(transparent)]
    Tuning(#[from] TuningError),
    /// The device refused.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
