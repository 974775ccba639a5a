//! `himuon batch-size`

use super::super::console::{Console, Outcome};
use super::super::error::CommandError;
use super::super::output::{self, shown};
use super::super::table::table;
use crate::diagnose::{BatchSeries, batch_series, batch_svg};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Find the batch size that needs the fewest samples, from measured runs
///
/// Reads a table whose first line names its columns: batch (samples of a step), steps (to one target loss; empty
/// where it was not reached) and, if there are several kinds of runs, variant. Fits T(b) = A sqrt(b)/(sqrt(b) - B)
/// to each variant; the samples b T(b) are fewest at b* = 9 B^2/4. Advice, since the theory gives a lower bound:
/// the interval says how sure it is. `train_gpt --batch-sweep` writes such a table.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  himuon batch-size runs.csv --svg samples.svg")]
pub(in super::super) struct Arguments {
    /// Table of runs
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Write the curve of samples against batch
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// With fewer runs than this an interval comes with a warning.
const FEWEST_RUNS: usize = 5;

pub(in super::super) fn run(
    arguments: &Arguments,
    console: &Console,
) -> Result<Outcome, CommandError> {
    if let Some(path) = &arguments.svg {
        output::refuse_input(&arguments.input, path)?;
    }
    let series = batch_series(&arguments.input)?;
    for series in &series {
        warn(series, console);
    }
    if series.iter().all(|series| series.fit.is_none()) {
        let reasons: Vec<String> = series
            .iter()
            .map(|series| format!("{}{}", prefix(series), no_fit(series)))
            .collect();
        return Err(CommandError::NoFit(reasons.join("\n")));
    }
    if let Some(path) = &arguments.svg {
        output::write(path, &batch_svg(&series)?)?;
    }
    Ok(Outcome {
        text: text(&series),
        json: json!({
            "input": shown(&arguments.input),
            "svg": arguments.svg.as_deref().map(shown),
            "series": series,
        }),
    })
}

fn prefix(series: &BatchSeries) -> String {
    if series.variant.is_empty() {
        String::new()
    } else {
        format!("{}: ", series.variant)
    }
}

fn no_fit(series: &BatchSeries) -> &str {
    series.no_fit.as_deref().unwrap_or_default()
}

fn warn(series: &BatchSeries, console: &Console) {
    let name = prefix(series);
    if series.unreached > 0 {
        console.warn(&format!(
            "{name}{} runs did not reach the target and are left out",
            series.unreached
        ));
    }
    let Some(fit) = &series.fit else {
        console.warn(&format!("{name}{}", no_fit(series)));
        return;
    };
    if fit.runs < FEWEST_RUNS {
        console.warn(&format!(
            "{name}{} runs say little of how far steps scatter: the interval is a rough one; measure more seeds or batch \
             sizes, {FEWEST_RUNS} runs at least",
            fit.runs
        ));
    }
    if !fit.inside_measured {
        console.warn(&format!(
            "{name}b* lies outside the measured batches: measure some around {:.0}",
            fit.batch
        ));
    }
    if fit.inside_measured && !fit.bracketed {
        console.warn(&format!(
            "{name}of the measured batches the one at the end, {}, needs the fewest samples: that samples rise again \
             beyond it is the curve's word alone; measure there",
            fit.fewest_measured
        ));
    }
    if fit.resamples_with_optimum < 0.95 {
        console.warn(&format!(
            "{name}{:.0} % of the resamplings have no optimum: more seeds or batch sizes are needed",
            100.0 * (1.0 - fit.resamples_with_optimum)
        ));
    }
}

fn text(series: &[BatchSeries]) -> String {
    let rows: Vec<Vec<String>> = series
        .iter()
        .filter_map(|series| {
            let fit = series.fit.as_ref()?;
            let (low, high) = fit.interval;
            Some(vec![
                if series.variant.is_empty() {
                    "runs".to_owned()
                } else {
                    series.variant.clone()
                },
                fit.runs.to_string(),
                format!("{:.1}", fit.batch),
                format!("{low:.1} to {high:.1}"),
                format!("{:.0}", fit.samples(fit.batch)),
                format!("{:.0}", fit.steps(fit.batch)),
                format!("{:.0}", fit.steps_floor),
                format!("{:.3}", fit.explained),
            ])
        })
        .collect();
    let header = [
        "variant",
        "runs",
        "b*",
        "90 % interval",
        "samples",
        "steps",
        "least steps",
        "explained",
    ];
    format!(
        "{}\nb*: the batch that needs the fewest samples to the target. It is advice: the theory gives a lower bound, \
         and another target has another b*.",
        table(&header, &rows)
    )
}
