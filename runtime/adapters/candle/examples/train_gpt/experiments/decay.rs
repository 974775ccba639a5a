//! `--experiment decay`: norms of weights and gradients with and without weight decay, with and without Nesterov
//! momentum, at a constant learning rate (arXiv 2507.01598). With decay every tile obeys
//! ||W_tile||_2 <= 0.2 sqrt(T) max s_K / wd in the end, and ||W_0||_2 on the way there at most.

use super::{Figure, Row, figure};
use crate::session::Session;
use crate::settings::{Choices, OptimizerKind, REST_LEARNING_RATE, RunSettings};
use crate::trainer::Trainer;
use anyhow::{Context, Result};
use himuon::diagnose::spectral_norm;
use himuon::reference::{Matrix, tiles};
use himuon::{KernelSpec, Tile};

const EDGE: u32 = 16;
/// Strong, so that a few hundred steps come to the end of it: with a rate of 0.01 the weights forget in 33 steps.
const STRONG: f64 = 3.0;
/// Steps at the end over which norms are averaged.
const LAST: u64 = 20;

pub(super) fn rows(session: &Session) -> Result<Vec<Row>> {
    let rate = session.chosen_rate(OptimizerKind::Muon)?;
    let mut rows = Vec::new();
    for nesterov in [true, false] {
        for decay in [0.0, 0.1, STRONG] {
            let momentum = if nesterov { "Nesterov" } else { "heavy ball" };
            rows.push(Row {
                key: format!("{momentum}, decay {decay}"),
                settings: RunSettings {
                    tile: Some(EDGE.to_string()),
                    choices: Choices {
                        nesterov: Some(nesterov),
                        weight_decay: Some(decay),
                        constant_rate: true,
                        ..Choices::default()
                    },
                    ..session.settings(OptimizerKind::HiMuon, rate, REST_LEARNING_RATE, 0)
                },
            });
        }
    }
    Ok(rows)
}

pub(super) fn train(session: &mut Session, settings: &RunSettings) -> Result<Vec<Figure>> {
    let mut trainer = Trainer::new(settings.clone(), session.tuning())?;
    let mut gradients = Vec::new();
    while !trainer.is_done() {
        trainer.step(&session.corpus)?;
        if trainer.step_number() + LAST >= settings.steps {
            gradients.push(trainer.gradient_norm(&session.corpus)?);
        }
    }
    let decay = settings.choices.weight_decay.unwrap_or(0.0);
    let bound = if decay > 0.0 {
        0.2 * f64::from(EDGE).sqrt() * largest_response()? / decay
    } else {
        f64::INFINITY
    };
    let (tile, whole) = weight_norms(&trainer)?;
    let shape = settings.batch_shape();
    let loss = trainer.validate(&session.corpus.validation_batches(shape, 16)?)?;
    Ok(vec![
        figure("largest tile norm", tile),
        figure("bound", bound),
        figure("largest matrix norm", whole),
        figure(
            "gradient norm",
            gradients.iter().sum::<f64>() / gradients.len().max(1) as f64,
        ),
        figure("validation loss", loss),
    ])
}

/// max s_K on (0, 1].
fn largest_response() -> Result<f64> {
    let table = KernelSpec::new(Tile::square(EDGE)).step_table()?;
    let points = (1..=10_000).map(|point| table.response(f64::from(point) * 1e-4));
    Ok(points.fold(0.0, f64::max))
}

/// The largest spectral norm of a tile, and of a matrix, of the blocks.
fn weight_norms(trainer: &Trainer) -> Result<(f64, f64)> {
    let (mut tile, mut whole) = (0.0f64, 0.0f64);
    let variables = trainer
        .variables
        .data()
        .lock()
        .ok()
        .context("the variables are held elsewhere")?;
    for (_, variable) in variables
        .iter()
        .filter(|(name, v)| name.starts_with("blocks.") && v.dims().len() == 2)
    {
        let (rows, columns) = (variable.dims()[0], variable.dims()[1]);
        let values = variable.flatten_all()?.to_vec1::<f32>()?;
        whole = whole.max(spectral_norm(&values, rows, columns)?);
        let matrix = Matrix::from_f32(rows, columns, &values);
        for bounds in tiles(Tile::square(EDGE), rows, columns) {
            let part = matrix.cut(&bounds).to_f32();
            tile = tile.max(spectral_norm(&part, bounds.rows, bounds.columns)?);
        }
    }
    Ok((tile, whole))
}
