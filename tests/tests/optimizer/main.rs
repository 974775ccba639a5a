//! The optimizer: steps against the formulas in f64, schedules, errors that change nothing, plans, state.

mod damage;
mod determinism;
mod device;
mod diagnostics;
mod groups;
mod model;
mod planner;
mod refusals;
mod resume;
mod schedules;
mod tuning;
mod variants;
