//! Trains a byte-level GPT on real text with HiMuon, full-matrix Muon and AdamW, side by side.
//!
//! `cargo run --release -p himuon-candle --example train_gpt` prints a table and writes `loss.svg`, `report.html` and
//! `report.json` into `out/train_gpt`; `--help` names the options.

mod accumulation;
mod args;
mod batch_sweep;
mod checkpoint;
mod corpus;
mod experiments;
mod learning_rates;
mod model;
mod ops;
mod output;
mod progress;
mod random;
mod recipe;
mod record;
mod report;
mod session;
mod settings;
mod tile_schedule;
mod trainer;
mod tuning;
mod two_levels;

use crate::output::say;
use anyhow::{Context, Result};
use clap::Parser;

fn main() -> Result<()> {
    let args = args::Args::parse();
    args.check()?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("the folder {} cannot be made", args.out.display()))?;
    let mut session = session::Session::new(args)?;
    say!("{}", session.corpus.description());
    if let Some(experiment) = session.args.experiment {
        return experiments::run(&mut session, experiment);
    }
    if session.args.batch_sweep {
        return batch_sweep::run(&mut session);
    }
    session.tune()?;
    if session.args.sweep_lr {
        let sweep = learning_rates::sweep(&mut session)?;
        return learning_rates::write(&session.args.out, &sweep);
    }
    let records = session.compare()?;
    report::write(&session.args.out, &records)
}
