//! The CUDA driver API on the PTX emulator: a shared library that stands in for `libcuda.so` in tests, so that
//! unmodified programs (cudarc, candle) compile, allocate, copy, launch and capture on a machine without a GPU.
//!
//! How to use it, and the environment variables that it understands, are described in the README of
//! `tests/emulator`. The layers, from the outside in:
//!
//! - `api`: the exported functions, one file per area of `cuda.h`; `abi`: what crosses the C boundary.
//! - `driver`: the process-wide state under one lock; `context`, `module`, `memory`, `stream`, `event`, `capture`,
//!   `graph`: what handles stand for and the rules of each.
//! - `work`: queued work and its dependencies; `perform`: the only place that runs kernels and moves memory.
//!
//! Handles are keys of tables and device pointers are numbers outside the host's address space: a stale, foreign or
//! null one gives an error code and never touches memory.

mod abi;
#[cfg(test)]
mod abi_layout;
mod api;
mod capture;
mod context;
mod driver;
mod error;
mod event;
mod graph;
mod handle;
mod host_memory;
mod injection;
mod launch;
mod memory;
mod module;
mod occupancy;
mod perform;
mod pool;
mod report;
mod settings;
mod stream;
mod work;
