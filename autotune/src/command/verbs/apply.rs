//! `himuon apply`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::output::shown;
use super::super::spec_arguments::SpecArguments;
use super::super::table::table;
use super::{Device, arguments};
use crate::apply::{Applied, Place, Request, apply};
use clap::{Args, ValueEnum};
use himuon::coarse::COLD_START_ITERATIONS;
use himuon::cpu::ApplyScale;
use himuon::templates::{Coarse, Element};
use serde_json::json;
use std::path::PathBuf;

/// Map every matrix of a safetensors file, tile by tile
///
/// Writes the map of X = tile / ||tile||_F of every tile of every matrix, in f32: U S^p V^T up to the accuracy
/// of the recurrence. A stack (experts, H, W) is mapped matrix by matrix, a convolution (out, in, h, w) as
/// (out, in h w). Vectors and tensors of other types are copied. A tile with a NaN or an infinity is left as it
/// is, and counted.
///
/// With --coarse RANK the tiles are coupled: a polar factor of that rank by 8 power iterations from seeded columns, and
/// the tiles of what it leaves. A matrix with a NaN or an infinity is mapped by its tiles alone. On the CPU alone.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon apply --in m.safetensors --out o.safetensors --tile 128\n  \
    himuon apply --in m.safetensors --out o.safetensors --tile 32 --coarse 32 --fine fused\n  \
    himuon apply --in m.safetensors --out o.safetensors --tile full --power 1/2 --scale rms --json")]
pub(in super::super) struct Arguments {
    /// File to read
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// File to write, another one than the file to read
    #[arg(long = "out", value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    spec: SpecArguments,
    /// Scale of the mapped tiles
    #[arg(long, value_enum, default_value = "none")]
    scale: Scale,
    /// Where to compute: cpu, cuda or cuda:N (see himuon devices)
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Device,
    /// Threads; 0: all
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = arguments::threads)]
    threads: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scale {
    /// The bare map
    None,
    /// 0.2 sqrt(max(h, w)) for an h x w tile
    Tile,
    /// Each tile times ||tile||_F^p, then the RMS of the whole matrix set to 0.2
    Rms,
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let (spec, place, device) = match arguments.device {
        Device::Cpu => {
            let threads = arguments.threads;
            (
                arguments.spec.resolve_for_cpu()?,
                Place::Cpu { threads },
                "cpu",
            )
        }
        Device::Cuda(_) if arguments.spec.has_coarse() => {
            return Err(CommandError::Request(
                "apply maps coupled tiles on the CPU alone: leave --device out, or --coarse and --fine to map the tiles alone on \
                 the device; a step of the optimizer couples them on a device too"
                    .to_owned(),
            ));
        }
        Device::Cuda(_) if arguments.threads > 0 => {
            return Err(CommandError::Request(
                "--threads is of the CPU: leave it out with --device cuda".to_owned(),
            ));
        }
        Device::Cuda(ordinal) => (arguments.spec.resolve()?, Place::Cuda { ordinal }, "cuda"),
    };
    console.detail(&format!("specification: {spec}"));
    let request = Request {
        input: &arguments.input,
        output: &arguments.output,
        spec: &spec,
        element: arguments.spec.element(),
        scale: match arguments.scale {
            Scale::None => ApplyScale::None,
            Scale::Tile => ApplyScale::Tile,
            Scale::Rms => ApplyScale::Rms,
        },
        place,
    };
    let mut progress = None;
    let applied = apply(&request, |done, total| {
        progress
            .get_or_insert_with(|| console.progress("mapping", total))
            .advance(done);
    })?;
    if let Some(progress) = progress {
        progress.finish();
    }
    warn(&applied, arguments.spec.element(), console);
    Ok(Outcome {
        text: text(arguments, &applied),
        json: json!({
            "input": shown(&arguments.input),
            "output": shown(&arguments.output),
            "spec": spec.to_string(),
            "power_iterations": if spec.coarse == Coarse::Off { 0 } else { COLD_START_ITERATIONS },
            "scale": format!("{:?}", arguments.scale).to_lowercase(),
            "device": device,
            "worker": applied.worker,
            "instruction_set": himuon::cpu::InstructionSet::best().name(),
            "threads": applied.threads,
            "seconds": applied.seconds,
            "matrices": applied.matrices.iter().map(|matrix| json!({
                "name": matrix.name,
                "shape": matrix.shape,
                "rows": matrix.rows,
                "columns": matrix.columns,
                "count": matrix.count,
                "tiles": matrix.tiles,
                "non_finite_tiles": matrix.non_finite_tiles,
            })).collect::<Vec<_>>(),
            "copied": applied.copied.iter().map(|copied| json!({
                "name": copied.name,
                "shape": copied.shape,
                "why": copied.why,
            })).collect::<Vec<_>>(),
        }),
    })
}

fn warn(applied: &Applied, element: Option<Element>, console: &Console) {
    for copied in &applied.copied {
        console.warn(&format!(
            "{} {:?} copied: {}",
            copied.name, copied.shape, copied.why
        ));
    }
    let read_as = element.map_or(String::new(), |element| format!(" as {element}"));
    for matrix in applied
        .matrices
        .iter()
        .filter(|matrix| matrix.non_finite_tiles > 0)
    {
        console.warn(&format!(
            "{}: {} of {} tiles hold a NaN or an infinity{read_as} and are left as they are",
            matrix.name, matrix.non_finite_tiles, matrix.tiles
        ));
    }
}

fn text(arguments: &Arguments, applied: &Applied) -> String {
    let rows: Vec<Vec<String>> = applied
        .matrices
        .iter()
        .map(|matrix| {
            vec![
                matrix.name.clone(),
                format!("{:?}", matrix.shape),
                matrix.tiles.to_string(),
                matrix.non_finite_tiles.to_string(),
            ]
        })
        .collect();
    let summary = format!(
        "{} tensors mapped, {} copied, {:.3} s on {}, written to {}",
        applied.matrices.len(),
        applied.copied.len(),
        applied.seconds,
        applied.worker,
        arguments.output.display()
    );
    if rows.is_empty() {
        summary
    } else {
        let header = ["tensor", "shape", "tiles", "non-finite"];
        format!("{}\n{summary}", table(&header, &rows))
    }
}
