//! The coarse part around mapped tiles: launches of its own before and after the map of what it leaves.
//!
//! From the outside in: `chunk` binds matrices and submits their step, `layout` says where everything of them lies in the
//! workspace and how many blocks work on it, `entry` how the table that kernels read is written, `kernels` loads them.
//!
//! The tiles themselves are mapped by the kernels of tiles alone, from f32 to f32 in place ([`KernelSpec::remainder_map`]), of whatever
//! family. So gradient and momentum are read four times and the remainder is written and read twice, where a tile kernel
//! reads each once; every tile size, operand and recurrence is there without a kernel of its own.

mod chunk;
mod entry;
mod kernels;
mod layout;

use himuon_templates::{Coarse, KernelSpec, Power};

pub(super) use chunk::{CoupledChunk, workspace_of_tiles};
pub(super) use entry::COUPLED_BYTES;
pub(super) use kernels::CouplingKernels;
pub(super) use layout::Layout;

use crate::backend::BackendError;

/// Whether tiles of a specification are coupled.
pub(super) fn couples(spec: &KernelSpec) -> bool {
    spec.coarse != Coarse::Off
}

/// Refuses what the launches here do not compute.
pub(super) fn check(spec: &KernelSpec) -> Result<(), BackendError> {
    if couples(spec) && spec.power != Power::ZERO {
        return Err(BackendError::Unsupported {
            backend: "cuda",
            spec: spec.to_string(),
            reason: format!(
                "a coarse part at power {}, accepted is 0; other powers with a coarse part run on the CPU",
                spec.power
            ),
        });
    }
    Ok(())
}
