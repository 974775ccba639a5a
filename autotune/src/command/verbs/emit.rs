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
use himuon_codegen::pipeline::{
    Emitted, EmittedCompanion, class_of, emit, emit_companion, emit_coupling, is_coupled,
    kernel_of_normalised_rows, kernel_of_tiles, stock_specs,
};
use himuon_codegen::render::{self, Coupling, coupling};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Print or write the CUDA kernel of a specification
///
/// The text is self-contained, opens with the command that remakes it, and is the same bytes on every run. With --out
/// each kernel becomes a folder in FOLDER, named by its identity: kernel.cu and manifest.json (how to launch it), and
/// where NVRTC and ptxas are found kernel.ptx and kernel.cubin. They are looked for at HIMUON_NVRTC_PATH,
/// HIMUON_PTXAS_PATH and HIMUON_NVDISASM_PATH, in CUDA_HOME, CUDA_PATH, /usr/local/cuda and in Python's packages.
///
/// With --coarse the kernel is that of the tiles, with their coarse part where one kernel does both, and the launches that
/// couple the tiles are a text of their own, which --out writes beside it.
///
/// With --complete the folder holds all that a step launches, AdamW's kernel too, and with --row-normalised what groups launch
/// besides whose rows are normalised. A program that is given it needs no NVRTC: `himuon_builder_kernels` in C, `read_bundles`
/// in Rust. One folder is for one architecture.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon emit --tile 128 --element bf16 --arch sm_90a\n  \
    himuon emit --tile 64 --steps 5 --arch sm_80 --out kernels\n  \
    himuon emit --tile 32 --coarse 32 --arch sm_80 --out kernels\n  \
    himuon emit --tile 64 --arch sm_80 --complete --out kernels\n  \
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
    /// Write all that a step launches, to be used where there is no CUDA compiler
    #[arg(long, requires = "out", conflicts_with_all = ["variant", "explain"])]
    complete: bool,
    /// With what a step launches whose rows are normalised (NorMuon)
    #[arg(long, requires = "complete", conflicts_with = "all")]
    row_normalised: bool,
    /// Compile, and print what each kernel takes of the device instead of its text
    #[arg(long)]
    explain: bool,
}

/// The kernels that are asked for.
struct Wanted {
    kernels: Vec<KernelSpec>,
    /// Whose tiles are coupled, or rows normalised, by launches around the kernel.
    coupled: Option<KernelSpec>,
}

/// What was written or compiled.
struct Written<'a> {
    kernels: Vec<(&'a KernelSpec, Emitted)>,
    coupling: Option<EmittedCompanion>,
    /// What is launched whatever the specification.
    companion: Option<EmittedCompanion>,
}

impl Arguments {
    /// Whether the text of a kernel is printed.
    pub(in super::super) fn prints_text(&self) -> bool {
        self.out.is_none() && !self.explain
    }
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let class = class_of(&arguments.arch)?;
    let wanted = wanted(arguments, class)?;
    match &arguments.out {
        Some(folder) => write(arguments, &wanted, folder, console),
        None if arguments.explain => {
            let folder = tempfile::tempdir()
                .map_err(|source| CommandError::file(&std::env::temp_dir(), source))?;
            let compiler = Compiler::locate()?;
            let written = emit_all(arguments, &wanted, Some(&compiler), folder.path(), console)?;
            explained(arguments, &wanted, &written)
        }
        None => print(arguments, &wanted, class, console),
    }
}

