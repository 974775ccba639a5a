//! A call of the program: its arguments, its text, and the runs that they ask for.

use crate::args::Args;
use crate::checkpoint;
use crate::corpus::{Batch, Corpus};
use crate::learning_rates::Sweep;
use crate::output::say;
use crate::progress::Progress;
use crate::record::RunRecord;
use crate::settings::{
    Choices, CoarseChoice, MOMENTUM, OptimizerKind, REST_LEARNING_RATE, RunSettings,
};
use crate::trainer::Trainer;
use crate::tuning::{Workload, tuned, workload};
use anyhow::Result;
use himuon::tuning::{DeviceFingerprint, TuningTable};
use std::path::PathBuf;

/// Validations in the course of a run, the last one aside.
const CURVE_POINTS: u64 = 10;
/// Held-out batches of a validation in the course of a run, and of the last one.
const CURVE_BATCHES: usize = 4;
const FINAL_BATCHES: usize = 32;

/// What all runs of a call share.
pub(crate) struct Session {
    pub(crate) args: Args,
    pub(crate) corpus: Corpus,
    sweep: Sweep,
    tuning: TuningTable,
    checkpoints: Option<PathBuf>,
    runs_done: usize,
    runs_planned: Option<usize>,
}

impl Session {
    /// Reads the text and the committed sweep.
    ///
    /// # Errors
    /// One of them does not read, or the runs would take the place of kept checkpoints.
    pub(crate) fn new(args: Args) -> Result<Self> {
        if let Some(root) = &args.checkpoint {
            for seed in args.seed..args.seed.saturating_add(args.seeds) {
                for optimizer in args.optimizers() {
                    checkpoint::refuse_kept(root, optimizer, seed)?;
                }
            }
        }
        let corpus = match &args.text {
            Some(path) => Corpus::of_file(path)?,
            None => Corpus::of_crate_sources()?,
        };
        let sweep = Sweep::committed()?;
        let runs = args.optimizers().len() * args.seeds as usize;
        Ok(Self {
            corpus,
            sweep,
            tuning: TuningTable::new(DeviceFingerprint::cpu()),
            checkpoints: args.checkpoint.clone().or_else(|| args.resume.clone()),
            runs_done: 0,
            runs_planned: (!args.sweep_lr && args.experiment.is_none()).then_some(runs),
            args,
        })
    }

    /// The kernels of this machine.
    pub(crate) fn tuning(&self) -> &TuningTable {
        &self.tuning
    }

    /// The learning rate of the command line, or the best of the committed sweep.
    pub(crate) fn chosen_rate(&self, optimizer: OptimizerKind) -> Result<f64> {
        match self.args.learning_rate {
            Some(rate) => Ok(rate),
            None => self.sweep.chosen(optimizer),
        }
    }

    /// Whose rate an optimizer takes: HiMuon's was swept with the coarse part that layers declare, and tiles alone take Muon's.
    fn swept_as(&self, optimizer: OptimizerKind) -> OptimizerKind {
        let args = &self.args;
        let own = args.tile.is_some() || args.schedule.is_some() || args.power.is_some();
        match optimizer {
            OptimizerKind::HiMuon if own && args.coarse.is_none() => OptimizerKind::Muon,
            other => other,
        }
    }

    /// The settings of a run.
    pub(crate) fn settings(
        &self,
        optimizer: OptimizerKind,
        learning_rate: f64,
        rest_learning_rate: f64,
        seed: u64,
    ) -> RunSettings {
        let args = &self.args;
        let tiled = optimizer == OptimizerKind::HiMuon;
        RunSettings {
            optimizer,
            learning_rate,
            rest_learning_rate,
            tile: args.tile.filter(|_| tiled).map(|tile| tile.to_string()),
            schedule: args
                .schedule
                .as_ref()
                .filter(|_| tiled)
                .map(ToString::to_string),
            power: args.power.filter(|_| tiled).map(|power| power.to_string()),
            coarse: args.coarse.filter(|_| tiled).map(|rank| CoarseChoice {
                rank,
                fine: args.fine.to_string(),
                refresh: args.coarse_refresh,
                feed_forward_rank: None,
                factor: Some(args.coarse_factor).filter(|factor| *factor != 1.0),
                momentum: Some(args.coarse_momentum).filter(|momentum| *momentum != MOMENTUM),
            }),
            model: args.model(),
            batch: args.batch,
            steps: args.steps,
            seed,
            text: self.corpus.description().to_owned(),
            choices: Choices {
                accumulate: if args.accumulate > 1 {
                    args.accumulate as usize
                } else {
                    0
                },
                probe: if optimizer == OptimizerKind::AdamW {
                    0
                } else {
                    args.probe
                },
                ..Choices::default()
            },
        }
    }

