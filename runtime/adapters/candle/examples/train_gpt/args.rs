//! The command line.

use crate::experiments::Experiment;
use crate::model::GptConfig;
use crate::settings::OptimizerKind;
use crate::tile_schedule::ScheduleText;
use clap::{Parser, ValueEnum};
use himuon::Tile;
use himuon::templates::{Fine, Power};
use std::path::PathBuf;

/// Trains a byte-level GPT on real text with HiMuon, full-matrix Muon and AdamW, and compares them.
///
/// Without options: all three, 100 steps each, on the Rust sources of some of this package's dependencies. Prints a table
/// and writes loss.svg, report.html and report.json.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "train_gpt",
    after_help = "Examples:\n  train_gpt --out out/default\n  train_gpt --optimizer himuon --tile 64 --steps 300 --checkpoint out/checkpoints\n  \
                  train_gpt --optimizer himuon --schedule 64+full/5 --seeds 3"
)]
pub(crate) struct Args {
    /// Which optimizer trains the matrices of the blocks.
    #[arg(long, value_enum, default_value_t = OptimizerChoice::All)]
    pub(crate) optimizer: OptimizerChoice,

    /// HiMuon's tile for all matrices: an edge (64), rows x columns (64x256) or full, uncoupled unless --coarse is given too. By
    /// default 64 for attention and 32 for the feed-forward part, both with a coarse part of rank 32.
    #[arg(long, conflicts_with = "schedule")]
    pub(crate) tile: Option<Tile>,

    /// HiMuon's tiles over time: `0:full,50:64` changes at the named steps, `64+full/5` takes a full step every 5 steps,
    /// `64+full/5*0.5` at half the learning rate. Uncoupled unless --coarse is given too.
    #[arg(long)]
    pub(crate) schedule: Option<ScheduleText>,

    /// HiMuon's power p of U S^p V^T, as 1/2 or 0.5. Uncoupled unless --coarse is given too.
    #[arg(long)]
    pub(crate) power: Option<Power>,

    /// Couples HiMuon's tiles by a coarse polar factor of this rank.
    #[arg(long, value_name = "RANK", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) coarse: Option<u32>,

    /// What the tiles add to the coarse part: projected, fused or none.
    #[arg(long, requires = "coarse", default_value = "fused")]
    pub(crate) fine: Fine,

    /// Steps from one refresh of the coarse part's basis to the next.
    #[arg(long, requires = "coarse", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) coarse_refresh: u64,

