//! The table, the plot and the data of the experiment.

use super::Times;
use super::plot;
use super::rows::{Family, Row};
use crate::output;
use crate::record::{RunRecord, mean_and_deviation};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// What is finished so far.
pub(super) struct Finished {
    /// The options of the command line that are no settings of a run.
    choices: String,
    pub(super) times: BTreeMap<String, Times>,
    /// For each family its row and (learning rate, validation loss) of each trial.
    pub(super) rates: Vec<(String, Vec<(f64, f64)>)>,
    pub(super) rows: Vec<FinishedRow>,
}

/// A row with all of its runs.
pub(super) struct FinishedRow {
    pub(super) key: String,
    pub(super) runs: Vec<RunRecord>,
}

/// What the table says of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    key: String,
    learning_rate: f64,
    seeds: usize,
    /// Mean over seeds of the last validation loss, nats a byte.
    validation_loss: f64,
    /// Sample standard deviation over seeds; none of one seed.
    deviation: Option<f64>,
    /// Mean over common seeds of the loss minus Muon's of the same seed.
    above_muon: Option<f64>,
    /// Operations of the optimizer's matrix products, and its time, as parts of Muon's.
    operations: Option<f64>,
    time: Option<f64>,
    /// Seconds in the optimizer, a step.
    optimizer_seconds: Option<f64>,
    /// Mean over seeds of the share of the nuclear norm that the coarse parts held at the end, at least.
    captured_share: Option<f64>,
    state_bytes: u64,
    workspace_bytes: u64,
    /// Validation losses by seed.
    losses: Vec<f64>,
}

#[derive(Serialize)]
struct Data<'a> {
    command: String,
    model: String,
    steps: u64,
    text: &'a str,
    learning_rates: &'a [(String, Vec<(f64, f64)>)],
    times: &'a BTreeMap<String, Times>,
    rows: &'a [Line],
    /// Validation curves, (step, loss), by row and seed.
    curves: BTreeMap<String, Vec<(u64, f64)>>,
}