fn wanted(arguments: &Arguments, class: Architecture) -> Result<Wanted, CommandError> {
    if !arguments.all {
        if !arguments.spec.is_stated() {
            return Err(CommandError::Request(
                "nothing to emit: state a specification by --tile or --spec, or --all for the stock grid".to_owned(),
            ));
        }
        let spec = arguments.spec.resolve()?;
        let mut kernels = vec![kernel_of_tiles(&spec, class)];
        if arguments.row_normalised {
            let map = kernel_of_normalised_rows(&spec).ok_or_else(|| {
                CommandError::Request(format!(
                    "--row-normalised goes with power 0 and no criterion, found {spec}; rows of others are normalised on the CPU"
                ))
            })?;
            kernels.extend(Some(map).filter(|map| *map != kernels[0]));
        }
        return Ok(Wanted {
            kernels,
            coupled: (arguments.row_normalised || is_coupled(&spec)).then_some(spec),
        });
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
    Ok(Wanted {
        kernels: stock_specs()?,
        coupled: None,
    })
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
    wanted: &Wanted,
    class: Architecture,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let spec = &wanted.kernels[0];
    let default = || Variant::default_for(spec, class);
    let variant = arguments.variant.unwrap_or_else(default);
    let kernel = render::render(spec, &variant, class)?;
    let id = kernel.id.to_string();
    console.detail(&format!("kernel {id}: {spec} {variant}"));
    let mut json = json!({
        "id": id,
        "spec": spec.to_string(),
        "variant": variant.to_string(),
        "architecture": class.name(),
        "text": kernel.text,
    });
    if let Some(coupled) = &wanted.coupled {
        let around = coupling(&Coupling::new(&coupled.storage)?)?;
        console.warn(
            "the launches that couple the tiles are a text of their own: --out FOLDER writes both",
        );
        json["coupling"] = json!({ "id": around.id.to_string(), "text": around.text });
    }
    Ok(Outcome {
        text: kernel.text.trim_end().to_owned(),
        json,
    })
}

/// Bundles in a folder; without a compiler text and manifest alone, with a warning.
fn write(
    arguments: &Arguments,
    wanted: &Wanted,
    folder: &Path,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let compiler = match Compiler::locate() {
        Ok(compiler) => Some(compiler),
        Err(error) if arguments.explain || arguments.complete => return Err(error.into()),
        Err(error) => {
            console.warn(&format!("source only: {error}"));
            None
        }
    };
    let written = emit_all(arguments, wanted, compiler.as_ref(), folder, console)?;
    if arguments.explain {
        return explained(arguments, wanted, &written);
    }
    let kernels = written.kernels.iter().map(|(_, one)| &one.folder);
    let folders = kernels.chain(written.beside().map(|one| &one.folder));
    let files: Vec<String> = folders
        .map(|folder| folder.join("kernel.cu").display().to_string())
        .collect();
    let mut bundles = bundles(&written);
    let json = match bundles.as_mut_slice() {
        [one] if !arguments.all => one.take(),
        _ => json!({ "arch": arguments.arch, "bundles": bundles }),
    };
    Ok(Outcome {
        text: files.join("\n"),
        json,
    })
}

fn emit_all<'a>(
    arguments: &Arguments,
    wanted: &'a Wanted,
    compiler: Option<&Compiler>,
    folder: &Path,
    console: &Console,
) -> Result<Written<'a>, CommandError> {
    let specs = &wanted.kernels;
    let mut progress = console.progress("emit", specs.len() as u64);
    let mut kernels = Vec::with_capacity(specs.len());
    for spec in specs {
        let emitted = emit(spec, arguments.variant, &arguments.arch, compiler, folder)?;
        console.detail(&format!("{}: {spec}", emitted.folder.display()));
        kernels.push((spec, emitted));
        progress.advance(1);
    }
    progress.finish();
    let coupling = match &wanted.coupled {
        Some(spec) => Some(emit_coupling(spec, &arguments.arch, compiler, folder)?),
        None => None,
    };
    let companion = match arguments.complete {
        true => Some(emit_companion(&arguments.arch, compiler, folder)?),
        false => None,
    };
    Ok(Written {
        kernels,
        coupling,
        companion,
    })
}

impl Written<'_> {
    /// All that has no manifest.
    fn beside(&self) -> impl Iterator<Item = &EmittedCompanion> {
        self.coupling.iter().chain(&self.companion)
    }
}

/// Of the kernels, then of what is launched beside them.
fn bundles(written: &Written<'_>) -> Vec<Value> {
    let kernels = written.kernels.iter().map(|(spec, one)| bundle(spec, one));
    let beside = written.beside().map(|one| {
        json!({
            "id": one.id,
            "folder": shown(&one.folder),
            "file": shown(&one.folder.join("kernel.cu")),
            "compiled": one.compiled.is_some(),
            "resources": resources(one),
        })
    });
    kernels.chain(beside).collect()
}

/// What launches without a manifest take; nothing without machine code.
fn resources(beside: &EmittedCompanion) -> &[Resources] {
    let compiled = beside.compiled.as_ref();
    let cubin = compiled.and_then(|compiled| compiled.cubin.as_ref());
    cubin.map_or(&[], |(_, resources)| resources)
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
fn explained(
    arguments: &Arguments,
    wanted: &Wanted,
    written: &Written<'_>,
) -> Result<Outcome, CommandError> {
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
    let kernels = written.kernels.iter();
    let mut rows: Vec<Vec<String>> = kernels.flat_map(|(spec, one)| lines(spec, one)).collect();
    if let (Some(spec), Some(one)) = (&wanted.coupled, &written.coupling) {
        let threads = Coupling::new(&spec.storage)?.threads;
        rows.extend(
            resources(one)
                .iter()
                .map(|found| around(one, found, threads)),
        );
    }
    let text = format!(
        "{}\n\nShared bytes: of a block, dynamic and static. Tensor instructions and issued: of a warp for a whole, \
         aligned tile with all its steps; issued is the longest way through the machine code. {}",
        table(&header, &rows),
        arguments.arch
    );
    Ok(Outcome {
        text,
        json: json!({ "arch": arguments.arch, "bundles": bundles(written) }),
    })
}

/// A launch around the tiles: how long it is depends on matrix and rank.
fn around(coupling: &EmittedCompanion, found: &Resources, threads: u32) -> Vec<String> {
    let mut line = vec![coupling.id.clone(), found.entry.clone()];
    let spilled = found.spill_store_bytes + found.spill_load_bytes;
    let numbers = [
        threads,
        found.registers,
        spilled,
        found.static_shared_bytes,
        found.barriers,
    ];
    line.extend(numbers.map(|number| number.to_string()));
    line.extend(["-".to_owned(), "-".to_owned()]);
    line
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
