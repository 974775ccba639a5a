//! `himuon emit`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::output::shown;
use super::super::spec_arguments::SpecArguments;
use super::super::table::table;
use clap::Args;
use himuon::KernelSpec;
use himuon::templates::{Architecture, Variant};
use himuon_codegen::compile::{Compiler, Resources};
use himuon_codegen::pipeline::{Emitted, class_of, emit, stock_specs};
use himuon_codegen::render;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Print or write the CUDA kernel of a specification
///
/// The text is self-contained, opens with the command that remakes it, and is the same bytes on every run. With --out
/// each kernel becomes a folder in FOLDER, named by its identity: kernel.cu and manifest.json (how to launch it), and
/// where NVRTC and ptxas are found kernel.ptx and kernel.cubin. They are looked for at HIMUON_NVRTC_PATH,
/// HIMUON_PTXAS_PATH and HIMUON_NVDISASM_PATH, in CUDA_HOME, CUDA_PATH, /usr/local/cuda and in Python's packages.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon emit --tile 128 --element bf16 --arch sm_90a\n  \
    himuon emit --tile 64 --steps 5 --arch sm_80 --out kernels\n  \
    himuon emit --all --arch sm_86 --out kernels\n  \
    himuon emit --tile 64 --element bf16 --explain")]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// The stock grid instead of one specification: tiles of 16, 32, 48, 64, 96 and 128 in bf16, f16 and f32
    #[arg(long)]
    all: bool,
    /// Compute capability
    #[arg(
        long,
        value_name = "ARCH",
        default_value = "sm_80",
        visible_alias = "architecture",
        value_parser = target
    )]
    arch: String,
    /// Variant [default: the one that is used when nothing has been tuned]
    #[arg(long, value_name = "VARIANT", conflicts_with = "all")]
    variant: Option<Variant>,
    /// Folder to write bundles to instead of the standard output
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Compile, and print what each kernel takes of the device instead of its text
    #[arg(long)]
    explain: bool,
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let class = class_of(&arguments.arch)?;
    let specs = specifications(arguments)?;
    match &arguments.out {
        Some(folder) => write(arguments, &specs, folder, console),
        None if arguments.explain => {
            let folder = tempfile::tempdir()
                .map_err(|source| CommandError::file(&std::env::temp_dir(), source))?;
            let emitted = emit_all(
                arguments,
                &specs,
                Some(&Compiler::locate()?),
                folder.path(),
                console,
            )?;
            Ok(explained(arguments, &emitted))
        }
        None => print(arguments, &specs[0], class, console),
    }
}

fn specifications(arguments: &Arguments) -> Result<Vec<KernelSpec>, CommandError> {
    if !arguments.all {
        if arguments.spec.has_coarse() {
            return Err(CommandError::Request(
                "emit writes kernels of tiles alone: leave --coarse and --fine out; those of coupled tiles, and what couples \
                 them, are written by himuon_codegen::build"
                    .to_owned(),
            ));
        }
        return Ok(vec![arguments.spec.resolve()?]);
    }
    if arguments.spec.is_stated() {
        return Err(CommandError::Request(
            "--all is the stock grid: leave out --tile and all else of a specification".to_owned(),
        ));
    }
    if arguments.out.is_none() && !arguments.explain {
        return Err(CommandError::Request(
            "--all needs --out FOLDER or --explain".to_owned(),
        ));
    }
    Ok(stock_specs()?)
}

/// A compute capability, as sm_86 or 86.
fn target(text: &str) -> Result<String, String> {
    let name = format!("sm_{}", text.trim_start_matches("sm_"));
    class_of(&name)
        .map(|_| name)
        .map_err(|error| error.to_string())
}

/// The text on the standard output.
fn print(
    arguments: &Arguments,
    spec: &KernelSpec,
    class: Architecture,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let default = || Variant::default_for(spec, class);
    let variant = arguments.variant.unwrap_or_else(default);
    let kernel = render(spec, &variant, class)?;
    let id = kernel.id.to_string();
    console.detail(&format!("kernel {id}: {spec} {variant}"));
    Ok(Outcome {
        text: kernel.text.trim_end().to_owned(),
        json: json!({
            "id": id,
            "spec": spec.to_string(),
            "variant": variant.to_string(),
            "architecture": class.name(),
            "text": kernel.text,
        }),
    })
}

