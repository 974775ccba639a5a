//! The suite: each function runs one part of it on any backend and reports what it found.

pub mod criteria;
pub mod invariances;
pub mod maps;
pub mod scaling;
pub mod step_case;
mod step_judge;
pub mod steps;
