//! The coarse part around mapped tiles, and row normalisation: launches of their own before and after the map of what the
//! coarse part leaves.
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

use himuon_templates::{Coarse, Criterion, KernelSpec, Power};

pub(super) use chunk::{CoupledChunk, workspace_of_tiles};
pub(super) use entry::COUPLED_BYTES;
pub(super) use kernels::CouplingKernels;
pub(super) use layout::Layout;

use crate::backend::BackendError;
use crate::launch::MatrixDemand;
use crate::plan::{Chunk, Launch};

/// How the tiles of a launch are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// The whole step by the kernels of its family.
    Alone,
    /// The map by those, everything else by the launches here.
    Within,
}

impl Form {
    pub(super) fn of(spec: &KernelSpec, row_normalised: bool) -> Form {
        if row_normalised || spec.coarse != Coarse::Off {
            Form::Within
        } else {
            Form::Alone
        }
    }

    /// Of matrices that run together.
    pub(super) fn of_demands(spec: &KernelSpec, demands: &[MatrixDemand]) -> Form {
        Form::of(spec, demands.iter().any(|demand| demand.row_normalised))
    }

    /// Of a chunk of a plan.
    pub(super) fn of_chunk(launch: &Launch, chunk: &Chunk) -> Form {
        let mut matrices = launch.matrices_of(chunk).iter();
        Form::of(&launch.spec, matrices.any(|matrix| matrix.row_normalised))
    }

    /// The specification whose kernels are loaded.
    pub(super) fn tiles(self, spec: &KernelSpec) -> KernelSpec {
        match self {
            Form::Alone => spec.clone(),
            Form::Within => spec.remainder_map(),
        }
    }

    /// Which of its kernels.
    pub(super) fn purpose(self) -> &'static str {
        match self {
            Form::Alone => "step",
            Form::Within => "map",
        }
    }

    /// Refuses what the launches here do not compute.
    pub(super) fn check(self, spec: &KernelSpec) -> Result<(), BackendError> {
        if self == Form::Alone {
            return Ok(());
        }
        let what = match spec.coarse {
            Coarse::Off => "row normalisation",
            Coarse::Polar { .. } => "a coarse part",
        };
        let reason = if spec.power != Power::ZERO {
            format!(
                "{what} at power {}, accepted is 0; other powers with {what} run on the CPU",
                spec.power
            )
        } else if spec.criterion != Criterion::Always {
            format!("{what} with a criterion, accepted is none; both together run on the CPU")
        } else {
            return Ok(());
        };
        Err(BackendError::Unsupported {
            backend: "cuda",
            spec: spec.to_string(),
            reason,
        })
    }
}