/// Bundles in a folder; without a compiler text and manifest alone, with a warning.
fn write(
    arguments: &Arguments,
    specs: &[KernelSpec],
    folder: &Path,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let compiler = match Compiler::locate() {
        Ok(compiler) => Some(compiler),
        Err(error) if arguments.explain => return Err(error.into()),
        Err(error) => {
            console.warn(&format!("source only: {error}"));
            None
        }
    };
    let emitted = emit_all(arguments, specs, compiler.as_ref(), folder, console)?;
    if arguments.explain {
        return Ok(explained(arguments, &emitted));
    }
    let bundles: Vec<Value> = emitted
        .iter()
        .map(|(spec, one)| bundle(spec, one))
        .collect();
    let files: Vec<String> = emitted
        .iter()
        .map(|(_, one)| one.folder.join("kernel.cu").display().to_string())
        .collect();
    let json = match bundles.as_slice() {
        [one] if !arguments.all => one.clone(),
        many => json!({ "arch": arguments.arch, "bundles": many }),
    };
    Ok(Outcome {
        text: files.join("\n"),
        json,
    })
}

fn emit_all<'a>(
    arguments: &Arguments,
    specs: &'a [KernelSpec],
    compiler: Option<&Compiler>,
    folder: &Path,
    console: &Console,
) -> Result<Vec<(&'a KernelSpec, Emitted)>, CommandError> {
    let mut progress = console.progress("emit", specs.len() as u64);
    let mut bundles = Vec::with_capacity(specs.len());
    for spec in specs {
        let emitted = emit(spec, arguments.variant, &arguments.arch, compiler, folder)?;
        console.detail(&format!("{}: {spec}", emitted.folder.display()));
        bundles.push((spec, emitted));
        progress.advance(1);
    }
    progress.finish();
    Ok(bundles)
}

fn bundle(spec: &KernelSpec, emitted: &Emitted) -> Value {
    json!({
        "id": emitted.manifest.id,
        "spec": spec.to_string(),
        "variant": emitted.variant.to_string(),
        "folder": shown(&emitted.folder),
        "file": shown(&emitted.folder.join("kernel.cu")),
        "compiled": emitted.compiled.is_some(),
        "resources": emitted.manifest.resources,
    })
}

/// One line per entry point: what it takes of the device.
fn explained(arguments: &Arguments, emitted: &[(&KernelSpec, Emitted)]) -> Outcome {
    let header = [
        "kernel",
        "entry",
        "threads",
        "registers",
        "spilled bytes",
        "shared bytes",
        "barriers",
        "tensor instructions",
        "issued a warp",
    ];
    let rows: Vec<Vec<String>> = emitted
        .iter()
        .flat_map(|(spec, one)| lines(spec, one))
        .collect();
    let bundles: Vec<Value> = emitted
        .iter()
        .map(|(spec, one)| bundle(spec, one))
        .collect();
    let text = format!(
        "{}\n\nShared bytes: of a block, dynamic and static. Tensor instructions and issued: of a warp for a whole, \
         aligned tile with all its steps; issued is the longest way through the machine code. {}",
        table(&header, &rows),
        arguments.arch
    );
    Outcome {
        text,
        json: json!({ "arch": arguments.arch, "bundles": bundles }),
    }
}

fn lines(spec: &KernelSpec, emitted: &Emitted) -> Vec<Vec<String>> {
    let manifest = &emitted.manifest;
    let line = |found: &Resources| {
        let entry = manifest
            .entries
            .iter()
            .find(|entry| entry.name == found.entry);
        let dynamic = entry.map_or(0, |entry| entry.dynamic_shared_bytes);
        let counts = found.instructions.as_ref();
        let or_unknown = |count: Option<u32>| count.map_or("?".to_owned(), |n| n.to_string());
        vec![
            manifest.id.clone(),
            found.entry.clone(),
            entry.map_or(0, |entry| entry.block).to_string(),
            found.registers.to_string(),
            (found.spill_store_bytes + found.spill_load_bytes).to_string(),
            (dynamic + found.static_shared_bytes).to_string(),
            found.barriers.to_string(),
            or_unknown(counts.map(|counts| counts.of_kind("tensor", spec.steps))),
            or_unknown(counts.map(|counts| counts.issued_whole_tile(spec.steps))),
        ]
    };
    manifest.resources.iter().map(line).collect()
}
