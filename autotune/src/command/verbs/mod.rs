//! One file per verb.

pub(super) mod apply;
mod arguments;
pub(super) mod bench;
pub(super) mod cache;
pub(super) mod devices;
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
    /// Refuses what this verb does on the CPU alone.
    pub(super) fn require_cpu(self) -> Result<(), CommandError> {
        match self {
            Device::Cpu => Ok(()),
            Device::Cuda => Err(CommandError::Request(
                "this verb works on the CPU alone so far: device cuda is taken by apply; use --device cpu".to_owned(),
            )),
        }
    }
}
