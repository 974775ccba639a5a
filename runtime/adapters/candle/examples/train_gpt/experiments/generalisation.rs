//! `--experiment generalisation`: MiMuon's claim (arXiv 2605.19619), that orthogonalising only where it is safe narrows
//! the gap between training and held-out loss. One block of the text is trained on, so that there is a gap.

use super::{Figure, Row, figure};
use crate::session::Session;
use crate::settings::{Choices, OptimizerKind, REST_LEARNING_RATE, RunSettings};
use crate::trainer::Trainer;
use anyhow::Result;

/// Batches of training text whose loss is taken at the end, and of held-out text.
const BATCHES: usize = 16;

/// Thresholds that leave some matrices and tiles alone, and not all: the momenta of such a model have nuclear ranks of 0.1
/// to 0.3, their tiles of 16 of 0.15 to 0.6.
const ROWS: [(&str, OptimizerKind, Option<&str>); 6] = [
    ("Muon", OptimizerKind::Muon, None),
    (
        "MiMuon, nuclear_rank(0.05)",
        OptimizerKind::Muon,
        Some("nuclear_rank(0.05)"),
    ),
    (
        "MiMuon, nuclear_rank(0.1)",
        OptimizerKind::Muon,
        Some("nuclear_rank(0.1)"),
    ),
    ("HiMuon, T = 16", OptimizerKind::HiMuon, None),
    (
        "HiMuon, T = 16, nuclear_rank(0.1)",
        OptimizerKind::HiMuon,
        Some("nuclear_rank(0.1)"),
    ),
    (
        "HiMuon, T = 16, nuclear_rank(0.2)",
        OptimizerKind::HiMuon,
        Some("nuclear_rank(0.2)"),
    ),
];

pub(super) fn rows(session: &Session) -> Result<Vec<Row>> {
    ROWS.iter()
        .map(|(key, kind, criterion)| {
            Ok(Row {
                key: (*key).to_owned(),
                settings: RunSettings {
                    tile: (*kind == OptimizerKind::HiMuon).then(|| "16".to_owned()),
                    choices: Choices {
                        criterion: criterion.map(str::to_owned),
                        training_blocks: 1,
                        ..Choices::default()
                    },
                    ..session.settings(
                        *kind,
                        session.chosen_rate(OptimizerKind::Muon)?,
                        REST_LEARNING_RATE,
                        0,
                    )
                },
            })
        })
        .collect()
}

pub(super) fn train(session: &mut Session, settings: &RunSettings) -> Result<Vec<Figure>> {
    let corpus = session
        .corpus
        .with_training_blocks(settings.choices.training_blocks);
    let mut trainer = Trainer::new(settings.clone(), session.tuning())?;
    let mut left_alone = (0usize, 0usize);
    while !trainer.is_done() {
        trainer.step(&corpus)?;
        if let Some(report) = trainer.optimizer.last_report() {
            left_alone.0 += report.unorthogonalised_tiles;
            left_alone.1 += report.tiles;
        }
    }
    let seen = trainer.validate(&corpus.even_training_batches(settings.batch_shape(), BATCHES)?)?;
    let held_out =
        trainer.validate(&corpus.validation_batches(settings.batch_shape(), BATCHES)?)?;
    Ok(vec![
        figure("gap", held_out - seen),
        figure("training loss", seen),
        figure("held-out loss", held_out),
        figure(
            "tiles left alone, %",
            100.0 * left_alone.0 as f64 / left_alone.1.max(1) as f64,
        ),
    ])
}
