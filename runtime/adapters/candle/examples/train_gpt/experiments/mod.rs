//! Small experiments with several seeds: what tiles, criteria, powers and decay do to a training run.
//!
//! Each has a file of its own that names its rows; this one trains what is not trained yet and reports after each row.
//! Finished runs are kept in the output folder, so that an experiment can be stopped and go on.

mod decay;
mod fine_tuning;
mod generalisation;
mod plot;
mod statistics;
mod table;
mod tiles;

use crate::output::{self, say};
use crate::session::Session;
use crate::settings::RunSettings;
use crate::two_levels;
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

/// An experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Experiment {
    /// HiMuon's tiles from 16 to the whole matrix, a periodic schedule, and p = 1/2: loss and time.
    Tiles,
    /// MiMuon against Muon on little text: the gap between training and held-out loss.
    Generalisation,
    /// A checkpoint trained on one text goes on with another at p = 0, 1/3, 1/2 and 1.
    FineTuning,
    /// Weight and gradient norms with and without decay, against the bound.
    Decay,
    /// Tiles coupled by a coarse part, beside tiles alone, Muon and AdamW.
    TwoLevels,
    /// The times of a few steps of the same rows, for a quiet machine.
    TwoLevelsTimes,
}

/// A number that a run ended with, and its name; none where it has no meaning.
type Figure = (String, Option<f64>);

fn figure(name: &str, value: f64) -> Figure {
    (name.to_owned(), value.is_finite().then_some(value))
}

/// What one run of a row gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// In the order of the table's columns.
    pub(crate) figures: Vec<Figure>,
    /// Seconds of the whole run, on whatever else the machine did.
    pub(crate) seconds: f64,
}

/// One way to train.
pub(crate) struct Row {
    /// Names it in table and plot; also the name of its files.
    pub(crate) key: String,
    pub(crate) settings: RunSettings,
}

/// A row and its runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct FinishedRow {
    pub(crate) key: String,
    pub(crate) learning_rate: f64,
    pub(crate) runs: Vec<Outcome>,
}

/// Trains one row with the seed in its settings.
type Train = fn(&mut Session, &RunSettings) -> Result<Vec<Figure>>;

/// Runs an experiment to its end.
pub(crate) fn run(session: &mut Session, experiment: Experiment) -> Result<()> {
    let (rows, train): (Vec<Row>, Train) = match experiment {
        Experiment::Tiles => (tiles::rows(session)?, tiles::train),
        Experiment::Generalisation => (generalisation::rows(session)?, generalisation::train),
        Experiment::FineTuning => (fine_tuning::rows(session)?, fine_tuning::train),
        Experiment::Decay => (decay::rows(session)?, decay::train),
        Experiment::TwoLevels => return two_levels::losses(session),
        Experiment::TwoLevelsTimes => return two_levels::times(session),
    };
    let name = experiment
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned());
    let out = session.args.out.clone();
    std::fs::create_dir_all(out.join("runs"))?;
    let mut finished: Vec<FinishedRow> = rows
        .iter()
        .map(|row| FinishedRow {
            key: row.key.clone(),
            learning_rate: row.settings.learning_rate,
            runs: Vec::new(),
        })
        .collect();
    // Seed by seed: a stopped experiment has whole comparisons.
    for seed in session.args.seed..session.args.seed + session.args.seeds {
        for (row, finished) in rows.iter().zip(&mut finished) {
            let settings = RunSettings {
                seed,
                ..row.settings.clone()
            };
            let outcome = kept_or_trained(session, &out, &row.key, &settings, train)?;
            say!(
                "{}, seed {seed}: {}",
                row.key,
                table::figures_text(&outcome.figures)
            );
            finished.runs.push(outcome);
        }
        report(session, &out, &name, &rows, &finished)?;
    }
    Ok(())
}

/// A run as it is kept: what it was, and what it gave.
#[derive(Serialize, Deserialize)]
struct Kept {
    settings: RunSettings,
    outcome: Outcome,
}

fn kept_or_trained(
    session: &mut Session,
    out: &Path,
    key: &str,
    settings: &RunSettings,
    train: Train,
) -> Result<Outcome> {
    let name: String = key
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let path = out
        .join("runs")
        .join(format!("{name}-seed-{}.json", settings.seed));
    if let Ok(bytes) = std::fs::read(&path) {
        let kept: Kept = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged; remove it", path.display()))?;
        settings
            .check_same(&kept.settings)
            .with_context(|| path.display().to_string())?;
        return Ok(kept.outcome);
    }
    let started = Instant::now();
    let figures = train(session, settings)?;
    let kept = Kept {
        settings: settings.clone(),
        outcome: Outcome {
            seed: settings.seed,
            figures,
            seconds: started.elapsed().as_secs_f64(),
        },
    };
    output::write(&path, serde_json::to_vec_pretty(&kept)?)?;
    Ok(kept.outcome)
}

/// Writes `<name>.md`, `<name>.svg` and `<name>.json`.
fn report(
    session: &Session,
    out: &Path,
    name: &str,
    rows: &[Row],
    finished: &[FinishedRow],
) -> Result<()> {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let head = table::head(name, &session.args, &first.settings);
    let markdown = format!("{head}\n\n{}", table::markdown(finished));
    let data = serde_json::json!({ "experiment": name, "head": head, "rows": finished });
    for (suffix, contents) in [
        ("md", markdown.clone()),
        ("svg", plot::svg(finished)?),
        ("json", serde_json::to_string_pretty(&data)? + "\n"),
    ] {
        output::write(&out.join(format!("{name}.{suffix}")), contents)?;
    }
    say!(
        "\n{markdown}\nwrote {name}.md, {name}.svg and {name}.json to {}",
        out.display()
    );
    Ok(())
}