    /// Factor of the coarse part beside the tiles.
    #[arg(
        long,
        value_name = "FACTOR",
        requires = "coarse",
        default_value_t = 0.5
    )]
    pub(crate) coarse_factor: f64,

    /// Momentum of what the coarse part holds; that of all is 0.95.
    #[arg(
        long,
        value_name = "MOMENTUM",
        requires = "coarse",
        default_value_t = 0.8
    )]
    pub(crate) coarse_momentum: f64,

    /// Training steps of each optimizer.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) steps: u64,

    /// Decides the initial weights and the batches.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,

    /// Repeats every run with so many seeds, counted from --seed.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,

    /// Learning rate of the chosen optimizer; by default the best of the committed sweep; tiles alone take Muon's,
    /// and want about half of it. With `--experiment two-levels`
    /// that of every row, of which none is tried then.
    #[arg(long)]
    pub(crate) learning_rate: Option<f64>,

    /// Tries learning rates instead of comparing optimizers, and writes learning_rates.json.
    #[arg(long, conflicts_with_all = ["learning_rate", "resume", "checkpoint", "seeds"])]
    pub(crate) sweep_lr: bool,

    /// Measures the tiles every so many steps: columns in the report, a warning where a layer drifts from its whole
    /// matrix's map.
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    pub(crate) probe: u64,

    /// Cuts a batch into so many micro-batches whose gradients are averaged, and measures their noise scale.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub(crate) accumulate: u64,

    /// Trains a small model at several batch sizes to one loss, with and without Nesterov and decay, and writes runs.csv
    /// for `himuon batch-size`.
    #[arg(long, conflicts_with_all = ["sweep_lr", "resume", "checkpoint", "accumulate", "probe"])]
    pub(crate) batch_sweep: bool,

    /// Trains the rows of an experiment with every seed, and writes its table and plot. Finished runs are kept in --out: a
    /// stopped experiment goes on there.
    #[arg(long, value_enum, conflicts_with_all = ["optimizer", "tile", "schedule", "power", "coarse", "sweep_lr", "batch_sweep", "resume", "checkpoint"])]
    pub(crate) experiment: Option<Experiment>,

    /// Only these rows of `--experiment two-levels`, by the names in its table, with every seed.
    #[arg(
        long,
        value_name = "ROW,...",
        requires = "experiment",
        value_delimiter = ','
    )]
    pub(crate) rows: Vec<String>,

    /// The second text of `--experiment fine-tuning`.
    #[arg(long, value_name = "FILE")]
    pub(crate) other: Option<PathBuf>,

    /// Saves weights, optimizer state and position into this folder while training; one that holds checkpoints of these
    /// runs already is refused.
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint: Option<PathBuf>,

    /// Steps between two checkpoints.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) checkpoint_every: u64,

    /// Goes on from the newest checkpoints in this folder, bit for bit, and saves further ones there.
    #[arg(long, value_name = "DIR", conflicts_with = "checkpoint")]
    pub(crate) resume: Option<PathBuf>,

    /// Trains on the bytes of this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,

    /// Folder for loss.svg, report.html, report.json and results.md.
    #[arg(long, value_name = "DIR", default_value = "out/train_gpt")]
    pub(crate) out: PathBuf,

    /// Prints what each parameter gets, what it costs, and why.
    #[arg(long)]
    pub(crate) explain: bool,

    /// Blocks of the model.
    #[arg(long, default_value_t = 3, help_heading = "Model and batch")]
    pub(crate) layers: usize,

    /// Columns of the residual stream.
    #[arg(long, default_value_t = 384, help_heading = "Model and batch")]
    pub(crate) width: usize,

    /// Attention heads of a block.
    #[arg(long, default_value_t = 6, help_heading = "Model and batch")]
    pub(crate) heads: usize,

    /// Bytes of a sequence.
    #[arg(long, default_value_t = 128, help_heading = "Model and batch")]
    pub(crate) context: usize,

    /// Sequences of a batch.
    #[arg(long, default_value_t = 16, help_heading = "Model and batch")]
    pub(crate) batch: usize,
}

/// One optimizer, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimizerChoice {
    Himuon,
    Muon,
    Adamw,
    All,
}

impl Args {
    /// The optimizers to compare, in the order of the table.
    pub(crate) fn optimizers(&self) -> Vec<OptimizerKind> {
        match self.optimizer {
            OptimizerChoice::Himuon => vec![OptimizerKind::HiMuon],
            OptimizerChoice::Muon => vec![OptimizerKind::Muon],
            OptimizerChoice::Adamw => vec![OptimizerKind::AdamW],
            OptimizerChoice::All => OptimizerKind::ALL.to_vec(),
        }
    }

    /// The size of the model.
    pub(crate) fn model(&self) -> GptConfig {
        GptConfig {
            layers: self.layers,
            width: self.width,
            heads: self.heads,
            context: self.context,
        }
    }

