//! The exported functions, by area of `cuda.h`, under their C names. Each only unwraps its arguments and calls the
//! layer below; the types of [`crate::abi`] carry the promises that C callers make about pointers.
// An exported symbol is an unsafe attribute: a second one of the same name would be undefined behaviour. These names
// are CUDA's own, and no other crate that links here defines them.
#![allow(unsafe_code, non_snake_case)]

mod context;
mod device;
mod error;
mod event;
mod function;
mod graph;
mod graph_node;
mod host_memory;
mod inspect;
mod launch;
mod memory;
mod module;
mod occupancy;
mod pool;
mod proc_address;
mod stream;
mod transfer;
