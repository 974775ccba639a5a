//! Learning rates: the committed sweep, and making a new one.

use crate::output::{self, say};
use crate::session::Session;
use crate::settings::{OptimizerKind, REST_LEARNING_RATE};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The sweep that the default learning rates come from; `--sweep-lr` writes such a file.
const COMMITTED: &str = include_str!("learning_rates.json");

/// One tried learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) learning_rate: f64,
    /// Validation loss at the end, nats a byte.
    pub(crate) validation_loss: f64,
}

/// All tried learning rates of one optimizer, ascending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OptimizerSweep {
    pub(crate) chosen: f64,
    pub(crate) trials: Vec<Trial>,
}

/// How learning rates were chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    /// The command that remakes it.
    pub(crate) command: String,
    pub(crate) text: String,
    pub(crate) steps: u64,
    pub(crate) seed: u64,
    pub(crate) optimizers: BTreeMap<OptimizerKind, OptimizerSweep>,
}

impl Sweep {
    /// The committed sweep.
    pub(crate) fn committed() -> Result<Self> {
        serde_json::from_str(COMMITTED).context("the committed learning_rates.json is damaged")
    }

    /// The chosen learning rate of an optimizer.
    pub(crate) fn chosen(&self, optimizer: OptimizerKind) -> Result<f64> {
        let sweep = self.optimizers.get(&optimizer);
        Ok(sweep
            .with_context(|| format!("the sweep has no learning rate for {optimizer}"))?
            .chosen)
    }
}

/// The first learning rates to try: a factor of two apart.
fn first_rates(optimizer: OptimizerKind) -> &'static [f64] {
    match optimizer {
        OptimizerKind::HiMuon | OptimizerKind::Muon => &[0.005, 0.01, 0.02],
        OptimizerKind::AdamW => &[0.000125, 0.00025, 0.0005],
    }
}

/// Factors of two beyond the first rates that a sweep goes at most.
const MOST_EXTENSIONS: usize = 4;

/// Tries learning rates of the matrices of blocks: the first ones, then further ones by factors of two until the best lies inside.
pub(crate) fn sweep(session: &mut Session) -> Result<Sweep> {
    let mut optimizers = BTreeMap::new();
    for kind in session.args.optimizers() {
        let found = sweep_one(kind, |rate| {
            let settings = session.settings(kind, rate, REST_LEARNING_RATE, session.args.seed);
            Ok(session.run(settings)?.validation_loss())
        })?;
        say!(
            "{kind}: {} is best of {}",
            found.chosen,
            trials_text(&found.trials)
        );
        optimizers.insert(kind, found);
    }
    Ok(Sweep {
        command: command(std::env::args().skip(1)),
        text: session.corpus.description().to_owned(),
        steps: session.args.steps,
        seed: session.args.seed,
        optimizers,
    })
}

/// The command line of this run, for a shell.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let plain = |argument: &str| {
        let harmless = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+".contains(c);
        !argument.is_empty() && argument.chars().all(harmless)
    };
    let mut text = "cargo run --release -p himuon-candle --example train_gpt --".to_owned();
    for argument in arguments {
        text.push(' ');
        match plain(&argument) {
            true => text.push_str(&argument),
            false => text.push_str(&format!("'{}'", argument.replace('\'', r"'\''"))),
        }
    }
    text
}

fn sweep_one(
    kind: OptimizerKind,
    mut loss_at: impl FnMut(f64) -> Result<f64>,
) -> Result<OptimizerSweep> {
    let mut trials = Vec::new();
    for &learning_rate in first_rates(kind) {
        trials.push(Trial {
            learning_rate,
            validation_loss: loss_at(learning_rate)?,
        });
    }
    for _ in 0..MOST_EXTENSIONS {
        let best = best_of(&trials);
        let learning_rate = if best == 0 {
            trials[0].learning_rate / 2.0
        } else if best + 1 == trials.len() {
            trials[best].learning_rate * 2.0
        } else {
            break;
        };
        trials.push(Trial {
            learning_rate,
            validation_loss: loss_at(learning_rate)?,
        });
        trials.sort_by(|a, b| a.learning_rate.total_cmp(&b.learning_rate));
    }
    Ok(OptimizerSweep {
        chosen: trials[best_of(&trials)].learning_rate,
        trials,
    })
}

/// The index of the lowest loss; a NaN is never the lowest.
fn best_of(trials: &[Trial]) -> usize {
    let lowest = trials
        .iter()
        .enumerate()
        .min_by(|(_, a), (_, b)| a.validation_loss.total_cmp(&b.validation_loss));
    lowest.map_or(0, |(index, _)| index)
}

fn trials_text(trials: &[Trial]) -> String {
    let texts: Vec<String> = trials
        .iter()
        .map(|trial| format!("{} ({:.3})", trial.learning_rate, trial.validation_loss))
        .collect();
    texts.join(", ")
}

/// Writes a sweep as `learning_rates.json`.
pub(crate) fn write(folder: &Path, sweep: &Sweep) -> Result<()> {
    let path = folder.join("learning_rates.json");
    let mut text = serde_json::to_string_pretty(sweep)?;
    text.push('\n');
    output::write(&path, text)?;
    say!("wrote {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_that_of_the_run() {
        let arguments = ["--sweep-lr", "--tile", "16", "--text", "my 'own' text"];
        let text = command(arguments.iter().map(ToString::to_string));
        assert!(
            text.ends_with(r"train_gpt -- --sweep-lr --tile 16 --text 'my '\''own'\'' text'"),
            "{text}"
        );
    }

    #[test]
    fn the_committed_rates_are_the_best_of_their_trials() -> Result<()> {
        let sweep = Sweep::committed()?;
        assert!(sweep.steps > 0 && !sweep.text.is_empty());
        for kind in OptimizerKind::ALL {
            let one = &sweep.optimizers[&kind];
            let best = best_of(&one.trials);
            assert_eq!(one.trials[best].learning_rate, one.chosen, "{kind}");
            assert!(
                0 < best && best + 1 < one.trials.len(),
                "{kind}: the best lies inside"
            );
        }
        Ok(())
    }

    #[test]
    fn a_sweep_moves_until_the_best_lies_inside() -> Result<()> {
        for best in [0.001_f64, 0.01, 0.08] {
            let found = sweep_one(OptimizerKind::Muon, |rate| Ok((rate / best).ln().powi(2)))?;
            assert!(
                (found.chosen / best).ln().abs() <= 2.0_f64.ln(),
                "{best}: {}",
                found.chosen
            );
        }
        Ok(())
    }

    #[test]
    fn a_diverged_trial_is_never_chosen() -> Result<()> {
        let found = sweep_one(OptimizerKind::Muon, |rate| {
            Ok(if rate > 0.01 { f64::NAN } else { 1.0 - rate })
        })?;
        assert_eq!(found.chosen, 0.01);
        Ok(())
    }
}