impl Finished {
    pub(super) fn new(choices: String, times: BTreeMap<String, Times>) -> Self {
        Finished {
            choices,
            times,
            rates: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: &Row, record: RunRecord) {
        let key = row.key();
        match self.rows.iter_mut().find(|known| known.key == key) {
            Some(known) => known.runs.push(record),
            None => self.rows.push(FinishedRow {
                key,
                runs: vec![record],
            }),
        }
    }

    fn muon(&self) -> Option<&FinishedRow> {
        let muon = Row::of_family(Family::Muon).key();
        self.rows.iter().find(|row| row.key == muon)
    }

    fn line(&self, row: &FinishedRow) -> Option<Line> {
        let first = row.runs.first()?;
        let losses: Vec<f64> = row.runs.iter().map(RunRecord::validation_loss).collect();
        let (validation_loss, deviation) = mean_and_deviation(&losses);
        let muon = self.muon();
        let above: Vec<f64> = muon
            .map(|muon| row.runs.iter().zip(&muon.runs))
            .into_iter()
            .flatten()
            .map(|(run, muon)| run.validation_loss() - muon.validation_loss())
            .collect();
        let time = |key: &str| self.times.get(key).map(|times| times.optimizer);
        let operations = muon.and_then(|muon| muon.runs.first());
        let shares: Vec<f64> = row
            .runs
            .iter()
            .filter_map(|run| run.captured_share)
            .collect();
        Some(Line {
            key: row.key.clone(),
            learning_rate: first.settings.learning_rate,
            seeds: losses.len(),
            validation_loss,
            deviation: deviation.is_finite().then_some(deviation),
            above_muon: (!above.is_empty()).then(|| mean_and_deviation(&above).0),
            operations: operations.map(|muon| first.operations_per_step / muon.operations_per_step),
            time: time(&row.key)
                .zip(time("muon"))
                .map(|(own, muon)| own / muon),
            optimizer_seconds: time(&row.key),
            captured_share: (!shares.is_empty()).then(|| mean_and_deviation(&shares).0),
            state_bytes: first.state_bytes,
            workspace_bytes: first.workspace_bytes,
            losses,
        })
    }
}

/// Writes `two_levels.md`, `two_levels.svg` and `two_levels.json`.
pub(super) fn write(folder: &Path, finished: &Finished) -> Result<()> {
    let lines: Vec<Line> = finished
        .rows
        .iter()
        .filter_map(|row| finished.line(row))
        .collect();
    let Some(first) = finished.rows.first().and_then(|row| row.runs.first()) else {
        return Ok(());
    };
    let settings = &first.settings;
    let model = format!(
        "{} layers, width {}, {} heads, context {}, batch {}, {:.2} M parameters",
        settings.model.layers,
        settings.model.width,
        settings.model.heads,
        settings.model.context,
        settings.batch,
        first.parameters as f64 / 1e6
    );
    let command = format!(
        "train_gpt --experiment two-levels --steps {} --batch {} --layers {} --width {} --heads {} --context {}{}",
        settings.steps,
        settings.batch,
        settings.model.layers,
        settings.model.width,
        settings.model.heads,
        settings.model.context,
        finished.choices
    );
    let curves = finished.rows.iter().flat_map(|row| {
        row.runs.iter().map(|run| {
            let points = run
                .curve
                .iter()
                .map(|point| (point.step, point.validation_loss));
            (
                format!("{} seed {}", row.key, run.settings.seed),
                points.collect(),
            )
        })
    });
    let data = Data {
        command: command.clone(),
        model: model.clone(),
        steps: settings.steps,
        text: &settings.text,
        learning_rates: &finished.rates,
        times: &finished.times,
        rows: &lines,
        curves: curves.collect(),
    };
    let mut page = format!("{model}; {} steps. `{command}`\n\n", settings.steps);
    page.push_str(&table(&lines));
    if !finished.rates.is_empty() {
        page.push_str("\nLearning rates, chosen with the first seed (validation loss):\n\n");
    }
    for (key, trials) in &finished.rates {
        let trials: Vec<_> = trials
            .iter()
            .map(|(rate, loss)| format!("{rate} ({loss:.3})"))
            .collect();
        let _ = writeln!(page, "- {key}: {}", trials.join(", "));
    }
    for (name, contents) in [
        ("two_levels.md", page),
        ("two_levels.svg", plot::svg(finished)?),
        (
            "two_levels.json",
            serde_json::to_string_pretty(&data)? + "\n",
        ),
    ] {
        output::write(&folder.join(name), contents)?;
    }
    Ok(())
}

fn table(lines: &[Line]) -> String {
    let mut text = String::from(
        "| row | learning rate | seeds | validation loss | above Muon | operations, Muon = 1 | optimizer time, Muon = 1 | nuclear norm held | state |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    for line in lines {
        let spread = line
            .deviation
            .map_or_else(String::new, |d| format!(" ± {d:.3}"));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.3}{spread} | {} | {} | {} | {} | {:.1} MiB |",
            line.key,
            line.learning_rate,
            line.seeds,
            line.validation_loss,
            number(line.above_muon, 3),
            number(line.operations, 3),
            number(line.time, 3),
            number(line.captured_share, 2),
            line.state_bytes as f64 / (1 << 20) as f64,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::invented_records;
    use crate::settings::OptimizerKind;

    #[test]
    fn the_table_compares_seed_by_seed() -> Result<()> {
        let times = ["muon", "t64"].map(|key| {
            let optimizer = if key == "muon" { 0.4 } else { 0.1 };
            (
                key.to_owned(),
                Times {
                    optimizer,
                    step: 1.0,
                },
            )
        });
        let mut finished = Finished::new(" --seeds 2".to_owned(), times.into());
        let row = |family| Row::of_family(family);
        for record in invented_records() {
            let family = match record.settings.optimizer {
                OptimizerKind::Muon => Family::Muon,
                OptimizerKind::HiMuon => Family::Tiles,
                OptimizerKind::AdamW => Family::AdamW,
            };
            finished.add(&row(family), record);
        }
        let tiles = finished.rows.iter().find(|row| row.key == "t64");
        let line = tiles.and_then(|row| finished.line(row)).unwrap();
        assert_eq!((line.seeds, line.time), (2, Some(0.25)));
        assert!((line.above_muon.unwrap() - 0.1).abs() < 1e-9);
        let folder = tempfile::tempdir()?;
        write(folder.path(), &finished)?;
        for name in ["two_levels.md", "two_levels.svg", "two_levels.json"] {
            assert!(
                std::fs::metadata(folder.path().join(name))?.len() > 300,
                "{name}"
            );
        }
        let page = std::fs::read_to_string(folder.path().join("two_levels.md"))?;
        assert!(
            page.contains(" --seeds 2`") && !page.contains("Learning rates"),
            "{page}"
        );
        Ok(())
    }
}
