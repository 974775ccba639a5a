//! The optimizer: steps against the formulas in f64, schedules, errors that change nothing, plans, state.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers fail their test.

mod coarse;
mod damage;
mod determinism;
mod device;
mod diagnostics;
mod groups;
mod master_weights;
mod model;
mod planner;
mod probe;
mod refusals;
mod resume;
mod schedules;
mod variants;
