//! One file per verb.

pub(super) mod apply;
mod arguments;
pub(super) mod batch_size;
pub(super) mod bench;
pub(super) mod cache;
pub(super) mod devices;
pub(super) mod diagnose;
pub(super) mod emit;
pub(super) mod explain;
pub(super) mod tune;

use super::error::CommandError;
use clap::ValueEnum;

/// Where the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Device {
    /// This processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

impl Device {
    /// Refuses what this build does not have.
    pub(super) fn require_cpu(self) -> Result<(), CommandError> {
        match self {
            Device::Cpu => Ok(()),
            Device::Cuda => Err(CommandError::Request(
                "device cuda is not in this build, which has the CPU kernels only; use --device cpu".to_owned(),
            )),
        }
    }
}
