//! The coarse part around mapped tiles, and row normalisation: launches of their own before and after the map of what the
//! coarse part leaves.
//!
//! From the outside in: `chunk` binds matrices and submits their step, `layout` says where everything of them lies in the
//! workspace and how many blocks work on it, `entry` how the table that kernels read is written, `kernels` loads them.
//!
//! Where nothing stands between the map of a tile and its coarse part, and the tile is resident, one kernel subtracts, maps and adds
//! ([`KernelSpec::coupled_step`]). Else the tiles are mapped by the kernels of tiles alone, from f32 to f32 in place
//! ([`KernelSpec::remainder_map`]), of whatever family. So gradient and momentum are read four times and the remainder is written
//! and read twice; every tile size, operand and recurrence is there without a kernel of its own.

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
use crate::cuda::device::DeviceInfo;
use crate::cuda::kernel::variant_of;

/// How the tiles of a launch are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// The whole step by the kernels of its family.
    #[default]
    Alone,
    /// The whole step, coarse part included, by a kernel of tiles that the launches here prepare.
    OnePass,
    /// The map by the kernels of its family, everything else by the launches here.
    Within,
}

impl Form {
    /// With the named variant, or the default one.
    pub(super) fn of(
        device: &DeviceInfo,
        spec: &KernelSpec,
        variant: Option<&str>,
        row_normalised: bool,
    ) -> Form {
        if row_normalised {
            return Form::Within;
        }
        let in_one_pass = || variant_of(device, &spec.coupled_step(), variant).is_ok();
        match spec.coarse {
            Coarse::Off => Form::Alone,
            Coarse::Polar { .. } if spec.couples_in_one_pass() && in_one_pass() => Form::OnePass,
            Coarse::Polar { .. } => Form::Within,
        }
    }

    /// The specification whose kernels are loaded.
    pub(super) fn tiles(self, spec: &KernelSpec) -> KernelSpec {
        match self {
            Form::Alone => spec.clone(),
            Form::OnePass => spec.coupled_step(),
            Form::Within => spec.remainder_map(),
        }
    }

    /// Which of its kernels.
    pub(super) fn purpose(self) -> &'static str {
        match self {
            Form::Alone | Form::OnePass => "step",
            Form::Within => "map",
        }
    }

    /// Refuses what the launches here do not compute.
    pub(super) fn check(self, spec: &KernelSpec) -> Result<(), BackendError> {
        if self != Form::Within {
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
