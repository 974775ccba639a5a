//! Two levels: a coarse polar factor of low rank couples the tiles.
//!
//! From the outside in: `launch` is a launch of coupled matrices, `step` sorts the matrices of a launch, `capture` runs the coarse computation of all of them phase
//! by phase, `matrix` is one matrix's part of it, `skinny` the two products with M, `orthonormal` and `small` the r x r
//! work, `couple` what a tile does on load and on store, and `whole_fine` the fine part that must be complete first.

mod buffers;
mod capture;
mod couple;
mod launch;
mod matrix;
mod orthonormal;
mod skinny;
mod small;
mod step;
mod whole_fine;

pub(super) use couple::{Coupling, Place};
pub(super) use launch::{apply, couple_all, run, step_whole};
pub(super) use small::SmallMap;
pub(super) use step::{Coupled, needs};
