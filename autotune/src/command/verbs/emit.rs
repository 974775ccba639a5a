//! `himuon emit`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::spec_arguments::SpecArguments;
use clap::Args;
use himuon::templates::{Architecture, Variant};
use himuon_codegen::render;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Print the CUDA text of a specification
///
/// The text is self-contained, opens with the command that remakes it, and is the same bytes on every run.
/// With --out a folder named by the kernel's identity is made in FOLDER, with kernel.cu in it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon emit --tile 128 --element bf16 --architecture sm_90a\n  \
    himuon emit --tile 64 --power 1/2 --out kernels")]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Architecture class: sm_75, sm_80 or sm_90a
    #[arg(
        long,
        value_name = "CLASS",
        default_value = "sm_80",
        visible_alias = "arch"
    )]
    architecture: Architecture,
    /// Variant [default: the one that is used when nothing has been tuned]
    #[arg(long, value_name = "VARIANT")]
    variant: Option<Variant>,
    /// Folder to write to instead of the standard output
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let spec = arguments.spec.resolve()?;
    let default = || Variant::default_for(&spec, arguments.architecture);
    let variant = arguments.variant.unwrap_or_else(default);
    let kernel = render(&spec, &variant, arguments.architecture)?;
    let id = kernel.id.to_string();
    console.detail(&format!("kernel {id}: {spec} {variant}"));
    let mut json = json!({
        "id": id,
        "spec": spec.to_string(),
        "variant": variant.to_string(),
        "architecture": arguments.architecture.name(),
    });
    let text = match &arguments.out {
        Some(folder) => {
            let file = write(&folder.join(&id), &kernel.text)?;
            json["file"] = json!(file);
            file.display().to_string()
        }
        None => {
            json["text"] = json!(kernel.text);
            kernel.text.trim_end().to_owned()
        }
    };
    Ok(Outcome { text, json })
}

/// Writes `folder/kernel.cu`, making the folder.
fn write(folder: &Path, text: &str) -> Result<PathBuf, CommandError> {
    let file = folder.join("kernel.cu");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, text))
        .map_err(|source| CommandError::file(&file, source))?;
    Ok(file)
}