    /// Refuses what clap cannot see.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.layers > 0 && self.width > 0 && self.context > 0 && self.batch > 0,
            "--layers, --width, --context and --batch are at least 1"
        );
        anyhow::ensure!(
            self.heads > 0 && self.width.is_multiple_of(self.heads),
            "--width {} is not a multiple of --heads {}",
            self.width,
            self.heads
        );
        match (self.learning_rate, self.experiment) {
            (None, _) | (_, Some(Experiment::TwoLevels)) => {}
            (_, Some(_)) => anyhow::bail!(
                "--learning-rate belongs to --experiment two-levels alone: the other experiments have rates of their own"
            ),
            (_, None) => anyhow::ensure!(
                self.optimizer != OptimizerChoice::All || self.batch_sweep,
                "--learning-rate needs one --optimizer: rates of different optimizers do not compare"
            ),
        }
        anyhow::ensure!(
            self.batch.is_multiple_of(self.accumulate as usize),
            "--batch {} is not a multiple of --accumulate {}",
            self.batch,
            self.accumulate
        );
        if let Some(rate) = self.learning_rate {
            anyhow::ensure!(
                rate.is_finite() && rate > 0.0,
                "--learning-rate is {rate}, expected a finite number above 0"
            );
        }
        self.check_idle()
    }

    /// Refuses options that would do nothing.
    fn check_idle(&self) -> anyhow::Result<()> {
        let tiles = [
            ("--tile", self.tile.is_some()),
            ("--schedule", self.schedule.is_some()),
            ("--power", self.power.is_some()),
            ("--coarse", self.coarse.is_some()),
        ];
        // A sweep of batches is Muon's unless it is told otherwise.
        let tiled = match self.optimizer {
            OptimizerChoice::Himuon => true,
            OptimizerChoice::All => !self.batch_sweep,
            OptimizerChoice::Muon | OptimizerChoice::Adamw => false,
        };
        if let Some((option, _)) = tiles.iter().find(|(_, stated)| *stated && !tiled) {
            anyhow::bail!("{option} is HiMuon's: take --optimizer himuon, or leave it out");
        }
        anyhow::ensure!(
            self.probe == 0 || self.optimizer != OptimizerChoice::Adamw,
            "--probe measures what is mapped, and --optimizer adamw maps nothing: leave it out"
        );
        if self.batch_sweep {
            let usual = Args::parse_from(["train_gpt"]);
            let stated = [
                ("--steps", self.steps != usual.steps),
                ("--layers", self.layers != usual.layers),
                ("--width", self.width != usual.width),
                ("--heads", self.heads != usual.heads),
                ("--context", self.context != usual.context),
                ("--batch", self.batch != usual.batch),
            ];
            if let Some((option, _)) = stated.iter().find(|(_, stated)| *stated) {
                anyhow::bail!(
                    "--batch-sweep has a model, batches and lengths of its own: leave out {option}"
                );
            }
        }
        let rows = matches!(
            self.experiment,
            Some(Experiment::TwoLevels | Experiment::TwoLevelsTimes)
        );
        anyhow::ensure!(
            rows || self.rows.is_empty(),
            "--rows names rows of --experiment two-levels: leave it out"
        );
        let fine_tuning = self.experiment == Some(Experiment::FineTuning);
        anyhow::ensure!(
            fine_tuning || self.other.is_none(),
            "--other is the second text of --experiment fine-tuning: leave it out"
        );
        anyhow::ensure!(
            !fine_tuning || self.other.is_some(),
            "--experiment fine-tuning goes on with a second text: name it by --other FILE"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn contradictions_are_refused() {
        let parse = |line: &str| {
            Args::try_parse_from(std::iter::once("train_gpt").chain(line.split_whitespace()))
        };
        assert!(parse("--tile 64 --schedule 64+full/5").is_err());
        assert!(parse("--steps 0").is_err());
        assert!(parse("--tile 64by32").is_err());
        assert!(parse("--sweep-lr --resume x").is_err());
        assert!(parse("--fine fused").is_err());
        assert!(parse("--experiment two-levels --tile 64").is_err());
        assert!(parse("--coarse 32 --fine fused --coarse-refresh 4 --coarse-factor 0.7").is_ok());
        assert!(parse("--coarse 32 --coarse-momentum 0.9").is_ok());
        assert!(parse("--coarse-factor 0.7").is_err());
        assert!(parse("--tile 64x256 --power 1/2").is_ok_and(|args| args.check().is_ok()));
        assert!(parse("--learning-rate 0.1").is_ok_and(|args| args.check().is_err()));
        let two_levels = parse("--experiment two-levels --learning-rate 0.1");
        assert!(two_levels.is_ok_and(|args| args.check().is_ok()));
        let decay = parse("--experiment decay --learning-rate 0.1");
        assert!(decay.is_ok_and(|args| args.check().is_err()));
        for line in [
            "--optimizer muon --tile 64",
            "--optimizer adamw --coarse 32",
            "--optimizer adamw --probe 5",
            "--batch-sweep --tile 16",
            "--batch-sweep --layers 2",
            "--experiment tiles --rows x",
            "--other x",
            "--experiment fine-tuning",
        ] {
            assert!(
                parse(line).is_ok_and(|args| args.check().is_err()),
                "{line}"
            );
        }
        for line in [
            "--batch-sweep --learning-rate 0.02",
            "--batch-sweep --optimizer himuon --tile 16",
            "--experiment fine-tuning --other x",
            "--coarse 16",
        ] {
            assert!(parse(line).is_ok_and(|args| args.check().is_ok()), "{line}");
        }
        assert!(parse("--batch 16 --accumulate 5").is_ok_and(|args| args.check().is_err()));
        assert!(parse("--batch-sweep --sweep-lr").is_err());
        assert!(parse("--width 100 --heads 3").is_ok_and(|args| args.check().is_err()));
    }
}