    /// Runs every optimizer with every seed: seed by seed, so that the optimizers meet the same load of the machine.
    pub(crate) fn compare(&mut self) -> Result<Vec<RunRecord>> {
        let mut records = Vec::new();
        for seed in self.args.seed..self.args.seed + self.args.seeds {
            for optimizer in self.args.optimizers() {
                let learning_rate = self.chosen_rate(self.swept_as(optimizer))?;
                let settings = self.settings(optimizer, learning_rate, REST_LEARNING_RATE, seed);
                records.push(self.run(settings)?);
            }
        }
        Ok(records)
    }

    /// Tunes the kernels of all chosen optimizers for this machine.
    pub(crate) fn tune(&mut self) -> Result<()> {
        let optimizers = self.args.optimizers();
        let settings = optimizers
            .into_iter()
            .map(|optimizer| self.settings(optimizer, 1.0, 1.0, self.args.seed));
        self.tune_for(settings.collect())
    }

    /// Tunes the kernels of some runs for this machine.
    pub(crate) fn tune_for(&mut self, runs: Vec<RunSettings>) -> Result<()> {
        let mut all = Workload::new();
        for settings in runs {
            all.append(&mut workload(&mut Trainer::new(settings, &self.tuning)?)?);
        }
        self.tuning = tuned(&all)?;
        Ok(())
    }

    /// One run that keeps its checkpoints in `root` and goes on from them.
    pub(crate) fn run_in(&mut self, settings: RunSettings, root: PathBuf) -> Result<RunRecord> {
        self.checkpoints = Some(root.clone());
        self.args.resume = Some(root);
        self.run(settings)
    }

    /// One run from start, or from its newest checkpoint, to end.
    pub(crate) fn run(&mut self, settings: RunSettings) -> Result<RunRecord> {
        self.runs_done += 1;
        let folder = self
            .checkpoints
            .as_ref()
            .map(|root| checkpoint::run_folder(root, settings.optimizer, settings.seed));
        let newest = match (&folder, &self.args.resume) {
            (Some(folder), Some(_)) => checkpoint::latest(folder)?,
            _ => None,
        };
        let mut trainer = match newest {
            Some(checkpoint) => checkpoint::resume(&checkpoint, settings, &self.tuning)?,
            None => Trainer::new(settings, &self.tuning)?,
        };
        if self.args.explain && trainer.step_number() == 0 {
            let explanation = trainer.explain()?;
            say!("{}:\n{explanation}\n", trainer.record.settings.optimizer);
        }
        let progress = Progress::of_run(&trainer.record, self.runs_done, self.runs_planned);
        let curve_batches = self.validation_batches(&trainer, CURVE_BATCHES)?;
        let interval = trainer.record.settings.steps.div_ceil(CURVE_POINTS);
        while !trainer.is_done() {
            if trainer.step_number().is_multiple_of(interval) {
                trainer.validate(&curve_batches)?;
            }
            let loss = trainer.step(&self.corpus)?;
            progress.step(&trainer.record, loss);
            if let Some(folder) = &folder
                && trainer
                    .step_number()
                    .is_multiple_of(self.args.checkpoint_every)
                && !trainer.is_done()
            {
                checkpoint::save(folder, &mut trainer)?;
            }
        }
        if trainer
            .record
            .curve
            .last()
            .is_none_or(|point| point.step < trainer.step_number())
        {
            trainer.validate(&self.validation_batches(&trainer, FINAL_BATCHES)?)?;
            if let Some(folder) = &folder {
                checkpoint::save(folder, &mut trainer)?;
            }
        }
        progress.finish(&trainer.record);
        Ok(trainer.record)
    }

    fn validation_batches(&self, trainer: &Trainer, count: usize) -> Result<Vec<Batch>> {
        self.corpus
            .validation_batches(trainer.record.settings.batch_shape(), count)
    }
}
