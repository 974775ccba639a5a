//! `himuon tune --arch`: what the model says of a GPU that is not there.

use super::super::super::console::{Console, Outcome};
use super::super::super::error::CommandError;
use super::super::super::table::table;
use super::{Arguments, jobs};
use himuon::KernelSpec;
use himuon::cuda::model::device::{DEVICES, Device};
use himuon::cuda::model::{Estimate, Machine, ranked};
use himuon::templates::Variant;
use himuon::tuning::TuneJob;
use himuon_codegen::compile::{Compiler, Part};
use himuon_codegen::render;
use serde_json::json;
use std::collections::BTreeMap;

/// The kernel whose registers count.
const ENTRY: &str = "himuon_step";

/// The representative card of an architecture.
pub(super) fn device(target: &str) -> Result<Device, CommandError> {
    Device::of(target).ok_or_else(|| {
        CommandError::Request(format!(
            "--arch {target}: accepted are {}",
            DEVICES.map(|device| device.target).join(", ")
        ))
    })
}

pub(super) fn run(
    arguments: &Arguments,
    target: &str,
    console: &Console,
) -> Result<Outcome, CommandError> {
    let device = device(target)?;
    let jobs = jobs::jobs(arguments, console)?;
    let compiler = match arguments.compile {
        0 => None,
        _ => Some(Compiler::locate()?),
    };
    let mut bar = console.progress("estimating", jobs.len() as u64);
    let mut rows = Vec::with_capacity(jobs.len());
    let mut values = Vec::with_capacity(jobs.len());
    for job in &jobs {
        let estimates = estimate(job, &device, compiler.as_ref(), arguments.compile, console)?;
        let (row, value) = line(job, &device, &estimates);
        rows.push(row);
        values.push(value);
        bar.advance(1);
    }
    bar.finish();
    let header = [
        "tile",
        "types",
        "default",
        "us",
        "best",
        "us",
        "floor us",
        "x floor",
        "bound by",
        "warps",
        "registers",
        "candidates",
    ];
    Ok(Outcome {
        text: format!(
            "{}\n{} ({}): estimated by a model, nothing was measured and nothing is kept",
            table(&header, &rows),
            device.target,
            device.name
        ),
        json: json!({
            "measured": false,
            "target": device.target,
            "card": device.name,
            "specifications": values,
        }),
    })
}

/// The candidates of a job, the fastest first; the best ones by the compiler's registers.
fn estimate(
    job: &TuneJob,
    device: &Device,
    compiler: Option<&Compiler>,
    count: usize,
    console: &Console,
) -> Result<Vec<Estimate>, CommandError> {
    let first = ranked(&job.spec, device, &job.shapes, &|_| None);
    if first.is_empty() {
        return Err(CommandError::Request(format!(
            "{}: no kernel family computes it on {}",
            job.spec, device.target
        )));
    }
    let Some(compiler) = compiler else {
        return Ok(first);
    };
    let mut known: BTreeMap<Variant, Machine> = BTreeMap::new();
    let default = Variant::default_for(&job.spec, device.class);
    let best = first.iter().take(count).map(|estimate| estimate.variant);
    for variant in best.chain([default]) {
        if known.contains_key(&variant) {
            continue;
        }
        console.detail(&format!("compiling {variant} of {}", job.spec));
        if let Some(needs) = compiled(&job.spec, &variant, device, compiler)? {
            known.insert(variant, needs);
        }
    }
    let mut all = ranked(&job.spec, device, &job.shapes, &|variant| {
        known.get(variant).copied()
    });
    // What the compiler could have confirmed and has not stands behind the rest.
    let unconfirmed = |estimate: &Estimate| {
        !estimate.compiled && matches!(estimate.variant, Variant::Resident(_))
    };
    all.sort_by(|a, b| {
        unconfirmed(a)
            .cmp(&unconfirmed(b))
            .then(a.seconds.total_cmp(&b.seconds))
    });
    Ok(all)
}

/// What the machine code of a step takes; `None` without an assembler.
fn compiled(
    spec: &KernelSpec,
    variant: &Variant,
    device: &Device,
    compiler: &Compiler,
) -> Result<Option<Machine>, CommandError> {
    let rendered = render(spec, variant, device.class)?;
    let compiled = compiler.compile(&rendered.text, device.target, Part::Step)?;
    let Some((_, resources)) = compiled.cubin else {
        return Ok(None);
    };
    let step = resources.iter().find(|resources| resources.entry == ENTRY);
    let steps = spec.step_table()?.steps() as u32;
    Ok(step.map(|step| Machine {
        registers: step.registers,
        spilled_bytes: step.spill_store_bytes + step.spill_load_bytes,
        issued: step
            .instructions
            .as_ref()
            .map(|counts| counts.issued_whole_tile(steps)),
    }))
}

fn line(
    job: &TuneJob,
    device: &Device,
    estimates: &[Estimate],
) -> (Vec<String>, serde_json::Value) {
    let default = Variant::default_for(&job.spec, device.class);
    let of_default = estimates
        .iter()
        .find(|estimate| estimate.variant == default);
    let best = &estimates[0];
    let microseconds = |seconds: f64| format!("{:.1}", 1e6 * seconds);
    let storage = job.spec.storage;
    let row = vec![
        job.spec.tile.to_string(),
        format!(
            "{}/{}/{}",
            storage.weight, storage.momentum, job.spec.operand
        ),
        default.slug(),
        of_default.map_or_else(|| "-".to_owned(), |estimate| microseconds(estimate.seconds)),
        best.variant.slug(),
        microseconds(best.seconds),
        microseconds(best.memory_floor),
        format!("{:.2}", best.seconds / best.memory_floor),
        best.bound.to_string(),
        best.occupancy.warps.to_string(),
        format!("{}{}", best.registers, if best.compiled { "" } else { "?" }),
        estimates.len().to_string(),
    ];
    let estimate = |estimate: &Estimate| {
        json!({
            "variant": estimate.variant.to_string(),
            "seconds": estimate.seconds,
            "bound": estimate.bound.to_string(),
            "blocks": estimate.occupancy.blocks,
            "warps": estimate.occupancy.warps,
            "limit": estimate.occupancy.limit,
            "registers": estimate.registers,
            "compiled": estimate.compiled,
        })
    };
    let value = json!({
        "spec": job.spec.to_string(),
        "class": job.class().to_string(),
        "default": default.to_string(),
        "memory_floor_seconds": best.memory_floor,
        "candidates": estimates.iter().map(estimate).collect::<Vec<_>>(),
    });
    (row, value)
}
