//! `--batch-sweep`: how many steps a small model needs to one loss, by batch size, for Muon with and without Nesterov
//! momentum and weight decay.

use crate::corpus::{Batch, BatchShape};
use crate::model::GptConfig;
use crate::output::{self, say};
use crate::session::Session;
use crate::settings::{Choices, OptimizerKind, REST_LEARNING_RATE, RunSettings};
use crate::trainer::Trainer;
use anyhow::Result;
use std::fmt::Write;

/// Small enough that all runs end in minutes.
const MODEL: GptConfig = GptConfig {
    layers: 1,
    width: 48,
    heads: 2,
    context: 32,
};
const BATCHES: [usize; 7] = [2, 4, 8, 16, 32, 64, 128];
/// Nats a byte on held-out text: the untrained model has 5.5, frequencies of single bytes give 3.3.
const TARGET: f64 = 2.7;
const LEARNING_RATE: f64 = 0.01;
/// A run that has not reached the target with so many sequences is given up.
const MOST_SEQUENCES: usize = 40_000;
/// Held-out sequences that decide.
const HELD_OUT: usize = 64;
/// Sequences trained on between two looks, at least; a step at least.
const BETWEEN_LOOKS: usize = 32;

/// A variant of Muon (arXiv 2507.01598 treats all four).
struct Variant {
    name: &'static str,
    nesterov: bool,
    weight_decay: f64,
}

const VARIANTS: [Variant; 4] = [
    Variant {
        name: "nesterov decay",
        nesterov: true,
        weight_decay: 0.1,
    },
    Variant {
        name: "nesterov",
        nesterov: true,
        weight_decay: 0.0,
    },
    Variant {
        name: "heavy-ball decay",
        nesterov: false,
        weight_decay: 0.1,
    },
    Variant {
        name: "heavy-ball",
        nesterov: false,
        weight_decay: 0.0,
    },
];

/// Trains every variant at every batch size with every seed, and writes runs.csv after each run.
pub(crate) fn run(session: &mut Session) -> Result<()> {
    let kind = match session.args.optimizers().as_slice() {
        [one] => *one,
        _ => OptimizerKind::Muon,
    };
    anyhow::ensure!(
        kind != OptimizerKind::AdamW,
        "--batch-sweep compares variants of Muon; take --optimizer muon or himuon"
    );
    let held_out = session.corpus.validation_batches(
        BatchShape {
            sequences: HELD_OUT,
            context: MODEL.context,
        },
        1,
    )?;
    let path = session.args.out.join("runs.csv");
    let mut table = format!(
        "# {kind}, {} layers, width {}, context {}; steps to {TARGET} nats a byte on {HELD_OUT} held-out sequences at a \
         constant learning rate of {LEARNING_RATE}; a sample is a sequence\n# {}\nvariant,batch,steps,seed\n",
        MODEL.layers,
        MODEL.width,
        MODEL.context,
        session.corpus.description()
    );
    for seed in session.args.seed..session.args.seed + session.args.seeds {
        for variant in &VARIANTS {
            for batch in BATCHES {
                let settings = settings(session, kind, variant, batch, seed);
                let steps = steps_to_target(session, settings, &held_out)?;
                let text = steps.map_or_else(String::new, |steps| format!("{steps:.1}"));
                writeln!(table, "{},{batch},{text},{seed}", variant.name)?;
                say!("{}, batch {batch}, seed {seed}: {text}", variant.name);
                output::write(&path, &table)?;
            }
        }
    }
    say!("wrote {}; himuon batch-size reads it", path.display());
    Ok(())
}

fn settings(
    session: &Session,
    kind: OptimizerKind,
    variant: &Variant,
    batch: usize,
    seed: u64,
) -> RunSettings {
    RunSettings {
        model: MODEL,
        batch,
        steps: (MOST_SEQUENCES / batch) as u64,
        choices: Choices {
            nesterov: Some(variant.nesterov),
            weight_decay: Some(variant.weight_decay),
            constant_rate: true,
            ..Choices::default()
        },
        ..session.settings(
            kind,
            session.args.learning_rate.unwrap_or(LEARNING_RATE),
            REST_LEARNING_RATE,
            seed,
        )
    }
}

/// Steps until the held-out loss first lies below the target, between two looks by linear interpolation.
fn steps_to_target(
    session: &Session,
    settings: RunSettings,
    held_out: &[Batch],
) -> Result<Option<f64>> {
    let interval = BETWEEN_LOOKS.div_ceil(settings.batch).max(1) as u64;
    let mut trainer = Trainer::new(settings, session.tuning())?;
    let mut before = (0.0, trainer.validate(held_out)?);
    while !trainer.is_done() {
        trainer.step(&session.corpus)?;
        if !trainer.step_number().is_multiple_of(interval) {
            continue;
        }
        let here = (trainer.step_number() as f64, trainer.validate(held_out)?);
        if here.1 <= TARGET {
            let part = (before.1 - TARGET) / (before.1 - here.1);
            return Ok(Some((before.0 + part * (here.0 - before.0)).max(1.0)));
        }
        before = here;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use anyhow::Context;
    use clap::Parser;

    #[test]
    fn a_target_is_reached_or_the_run_given_up() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let text = folder.path().join("text");
        std::fs::write(&text, include_str!("batch_sweep.rs").repeat(16))?;
        let out = folder.path().to_string_lossy().into_owned();
        let arguments = [
            "train_gpt",
            "--text",
            &text.to_string_lossy(),
            "--out",
            &out,
        ]
        .map(str::to_owned);
        let session = Session::new(Args::try_parse_from(arguments)?)?;
        let shape = BatchShape {
            sequences: 8,
            context: MODEL.context,
        };
        let held_out = session.corpus.validation_batches(shape, 1)?;
        let with_steps = |steps| RunSettings {
            steps,
            ..settings(&session, OptimizerKind::Muon, &VARIANTS[0], 16, 0)
        };
        assert_eq!(steps_to_target(&session, with_steps(2), &held_out)?, None);
        let steps = steps_to_target(&session, with_steps(400), &held_out)?.context("400 steps")?;
        assert!((2.0..400.0).contains(&steps), "{steps}");
        Ok(())
    }
}
