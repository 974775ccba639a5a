//! One run: a model, an optimizer, and what was measured so far.

use crate::corpus::{Batch, Corpus};
use crate::model::Gpt;
use crate::recipe;
use crate::record::{CurvePoint, RunRecord};
use crate::settings::RunSettings;
use anyhow::{Context, Result, ensure};
use candle_nn::{Optimizer, VarMap};
use himuon::tuning::TuningTable;
use himuon_candle::{HiMuon, HiMuonConfig};
use std::time::Instant;

/// A model in training.
pub(crate) struct Trainer {
    pub(crate) variables: VarMap,
    pub(crate) optimizer: HiMuon,
    pub(crate) record: RunRecord,
    model: Gpt,
}

impl Trainer {
    /// A fresh model under the settings' seed, with the kernels that `tuning` names.
    pub(crate) fn new(settings: RunSettings, tuning: &TuningTable) -> Result<Self> {
        let variables = VarMap::new();
        let model = Gpt::new(settings.model, settings.seed, &variables)?;
        let mut config = HiMuonConfig::new(&variables);
        config.builder = recipe::declare(&settings, config.builder)?.tuning(tuning.clone());
        let mut optimizer = HiMuon::new(variables.all_vars(), config)?;
        let record = RunRecord::new(settings, optimizer.inner_mut())?;
        Ok(Self {
            variables,
            optimizer,
            record,
            model,
        })
    }

    /// Steps taken so far.
    pub(crate) fn step_number(&self) -> u64 {
        self.record.losses.len() as u64
    }

    /// Whether all steps are taken.
    pub(crate) fn is_done(&self) -> bool {
        self.step_number() >= self.record.settings.steps
    }

    /// Takes one training step and returns the loss before it.
    pub(crate) fn step(&mut self, corpus: &Corpus) -> Result<f32> {
        let step = self.step_number();
        let settings = &self.record.settings;
        let batch = corpus.training_batch(settings.batch_shape(), settings.seed, step)?;
        self.optimizer
            .set_learning_rate(settings.learning_rate * settings.decay(step));
        let start = Instant::now();
        let loss = self.model.loss(&batch.inputs, &batch.targets)?;
        let gradients = loss.backward()?;
        let backward_done = Instant::now();
        self.optimizer.step(&gradients)?;
        let end = Instant::now();
        let loss = loss.to_scalar::<f32>()?;
        ensure!(
            loss.is_finite(),
            "the loss of {} is {loss} at step {step}; take a smaller --learning-rate than {}",
            settings.optimizer,
            settings.learning_rate
        );
        self.record.losses.push(loss);
        self.record.step_seconds.push((end - start).as_secs_f64());
        self.record
            .optimizer_seconds
            .push((end - backward_done).as_secs_f64());
        Ok(loss)
    }

    /// Measures the mean loss on held-out batches and adds it to the curve.
    pub(crate) fn validate(&mut self, batches: &[Batch]) -> Result<f64> {
        let mut total = 0.0;
        for batch in batches {
            total += f64::from(
                self.model
                    .loss(&batch.inputs, &batch.targets)?
                    .to_scalar::<f32>()?,
            );
        }
        ensure!(!batches.is_empty(), "no validation batch was given");
        let validation_loss = total / batches.len() as f64;
        let seconds = self.record.step_seconds.iter().sum();
        self.record.curve.push(CurvePoint {
            step: self.step_number(),
            seconds,
            validation_loss,
        });
        Ok(validation_loss)
    }

    /// What each parameter gets, in the optimizer's own words.
    pub(crate) fn explain(&mut self) -> Result<String> {
        let explanation = self
            .optimizer
            .inner_mut()
            .explain()
            .context("the optimizer cannot explain itself")?;
        Ok(explanation.to_string())
    }
}
