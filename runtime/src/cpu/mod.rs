//! The CPU kernels: the whole optimizer step of every tile of a launch, fused, on all threads.
//!
//! * [`CpuKernel`] is a specification resolved for this processor; [`CpuKernel::step`] runs an optimizer
//!   step, [`CpuKernel::map`] the bare map of a matrix.
//! * [`Pool`] holds the threads, [`Workspace`] the scratch memory.
//! * [`adamw_step`] is the fused step of the parameters that are no matrices.
//!
//! From the outside in: `kernel` checks and resolves, `dispatch` hands ranges of tiles to threads, `tile`
//! takes a few tiles from load to store, `recurrence` is the mathematics in the operations of `engine`, which `tiles` runs
//! in panels and `interleaved` with a small tile in each lane, `product` the matrix products in panels, `simd` the vectors
//! of sixteen numbers, `layout` how a tile lies in
//! scratch. What needs a whole matrix before its weights change (p > 0, row normalisation) is in `whole_matrix`,
//! the coarse part that couples tiles in `coarse`.
//!
//! **The same bits.** Instruction set, number of threads and variant never change the result: every element of a
//! product is one ascending chain of fused multiply-adds, and every sum has a fixed number of lanes and a fixed
//! order.
#![allow(unsafe_code)]
#![allow(
    clippy::needless_range_loop,
    reason = "an index names a row or a panel, in more places than the array that is looped over"
)]

mod adamw;
mod ahead;
mod caches;
mod coarse;
mod coupled_scalars;
mod criterion;
mod decide;
mod dispatch;
mod elementwise;
mod engine;
mod environment;
mod error;
mod finite;
mod interleaved;
mod job;
mod kernel;
mod launch;
mod layout;
mod load;
mod measure;
mod pool;
mod product;
mod recurrence;
mod scalars;
mod simd;
mod storage;
mod store;
mod team;
mod tile;
mod tiles;
mod validate;
mod variant;
mod weights;
mod whole_matrix;
mod workspace;

#[cfg(test)]
mod tests;

pub use adamw::adamw_step;
pub(crate) use ahead::MOST_AHEAD;
pub(crate) use caches::first_level_bytes;
pub use environment::with_default_floats;
pub use error::CpuError;
pub use finite::all_finite;
pub use kernel::{ApplyScale, CpuKernel};
pub use measure::{MapSpeed, measure_kernels, measure_maps, measure_peak};
pub(crate) use measure::{measure_latency, measure_loads};
pub(crate) use pool::MOST_THREADS;
pub use pool::Pool;
pub use product::Blocking;
pub(crate) use product::pass_length;
pub use simd::InstructionSet;
pub use variant::CpuVariant;
pub(crate) use variant::tiles_at_a_time;
pub use workspace::Workspace;
