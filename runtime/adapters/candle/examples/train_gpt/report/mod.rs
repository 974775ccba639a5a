//! What a comparison shows: a table, a plot, a page, and the data.

mod page;
mod plot;
mod summary;
mod table;

use crate::output::{self, say};
use crate::record::RunRecord;
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use summary::Summary;

/// The contents of `report.json`.
#[derive(Serialize)]
struct Data<'a> {
    /// One row an optimizer, over all seeds.
    summary: &'a [Summary],
    notes: &'a [String],
    runs: &'a [RunRecord],
}

/// Writes `loss.svg`, `report.html`, `report.json` and `results.md`, and prints the table.
pub(crate) fn write(folder: &Path, records: &[RunRecord]) -> Result<()> {
    let summary = Summary::of_runs(records);
    let notes = summary::notes(records, &summary);
    let table = table::Table::of(&summary);
    let plot = plot::svg(records)?;
    let page = page::html(records, &table, &notes, &plot);
    let mut data = serde_json::to_string_pretty(&Data {
        summary: &summary,
        notes: &notes,
        runs: records,
    })?;
    data.push('\n');
    let quoted = format!("{}\n{}\n", table.markdown(), notes.join("\n"));
    for (name, contents) in [
        ("loss.svg", &plot),
        ("report.html", &page),
        ("report.json", &data),
        ("results.md", &quoted),
    ] {
        output::write(&folder.join(name), contents)?;
    }
    say!("\n{}", table.text());
    for note in &notes {
        say!("{note}");
    }
    say!(
        "wrote loss.svg, report.html, report.json and results.md to {}",
        folder.display()
    );
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::GptConfig;
    use crate::record::CurvePoint;
    use crate::settings::{Choices, OptimizerKind, RunSettings};
    use himuon::optimizer::ProbeReading;

    fn probed(parameter: &str) -> ProbeReading {
        ProbeReading {
            step: 5,
            parameter: parameter.into(),
            matrix: 0,
            tile: "64".into(),
            tiles: 4,
            norms: (0.5, 1.5),
            nuclear_rank: 0.3,
            defect: Some(0.1),
            whole_cosine: Some(0.7),
            raised_to: None,
        }
    }

    /// Two seeds of every optimizer, with invented figures.
    pub(crate) fn invented_records() -> Vec<RunRecord> {
        let mut records = Vec::new();
        for seed in 0..2 {
            for (kind, loss, seconds, operations) in [
                (OptimizerKind::HiMuon, 2.0, 0.1, 1e10),
                (OptimizerKind::Muon, 1.9, 0.4, 4.5e10),
                (OptimizerKind::AdamW, 2.3, 0.02, 0.0),
            ] {
                let point = |step| CurvePoint {
                    step,
                    seconds: step as f64 * (0.5 + seconds),
                    validation_loss: loss + 3.0 - 0.3 * step as f64 + 0.02 * seed as f64,
                };
                records.push(RunRecord {
                    settings: RunSettings {
                        optimizer: kind,
                        learning_rate: 0.01,
                        rest_learning_rate: 0.002,
                        tile: None,
                        schedule: None,
                        power: None,
                        coarse: None,
                        model: GptConfig {
                            layers: 1,
                            width: 8,
                            heads: 1,
                            context: 8,
                        },
                        batch: 1,
                        steps: 10,
                        seed,
                        text: "a <text> & more".into(),
                        choices: Choices::default(),
                    },
                    losses: vec![loss as f32; 10],
                    step_seconds: vec![0.5 + seconds; 10],
                    optimizer_seconds: vec![seconds; 10],
                    curve: vec![point(0), point(5), point(10)],
                    operations_per_step: operations,
                    parameters: 1000,
                    state_bytes: 4000,
                    workspace_bytes: 2 << 20,
                    captured_share: None,
                    probes: vec![probed("blocks.0.<up>")],
                    noise_scales: vec![None, Some(12.5)],
                });
            }
        }
        records
    }

    #[test]
    fn all_files_are_written() -> Result<()> {
        let folder = tempfile::tempdir()?;
        write(folder.path(), &invented_records())?;
        for name in ["loss.svg", "report.html", "report.json", "results.md"] {
            assert!(
                std::fs::metadata(folder.path().join(name))?.len() > 500,
                "{name}"
            );
        }
        let data: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("report.json"))?)?;
        assert_eq!(data["runs"].as_array().map(Vec::len), Some(6));
        assert_eq!(data["summary"][1]["optimizer"], "muon");
        Ok(())
    }
}
