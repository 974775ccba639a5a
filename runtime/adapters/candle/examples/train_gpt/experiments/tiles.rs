//! `--experiment tiles`: what the tile size costs and gains.

use super::{Figure, Row, figure};
use crate::record::median;
use crate::session::Session;
use crate::settings::{OptimizerKind, REST_LEARNING_RATE, RunSettings};
use anyhow::Result;

/// A name, and what it takes: tile, schedule and power, as the command line writes them.
type Choice = (
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
);

/// A tile or a schedule of HiMuon, and its power.
const TILES: [Choice; 10] = [
    ("T = 16", Some("16"), None, None),
    ("T = 32", Some("32"), None, None),
    ("T = 64", Some("64"), None, None),
    ("T = 128", Some("128"), None, None),
    ("full", Some("full"), None, None),
    ("T = 64, full every 5", None, Some("64+full/5"), None),
    ("T = 16, p = 1/2", Some("16"), None, Some("1/2")),
    ("T = 64, p = 1/2", Some("64"), None, Some("1/2")),
    ("full, p = 1/2", Some("full"), None, Some("1/2")),
    ("AdamW", None, None, None),
];

pub(super) fn rows(session: &Session) -> Result<Vec<Row>> {
    TILES
        .iter()
        .map(|(key, tile, schedule, power)| {
            let (kind, swept) = if *key == "AdamW" {
                (OptimizerKind::AdamW, OptimizerKind::AdamW)
            } else {
                (OptimizerKind::HiMuon, OptimizerKind::Muon)
            };
            let own = |text: &Option<&str>| text.map(str::to_owned);
            let rate = session.chosen_rate(swept)?;
            Ok(Row {
                key: (*key).to_owned(),
                settings: RunSettings {
                    tile: own(tile),
                    schedule: own(schedule),
                    power: own(power),
                    ..session.settings(kind, rate, REST_LEARNING_RATE, 0)
                },
            })
        })
        .collect()
}

pub(super) fn train(session: &mut Session, settings: &RunSettings) -> Result<Vec<Figure>> {
    let record = session.run(settings.clone())?;
    Ok(vec![
        figure("validation loss, nats a byte", record.validation_loss()),
        figure(
            "optimizer, ms a step",
            1e3 * median(&record.optimizer_seconds),
        ),
        figure("operations, 1e9 a step", 1e-9 * record.operations_per_step),
    ])
}
