//! Why an optimizer is not built, or a step not taken.

mod build;
mod step;

pub use build::BuildError;
pub use step::StepError;
