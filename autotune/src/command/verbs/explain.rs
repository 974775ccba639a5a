//! `himuon explain`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::spec_arguments::SpecArguments;
use super::arguments;
use crate::apply::{CopiedTensor, FileShapes, shapes_of};
use crate::workload::{WorkloadError, optimizer_of};
use clap::Args;
use himuon::optimizer::HiMuonBuilder;
use serde_json::json;
use std::path::PathBuf;

/// Show what the optimizer would do with every parameter of a safetensors file, and why
///
/// One line per parameter: shape, group, specification, tiles, bytes of state, reason; then the launches and the
/// bytes of the whole step. Embeddings, heads, norms and biases go to AdamW. Three dimensions are taken for a stack of
/// matrices, where an optimizer wants to be told by the view of their group, four for a convolution. Tensors without a
/// number, or of a type that no optimizer takes, are skipped and listed with the reason.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  himuon explain --in model.safetensors --tile 128 --memory-budget 64"
)]
pub(in super::super) struct Arguments {
    /// File with the parameters
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    spec: SpecArguments,
    /// The parameters that are mapped, `*` standing for any part of a name
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    pattern: String,
    /// Cap of the workspace in MiB
    #[arg(long, value_name = "MIB")]
    memory_budget: Option<u64>,
    /// Threads; 0: all
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = arguments::threads)]
    threads: usize,
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let spec = arguments.spec.resolve()?;
    console.detail(&format!("specification: {spec}"));
    let FileShapes { parameters, others } = shapes_of(&arguments.input)?;
    if parameters.is_empty() {
        let path = arguments.input.clone();
        return Err(WorkloadError::NoParameters { path }.into());
    }
    let limited = |builder: HiMuonBuilder| {
        let builder = match arguments.threads {
            0 => builder,
            threads => builder.threads(threads),
        };
        match arguments.memory_budget {
            Some(mebibytes) => builder.memory_budget(mebibytes.saturating_mul(1 << 20)),
            None => builder,
        }
    };
    let (optimizer, stacks) = optimizer_of(&parameters, &arguments.pattern, &spec, limited)
        .map_err(CommandError::Optimizer)?;
    let mut explanation = optimizer.explain().map_err(CommandError::Optimizer)?;
    explanation.warnings.extend(stacks_text(&stacks));
    let mut json = json!(explanation);
    json["skipped"] = others
        .iter()
        .map(|other| json!({ "name": other.name, "shape": other.shape, "why": other.why }))
        .collect();
    Ok(Outcome {
        text: format!("{explanation}{}", skipped_text(&others)),
        json,
    })
}

/// The skipped tensors, one a line, below the rest.
fn skipped_text(skipped: &[CopiedTensor]) -> String {
    let mut text = String::new();
    if !skipped.is_empty() {
        text.push_str("\nskipped:");
    }
    for CopiedTensor { name, shape, why } in skipped {
        text.push_str(&format!("\n  {name} {shape:?}: {why}"));
    }
    text
}

/// What the library would not have taken without being told.
fn stacks_text(stacks: &[String]) -> Option<String> {
    let first = stacks.first()?;
    Some(format!(
        "taken for stacks of matrices: {} of three dimensions, {first} the first; an optimizer refuses those until the view of \
         their group says stack or convolution",
        stacks.len()
    ))
}
