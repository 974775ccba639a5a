//! `--experiment fine-tuning`: a model trained with Muon on one text goes on with another at p = 0, 1/3, 1/2 and 1
//! (arXiv 2606.13867), each at several learning rates. `--other FILE` is the other text.

use super::{Figure, Row, figure};
use crate::corpus::Corpus;
use crate::session::Session;
use crate::settings::{OptimizerKind, REST_LEARNING_RATE, RunSettings};
use crate::trainer::Trainer;
use anyhow::{Context, Result};

/// Learning rates of the fine-tuning, as parts of the training's.
const FACTORS: [f64; 3] = [0.05, 0.15, 0.5];
const POWERS: [&str; 4] = ["0", "1/3", "1/2", "1"];
/// Steps of the fine-tuning, as a part of the training's.
const LENGTH: u64 = 4;
const BATCHES: usize = 16;

pub(super) fn rows(session: &Session) -> Result<Vec<Row>> {
    session
        .args
        .other
        .as_ref()
        .context("--experiment fine-tuning needs --other FILE, a second text")?;
    let rate = session.chosen_rate(OptimizerKind::Muon)?;
    let mut rows = Vec::new();
    for power in POWERS {
        for factor in FACTORS {
            rows.push(Row {
                key: format!("p = {power}, rate {}", factor * rate),
                settings: RunSettings {
                    tile: Some("full".into()),
                    power: Some(power.to_owned()),
                    steps: session.args.steps.div_ceil(LENGTH),
                    ..session.settings(
                        OptimizerKind::HiMuon,
                        factor * rate,
                        factor * REST_LEARNING_RATE,
                        0,
                    )
                },
            });
        }
    }
    Ok(rows)
}

pub(super) fn train(session: &mut Session, settings: &RunSettings) -> Result<Vec<Figure>> {
    let other = session
        .args
        .other
        .as_deref()
        .context("no second text: name it by --other FILE")?;
    let other = Corpus::of_file(other)?;
    let weights = trained(session, settings.seed)?;
    let shape = settings.batch_shape();
    let old = session.corpus.validation_batches(shape, BATCHES)?;
    let new = other.validation_batches(shape, BATCHES)?;
    let mut trainer = Trainer::new(settings.clone(), session.tuning())?;
    trainer.variables.load(&weights)?;
    let before = (trainer.validate(&new)?, trainer.validate(&old)?);
    while !trainer.is_done() {
        trainer.step(&other)?;
    }
    let after = (trainer.validate(&new)?, trainer.validate(&old)?);
    Ok(vec![
        figure("loss on the new text", after.0),
        figure("before", before.0),
        figure("forgotten of the old text", after.1 - before.1),
    ])
}

/// The weights of the training with a seed, made once.
fn trained(session: &mut Session, seed: u64) -> Result<std::path::PathBuf> {
    let path = session
        .args
        .out
        .join(format!("trained-seed-{seed}.safetensors"));
    if path.exists() {
        return Ok(path);
    }
    let rate = session.chosen_rate(OptimizerKind::Muon)?;
    let settings = session.settings(OptimizerKind::Muon, rate, REST_LEARNING_RATE, seed);
    let mut trainer = Trainer::new(settings, session.tuning())?;
    while !trainer.is_done() {
        trainer.step(&session.corpus)?;
    }
    let partial = path.with_extension("partial");
    trainer.variables.save(&partial)?;
    std::fs::rename(&partial, &path)?;
    Ok(path)
}
