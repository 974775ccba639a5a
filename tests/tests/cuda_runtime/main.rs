//! The CUDA runtime on the emulated driver, and part of it on a GPU where there is one.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, unsafe_code)] // Helpers fail their test.

mod compiling;
mod coupled;
mod coupling_figures;
mod discovery;
mod emulator;
mod faults;
mod foreign_errors;
mod gpu;
mod graph_states;
mod graphs;
mod master_weights;
mod model;
mod one_pass;
mod policies;
mod properties;
mod refusals;
mod row_normalisation;
mod shared_factors;
mod shipped;
mod state;
mod steps;
mod streamed;
mod tuning;
