//! One row an optimizer, over all its seeds.

use crate::record::{RunRecord, mean_and_deviation, median};
use crate::settings::OptimizerKind;
use serde::Serialize;

/// The figures of one optimizer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) optimizer: OptimizerKind,
    pub(crate) learning_rate: f64,
    pub(crate) seeds: usize,
    /// Mean over seeds of the last validation loss, nats a byte.
    pub(crate) validation_loss: f64,
    /// Sample standard deviation over seeds; none of one seed.
    pub(crate) validation_loss_deviation: Option<f64>,
    /// Medians over all steps of all seeds.
    pub(crate) optimizer_seconds: f64,
    pub(crate) step_seconds: f64,
    pub(crate) operations_per_step: f64,
    /// Muon's operations, and Muon's optimizer time, in multiples of this optimizer's.
    pub(crate) operations_below_muon: Option<f64>,
    pub(crate) time_below_muon: Option<f64>,
    pub(crate) state_bytes: u64,
    pub(crate) workspace_bytes: u64,
}

impl Summary {
    /// The rows, in the order of [`OptimizerKind::ALL`].
    pub(crate) fn of_runs(records: &[RunRecord]) -> Vec<Self> {
        let mut rows: Vec<Self> = OptimizerKind::ALL
            .iter()
            .filter_map(|kind| Self::of_optimizer(*kind, records))
            .collect();
        let muon = rows.iter().find(|row| row.optimizer == OptimizerKind::Muon);
        if let Some((operations, seconds)) =
            muon.map(|row| (row.operations_per_step, row.optimizer_seconds))
        {
            for row in &mut rows {
                row.operations_below_muon =
                    (row.operations_per_step > 0.0).then(|| operations / row.operations_per_step);
                row.time_below_muon = Some(seconds / row.optimizer_seconds);
            }
        }
        rows
    }

    fn of_optimizer(optimizer: OptimizerKind, records: &[RunRecord]) -> Option<Self> {
        let runs: Vec<&RunRecord> = records
            .iter()
            .filter(|record| record.settings.optimizer == optimizer)
            .collect();
        let first = runs.first()?;
        let losses: Vec<f64> = runs.iter().map(|run| run.validation_loss()).collect();
        let (validation_loss, deviation) = mean_and_deviation(&losses);
        let all = |seconds: fn(&RunRecord) -> &Vec<f64>| -> Vec<f64> {
            runs.iter().flat_map(|run| seconds(run)).copied().collect()
        };
        Some(Self {
            optimizer,
            learning_rate: first.settings.learning_rate,
            seeds: runs.len(),
            validation_loss,
            validation_loss_deviation: deviation.is_finite().then_some(deviation),
            optimizer_seconds: median(&all(|run| &run.optimizer_seconds)),
            step_seconds: median(&all(|run| &run.step_seconds)),
            operations_per_step: first.operations_per_step,
            operations_below_muon: None,
            time_below_muon: None,
            state_bytes: first.state_bytes,
            workspace_bytes: first.workspace_bytes,
        })
    }
}

/// What a reader must know to judge the figures.
pub(crate) fn notes(records: &[RunRecord], rows: &[Summary]) -> Vec<String> {
    let Some(first) = records.first() else {
        return Vec::new();
    };
    let settings = &first.settings;
    let mut notes = Vec::new();
    let seeds = rows.iter().map(|row| row.seeds).max().unwrap_or(0);
    notes.push(if seeds > 1 {
        format!("Losses are means over {seeds} seeds with their standard deviation; times are medians over all steps.")
    } else {
        format!(
            "One seed ({}): losses of other seeds differ by up to a tenth; --seeds 3 shows the spread. Times are medians.",
            settings.seed
        )
    });
    notes.push(format!(
        "Model: {} layers, width {}, {} heads, context {}, {:.2} M parameters; {} steps of {} bytes, learning rates falling linearly to 0.",
        settings.model.layers,
        settings.model.width,
        settings.model.heads,
        settings.model.context,
        first.parameters as f64 / 1e6,
        settings.steps,
        settings.batch * settings.model.context,
    ));
    notes.push(format!("Text: {}.", settings.text));
    let tiled = records
        .iter()
        .find(|record| record.settings.optimizer == OptimizerKind::HiMuon);
    let own = tiled.map(|record| {
        (
            &record.settings.tile,
            &record.settings.schedule,
            &record.settings.power,
        )
    });
    if let Some((tile, schedule, power)) = own
        && (tile.is_some() || schedule.is_some() || power.is_some())
    {
        let text = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{name} {value}"))
        };
        let changed: Vec<String> = [
            text("tile", tile),
            text("schedule", schedule),
            text("power", power),
        ]
        .into_iter()
        .flatten()
        .collect();
        let swept = match tiled.is_some_and(|record| record.settings.coarse.is_some()) {
            true => "what the layers declare",
            false => "Muon",
        };
        notes.push(format!(
            "HiMuon with {}: its learning rate was swept for {swept}.",
            changed.join(", ")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::super::tests::invented_records;
    use super::*;

    #[test]
    fn rows_hold_means_and_ratios_to_muon() {
        let rows = Summary::of_runs(&invented_records());
        assert_eq!(
            rows.iter().map(|row| row.optimizer).collect::<Vec<_>>(),
            OptimizerKind::ALL
        );
        assert!((rows[0].validation_loss - 2.01).abs() < 1e-9);
        assert!((rows[0].time_below_muon.unwrap() - 4.0).abs() < 1e-9);
        assert!((rows[0].operations_below_muon.unwrap() - 4.5).abs() < 1e-9);
        assert_eq!(rows[2].operations_below_muon, None);
        let deviation = rows[0].validation_loss_deviation.unwrap();
        assert!((deviation - 0.02 / 2.0_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn one_seed_is_said_to_be_one() {
        let records = &invented_records()[..3];
        let rows = Summary::of_runs(records);
        assert_eq!(rows[0].validation_loss_deviation, None);
        assert!(notes(records, &rows)[0].starts_with("One seed (0)"));
    }
}
