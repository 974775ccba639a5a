//! `himuon devices`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use clap::Args;
use himuon::cpu::InstructionSet;
use himuon::cuda::{self, CudaError, DeviceInfo};
use serde_json::json;

/// Show what this machine can compute on
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  himuon devices --json")]
pub(in super::super) struct Arguments {}

pub(in super::super) fn run(_: &Arguments, _: &Console) -> Result<Outcome, CommandError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let best = InstructionSet::best();
    let available: Vec<&str> = InstructionSet::ALL
        .into_iter()
        .filter(|set| set.is_available())
        .map(InstructionSet::name)
        .collect();
    let cuda = cuda::devices();
    Ok(Outcome {
        text: format!(
            "cpu   {} threads, instruction set {} (available: {})\n{}",
            threads,
            best.name(),
            available.join(", "),
            cuda_text(&cuda)
        ),
        json: json!({
            "cpu": {
                "threads": threads,
                "instruction_set": best.name(),
                "available_instruction_sets": available,
            },
            "cuda": cuda_json(&cuda),
        }),
    })
}

fn cuda_text(found: &Result<Vec<DeviceInfo>, CudaError>) -> String {
    let devices = match found {
        Ok(devices) => devices,
        Err(error) => return format!("cuda  none: {error}"),
    };
    let line = |device: &DeviceInfo| {
        format!(
            "cuda  {}: {}, {}, {} multiprocessors, {} MiB, driver {}",
            device.ordinal,
            device.name,
            device.target(),
            device.multiprocessors,
            device.memory_bytes >> 20,
            device.driver_version()
        )
    };
    devices.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cuda_json(found: &Result<Vec<DeviceInfo>, CudaError>) -> serde_json::Value {
    match found {
        Ok(devices) => json!({
            "available": true,
            "devices": devices.iter().map(|device| json!({
                "ordinal": device.ordinal,
                "name": device.name,
                "target": device.target(),
                "multiprocessors": device.multiprocessors,
                "memory_bytes": device.memory_bytes,
                "shared_bytes_of_block": device.shared_bytes,
                "driver": device.driver_version(),
            })).collect::<Vec<_>>(),
        }),
        Err(error) => json!({ "available": false, "why": error.to_string() }),
    }
}
