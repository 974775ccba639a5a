//! What a run measured: plain data, saved in checkpoints and in report.json.

use crate::settings::RunSettings;
use anyhow::Result;
use himuon::optimizer::ProbeReading;
use serde::{Deserialize, Serialize};

/// A validation in the course of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CurvePoint {
    /// Steps taken before it.
    pub(crate) step: u64,
    /// Seconds of training before it, validations and checkpoints not counted.
    pub(crate) seconds: f64,
    /// Mean cross entropy in nats a byte.
    pub(crate) validation_loss: f64,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) settings: RunSettings,
    /// Training loss of each step, before it.
    pub(crate) losses: Vec<f32>,
    /// Seconds of each step: forward, backward and optimizer.
    pub(crate) step_seconds: Vec<f64>,
    /// Seconds of each step's optimizer.
    pub(crate) optimizer_seconds: Vec<f64>,
    pub(crate) curve: Vec<CurvePoint>,
    /// Nominal operations of the optimizer's matrix products, the mean of all steps.
    pub(crate) operations_per_step: f64,
    /// Numbers of all parameters.
    pub(crate) parameters: u64,
    /// Bytes that the optimizer keeps between steps.
    pub(crate) state_bytes: u64,
    /// Bytes of scratch memory of the optimizer's largest launch, over all steps.
    pub(crate) workspace_bytes: u64,
    /// At least this share of the matrices' nuclear norm lay in their coarse parts at the last step, the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) captured_share: Option<f64>,
    /// What the probe saw of the tiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) probes: Vec<ProbeReading>,
    /// The noise scale of the gradients after each step, in sequences; none of it without micro-batches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) noise_scales: Vec<Option<f64>>,
}

impl RunRecord {
    /// An empty record, with what the optimizer's plans say of all steps to come.
    pub(crate) fn new(settings: RunSettings, optimizer: &mut himuon::HiMuon) -> Result<Self> {
        let (mut operations, mut workspace_bytes) = (0.0, 0);
        for step in 0..settings.steps {
            let plan = optimizer.plan(step)?;
            operations += plan.operations() as f64;
            workspace_bytes = workspace_bytes.max(plan.workspace_bytes);
        }
        let totals = optimizer.explain()?.totals;
        Ok(Self {
            operations_per_step: operations / settings.steps as f64,
            settings,
            losses: Vec::new(),
            step_seconds: Vec::new(),
            optimizer_seconds: Vec::new(),
            curve: Vec::new(),
            parameters: totals.parameters,
            state_bytes: totals.state_bytes,
            workspace_bytes,
            captured_share: None,
            probes: Vec::new(),
            noise_scales: Vec::new(),
        })
    }

    /// The last validation's loss; NaN before the first.
    pub(crate) fn validation_loss(&self) -> f64 {
        self.curve
            .last()
            .map_or(f64::NAN, |point| point.validation_loss)
    }
}

/// The middle value, or the mean of the two in the middle; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Mean and sample standard deviation; the latter is NaN of fewer than two values.
pub(crate) fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert_eq!(mean_and_deviation(&[1.0, 2.0, 3.0]), (2.0, 1.0));
        assert!(mean_and_deviation(&[1.0]).1.is_nan());
    }
}
