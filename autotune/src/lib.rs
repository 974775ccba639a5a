//! The autotuner of HiMuon kernels, and the `himuon` command.
//!
//! * [`command`] reads arguments, calls what does the work and prints what came of it.
//! * [`advise`] compares tiles on a momentum file.
//! * [`report`] draws what tuning has found.
//! * [`workload`] finds what is to be tuned: a crate's attributes, a model's matrices.
//! * [`apply`] maps every matrix of a safetensors file.
//! * [`diagnose`] measures what tiling does to them.

pub mod advise;
pub mod apply;
pub mod command;
pub mod diagnose;
pub mod report;
pub mod workload;
