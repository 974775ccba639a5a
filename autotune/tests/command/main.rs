//! The command as its users meet it: every test runs the program.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test without its files fails"
)]

mod apply;
mod batch_size;
mod cache;
mod common;
mod conventions;
mod cuda;
mod diagnose;
mod emit;
mod numpy;
mod outputs;
mod refusals;
#[cfg(unix)]
mod tune_processes;
mod tune_sources;
mod tuning;
