//! `himuon devices`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use clap::Args;
use himuon::cpu::InstructionSet;
use serde_json::json;

/// Show what this build can compute on
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
    let cuda = "not in this build";
    Ok(Outcome {
        text: format!(
            "cpu   {} threads, instruction set {} (available: {})\ncuda  {cuda}",
            threads,
            best.name(),
            available.join(", ")
        ),
        json: json!({
            "cpu": {
                "threads": threads,
                "instruction_set": best.name(),
                "available_instruction_sets": available,
            },
            "cuda": { "available": false, "why": cuda },
        }),
    })
}
