//! One run: a model, an optimizer, and what was measured so far.

use crate::accumulation;
use crate::corpus::{Batch, Corpus};
use crate::model::Gpt;
use crate::recipe;
use crate::record::{CurvePoint, RunRecord};
use crate::settings::RunSettings;
use anyhow::{Context, Result, ensure};
use candle_nn::{Optimizer, VarMap};
use himuon::diagnose::NoiseScale;
use himuon::optimizer::{ProbeOptions, ProbeReading};
use himuon::tuning::TuningTable;
use himuon_candle::{HiMuon, HiMuonConfig};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A probe whose readings go into the record; one matrix is compared with its whole map each time.
fn probe_options(every: u64, kept: &Arc<Mutex<Vec<ProbeReading>>>) -> ProbeOptions {
    let kept = Arc::clone(kept);
    ProbeOptions::every(every)
        .whole_every(every)
        .callback(move |reading| {
            if let Ok(mut kept) = kept.lock() {
                kept.push(reading.clone());
            }
        })
}

/// A model in training.
pub(crate) struct Trainer {
    pub(crate) variables: VarMap,
    pub(crate) optimizer: HiMuon,
    pub(crate) record: RunRecord,
    model: Gpt,
    probes: Arc<Mutex<Vec<ProbeReading>>>,
    noise: Option<NoiseScale>,
}

impl Trainer {
    /// A fresh model under the settings' seed, with the kernels that `tuning` names.
    pub(crate) fn new(settings: RunSettings, tuning: &TuningTable) -> Result<Self> {
        let variables = VarMap::new();
        let model = Gpt::new(settings.model, settings.seed, &variables)?;
        let mut config = HiMuonConfig::new(&variables);
        config.builder = recipe::declare(&settings, config.builder)?.tuning(tuning.clone());
        let probes = Arc::default();
        if settings.choices.probe > 0 {
            let options = probe_options(settings.choices.probe, &probes);
            config.builder = config.builder.probe(options);
        }
        let mut optimizer = HiMuon::new(variables.all_vars(), config)?;
        let noise = accumulation::noise_scale(&settings);
        let record = RunRecord::new(settings, optimizer.inner_mut())?;
        Ok(Self {
            variables,
            optimizer,
            record,
            model,
            probes,
            noise,
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
        let parts = batch.split(settings.choices.accumulate);
        let found = accumulation::gradients(&self.model, &self.variables, &parts)?;
        let backward_done = Instant::now();
        self.optimizer.step(&found.gradients)?;
        let end = Instant::now();
        let loss = found.loss.to_scalar::<f32>()?;
        ensure!(
            loss.is_finite(),
            "the loss of {} is {loss} at step {step}; take a smaller --learning-rate than {}",
            settings.optimizer,
            settings.learning_rate
        );
        if let (Some(noise), Some((small, large))) = (&mut self.noise, found.norms_squared) {
            noise.observe(small, large);
            self.record.noise_scales.push(noise.value());
        }
        if let Ok(mut probes) = self.probes.lock() {
            self.record.probes.append(&mut probes);
        }
        self.record.losses.push(loss);
        self.record.captured_share = self.captured_share();
        self.record.step_seconds.push((end - start).as_secs_f64());
        self.record
            .optimizer_seconds
            .push((end - backward_done).as_secs_f64());
        Ok(loss)
    }

    /// The mean of [`himuon::HiMuon::captured_shares`] over all matrices; none without a coarse part.
    fn captured_share(&mut self) -> Option<f64> {
        let optimizer = self.optimizer.inner_mut();
        let parameters = 0..optimizer.parameter_names().count();
        let shares: Vec<f64> = parameters
            .flat_map(|parameter| optimizer.captured_shares(parameter))
            .collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    }

    /// ||G||_F of the matrices of the blocks, on the next step's batch.
    pub(crate) fn gradient_norm(&self, corpus: &Corpus) -> Result<f64> {
        let settings = &self.record.settings;
        let batch =
            corpus.training_batch(settings.batch_shape(), settings.seed, self.step_number())?;
        let found = accumulation::gradients(&self.model, &self.variables, &[batch])?;
        let variables = self
            .variables
            .data()
            .lock()
            .ok()
            .context("the variables are held elsewhere")?;
        let mut squares = 0.0;
        for (_, variable) in variables
            .iter()
            .filter(|(name, v)| name.starts_with("blocks.") && v.dims().len() == 2)
        {
            if let Some(gradient) = found.gradients.get(variable) {
                squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        Ok(squares.sqrt())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::small_settings;
    use crate::settings::{Choices, OptimizerKind};
    use himuon::tuning::DeviceFingerprint;

    #[test]
    fn readings_of_the_probe_and_the_noise_scale_are_recorded() -> Result<()> {
        let text = include_str!("trainer.rs").repeat(4);
        let corpus = Corpus::of_text("its own source".into(), text.as_bytes())?;
        let settings = RunSettings {
            tile: Some("16".into()),
            choices: Choices {
                probe: 4,
                accumulate: 2,
                ..Choices::default()
            },
            ..small_settings(OptimizerKind::HiMuon)
        };
        let mut trainer = Trainer::new(settings, &TuningTable::new(DeviceFingerprint::cpu()))?;
        while !trainer.is_done() {
            trainer.step(&corpus)?;
        }
        let record = &trainer.record;
        assert_eq!(record.noise_scales.len(), 8);
        // Four matrices in each of two blocks, at steps 0 and 4.
        assert_eq!(record.probes.len(), 16);
        let compared: Vec<_> = record
            .probes
            .iter()
            .filter(|p| p.whole_cosine.is_some())
            .collect();
        assert_eq!(compared.len(), 2);
        assert_ne!(compared[0].parameter, compared[1].parameter);
        assert!(
            compared
                .iter()
                .all(|p| p.whole_cosine > Some(0.3) && p.tile == "16")
        );
        Ok(())
    }
}
