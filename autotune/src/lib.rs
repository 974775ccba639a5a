//! The autotuner of HiMuon kernels, and the `himuon` command.
//!
//! * [`command`] reads arguments, calls what does the work and prints what came of it.
//! * [`apply`] maps every matrix of a safetensors file.
//! * [`diagnose`] measures what tiling does to them.

pub mod apply;
pub mod command;
pub mod diagnose;
