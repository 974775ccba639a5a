//! The time of a CUDA kernel before there is a device: counts of a tile's work, how many blocks a multiprocessor holds,
//! and the slowest of its pipes.
//!
//! 1. [`space`]: every setting of the resident, the streamed and the plain family that fits.
//! 2. [`counts`]: tensor instructions, shared-memory wavefronts and issued instructions of a tile, from the tile's
//!    blocks of 16 x 16. Tensor instructions are exact; the test compares all with the emulator's counters.
//! 3. [`occupancy`]: blocks and warps of a multiprocessor by registers, shared memory and the architecture's limits.
//! 4. [`time`]: seconds of a step on a [`device`], and what bounds them: one launch of the resident or plain family, the
//!    sequence of the streamed one.
//!
//! The model ranks candidates and says how far a launch stays above the time that its memory traffic alone takes. Its
//! numbers are estimates: they are printed as such and never kept as measurements.

pub mod counts;
pub mod device;
pub mod occupancy;
pub mod space;
mod streamed;
pub mod time;

use device::Device;
use himuon_templates::KernelSpec;
use himuon_templates::Variant;
use occupancy::Occupancy;
use time::{Bound, launch};

/// A candidate with what the model says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The candidate.
    pub variant: Variant,
    /// Seconds of one launch.
    pub seconds: f64,
    /// Seconds that reading and writing the tensors once takes.
    pub memory_floor: f64,
    /// What the time is made of.
    pub bound: Bound,
    /// Blocks and warps of a multiprocessor.
    pub occupancy: Occupancy,
    /// Registers of a thread; the model's own estimate unless the kernel was compiled.
    pub registers: u32,
    /// Whether registers, spills and instructions are the compiler's.
    pub compiled: bool,
}

/// What a compiled kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that a thread stores and loads because registers ran out.
    pub spilled_bytes: u32,
    /// Instructions that a warp issues for a whole tile, by the disassembler; `None`: there is none.
    pub issued: Option<u32>,
}

/// Every candidate of a specification for a launch of matrices of these shapes (rows, columns), the fastest first.
/// `machine` says what the compiled kernel takes, where that is known.
pub fn ranked(
    spec: &KernelSpec,
    device: &Device,
    shapes: &[(usize, usize)],
    machine: &dyn Fn(&Variant) -> Option<Machine>,
) -> Vec<Estimate> {
    let mut estimates: Vec<Estimate> = space::variants(spec, device)
        .into_iter()
        .filter_map(|variant| {
            let known = machine(&variant);
            launch(spec, &variant, device, shapes, known)
        })
        .collect();
    estimates.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    estimates
}
