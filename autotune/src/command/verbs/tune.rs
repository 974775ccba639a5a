//! `himuon tune`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::spec_arguments::SpecArguments;
use super::super::table::table;
use super::{Device, arguments};
use clap::Args;
use himuon::tuning::{TuningEntry, cache_folder, tune_cpu};
use serde_json::json;
use std::time::Duration;

/// Find the fastest variant of a specification on this machine, and keep it
///
/// Every variant is first compared with the same map in f64, then timed in turns with the others. The winner is
/// written to the tuning table in the cache folder, which the optimizer reads.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    himuon tune --tile 64 --shape 768x3072 --shape 768x768\n  \
    himuon tune --tile 128 --power 1/2 --budget 20 --json")]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Size of a matrix of the launch that is timed; may be repeated
    #[arg(long = "shape", value_name = "ROWSxCOLUMNS", default_value = "768x768", value_parser = arguments::shape)]
    shapes: Vec<(usize, usize)>,
    /// Seconds to spend
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = arguments::seconds)]
    budget: f64,
    /// Where to measure
    #[arg(long, value_enum, default_value = "cpu")]
    device: Device,
    /// Threads; 0: all
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Measure only
    #[arg(long)]
    no_save: bool,
}

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    arguments.device.require_cpu()?;
    let spec = arguments.spec.resolve_for_cpu()?;
    let budget = Duration::from_secs_f64(arguments.budget);
    let threads = (arguments.threads > 0).then_some(arguments.threads);
    let mut bar = console.progress("tuning", budget.as_millis() as u64);
    let tuned = tune_cpu(
        std::slice::from_ref(&spec),
        &arguments.shapes,
        budget,
        threads,
        &mut |progress| bar.stand_at(progress.stage, progress.elapsed.as_millis() as u64),
    );
    let seconds = bar.finish();
    let tuned = tuned.map_err(CommandError::Tuning)?;
    let file = if arguments.no_save {
        None
    } else {
        let folder = cache_folder().map_err(CommandError::Tuning)?;
        Some(tuned.save(&folder).map_err(CommandError::Tuning)?)
    };
    let Some(entry) = tuned.entry(&spec) else {
        return Err(CommandError::Request(format!(
            "{spec} was not tuned; please report it"
        )));
    };
    let kept = match &file {
        Some(file) => format!("kept in {}", file.display()),
        None => "not kept".to_owned(),
    };
    let text = format!(
        "{}\n{spec}: {} is the fastest ({} threads), {kept} ({seconds:.1} s)",
        measurements(entry),
        entry.variant,
        entry.threads,
    );
    Ok(Outcome {
        text,
        json: json!({
            "spec": spec.to_string(),
            "device": tuned.device,
            "entry": entry,
            "file": file,
            "seconds": seconds,
        }),
    })
}

/// The variants, the fastest first.
fn measurements(entry: &TuningEntry) -> String {
    let mut measured: Vec<_> = entry.measurements.iter().collect();
    let time = |seconds: Option<f64>| seconds.unwrap_or(f64::INFINITY);
    measured.sort_by(|a, b| time(a.seconds).total_cmp(&time(b.seconds)));
    let best = measured.first().and_then(|first| first.seconds);
    let rows: Vec<Vec<String>> = measured
        .into_iter()
        .map(|measurement| {
            let (time, ratio) = match (measurement.seconds, best) {
                (Some(seconds), Some(best)) => (
                    format!("{:.3} ms", 1e3 * seconds),
                    format!("{:.2}", seconds / best),
                ),
                _ => (measurement.refused.clone(), String::new()),
            };
            let error = format!("{:.1e}", measurement.error);
            vec![measurement.variant.clone(), time, ratio, error]
        })
        .collect();
    table(&["variant", "time", "ratio", "error against f64"], &rows)
}
