//! The experiment on two levels: what a coarse part that couples the tiles gains, and what it costs.
//!
//! `--experiment two-levels` trains row by row: the main rows with every seed, the others with the first; `--rows` names
//! rows that are all trained with every seed, also those that are in no table by default. Before a
//! family's first row its learning rate is chosen with the first seed, unless `--learning-rate` gives one; AdamW on what is not a matrix of a block has the rate
//! of the committed sweep everywhere. Finished runs are kept in `runs/`, an interrupted
//! one goes on from its checkpoint, and the report is written anew after each. `--experiment two-levels-times` takes a
//! few steps of each row on a quiet machine and keeps the medians in `times.json`, which the report then uses.

mod plot;
mod report;
mod rows;
mod store;

use crate::output::{self, say};
use crate::record::{RunRecord, median};
use crate::session::Session;
use crate::settings::REST_LEARNING_RATE;
use anyhow::{Context, Result};
use report::Finished;
use rows::{Family, Row, chosen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use store::Store;

/// Median seconds of a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// In the optimizer.
    optimizer: f64,
    /// Forward, backward and optimizer.
    step: f64,
}

/// Trains what is not trained yet, and reports after each run.
pub(crate) fn losses(session: &mut Session) -> Result<()> {
    let out = session.args.out.clone();
    let store = Store(out.join("runs"));
    fs::create_dir_all(&store.0)?;
    let seeds = session.args.seed..session.args.seed + session.args.seeds;
    let mut finished = Finished::new(choices(session), read_times(session)?);
    let mut rates = BTreeMap::new();
    for row in chosen(&session.args.rows)? {
        let family = row.family;
        let rate = match session.args.learning_rate.or(rates.get(&family).copied()) {
            Some(rate) => rate,
            None => {
                let rate = choose_rate(session, &store, family, &mut finished)?;
                rates.insert(family, rate);
                rate
            }
        };
        for seed in seeds.clone().take(if row.main { usize::MAX } else { 1 }) {
            let record = train(session, &store, &row, (rate, seed))?;
            finished.add(&row, record);
            report::write(&out, &finished)?;
        }
    }
    Ok(())
}

/// The options of the command line that are no settings of a run.
fn choices(session: &Session) -> String {
    let args = &session.args;
    let mut text = format!(" --seeds {}", args.seeds);
    if args.seed > 0 {
        text += &format!(" --seed {}", args.seed);
    }
    if let Some(rate) = args.learning_rate {
        text += &format!(" --learning-rate {rate}");
    }
    if !args.rows.is_empty() {
        text += &format!(" --rows {}", args.rows.join(","));
    }
    text
}

/// How often a best rate at an end of those tried is followed further.
const EXTENSIONS: usize = 3;

/// The best of a family's learning rates, tried on one of its rows with the first seed; beyond an end by factors of 2, as
/// long as the end is the best.
fn choose_rate(
    session: &mut Session,
    store: &Store,
    family: Family,
    finished: &mut Finished,
) -> Result<f64> {
    let row = Row::of_family(family);
    let seed = session.args.seed;
    let mut trial = |rate| -> Result<(f64, f64)> {
        let record = train(session, store, &row, (rate, seed))?;
        Ok((rate, record.validation_loss()))
    };
    let mut trials = Vec::new();
    for rate in family.rates() {
        trials.push(trial(rate)?);
    }
    for _ in 0..EXTENSIONS {
        match best_place(&trials) {
            0 => trials.insert(0, trial(0.5 * trials[0].0)?),
            last if last + 1 == trials.len() => trials.push(trial(2.0 * trials[last].0)?),
            _ => break,
        }
    }
    let best = trials[best_place(&trials)].0;
    finished.rates.push((row.key(), trials));
    Ok(best)
}

/// Where the loss is least; 0 of none.
fn best_place(trials: &[(f64, f64)]) -> usize {
    let losses = trials.iter().map(|(_, loss)| *loss).enumerate();
    let best = losses.min_by(|a, b| a.1.total_cmp(&b.1));
    best.map_or(0, |(place, _)| place)
}

fn train(
    session: &mut Session,
    store: &Store,
    row: &Row,
    (rate, seed): (f64, u64),
) -> Result<RunRecord> {
    let settings = row.settings(session, rate, REST_LEARNING_RATE, seed);
    store.run(
        session,
        &format!("{}-lr{rate}-seed{seed}", row.key()),
        settings,
    )
}

/// Takes `--steps` steps of each row and keeps the median times.
pub(crate) fn times(session: &mut Session) -> Result<()> {
    let settings = |session: &Session, row: &Row| {
        let [_, rate, _] = row.family.rates();
        let mut settings = row.settings(session, rate, REST_LEARNING_RATE, session.args.seed);
        settings.choices.undiagnosed = true;
        settings
    };
    let rows = chosen(&session.args.rows)?;
    let runs = rows.iter().map(|row| settings(session, row)).collect();
    session.tune_for(runs)?;
    let mut times = read_times(session)?;
    for row in rows.iter().filter(|row| row.main) {
        if times.contains_key(&row.key()) {
            continue;
        }
        let record = session.run(settings(session, row))?;
        let measured = Times {
            optimizer: median(&record.optimizer_seconds),
            step: median(&record.step_seconds),
        };
        times.insert(row.key(), measured);
        let path = session.args.out.join("times.json");
        output::write(&path, serde_json::to_string_pretty(&times)? + "\n")?;
    }
    for (key, times) in &times {
        say!(
            "{key}: optimizer {:.1} ms, step {:.1} ms",
            1e3 * times.optimizer,
            1e3 * times.step
        );
    }
    Ok(())
}

/// The kept times; none before the first measurement.
fn read_times(session: &Session) -> Result<BTreeMap<String, Times>> {
    let path = session.args.out.join("times.json");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let named = || format!("{} is damaged; remove it", path.display());
    serde_json::from_slice(&fs::read(&path).with_context(named)?).with_context(named)
}
