//! One file per verb.

pub(super) mod apply;
mod arguments;
pub(super) mod batch_size;
pub(super) mod bench;
pub(super) mod cache;
pub(super) mod completions;
pub(super) mod devices;
pub(super) mod diagnose;
pub(super) mod emit;
pub(super) mod explain;
pub(super) mod man;
pub(super) mod report;
pub(super) mod tune;

use super::error::CommandError;
use std::str::FromStr;

/// Where the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Device {
    /// This processor.
    Cpu,
    /// An NVIDIA GPU, by its number.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.split_once(':') {
            None if text == "cpu" => return Ok(Device::Cpu),
            None if text == "cuda" => Some(0),
            Some(("cuda", number)) => number.parse().ok(),
            _ => None,
        };
        number
            .map(Device::Cuda)
            .ok_or_else(|| "accepted are cpu, cuda and cuda:N".to_owned())
    }
}

impl Device {
    /// Refuses what this verb does on the CPU alone.
    pub(super) fn require_cpu(self) -> Result<(), CommandError> {
        match self {
            Device::Cpu => Ok(()),
            Device::Cuda(_) => Err(CommandError::Request(
                "this verb measures the CPU: device cuda is taken by apply and tune; use --device cpu".to_owned(),
            )),
        }
    }
}
