//! Gradients of a batch in one or several parts, and what their norms say of the noise.

use crate::corpus::Batch;
use crate::model::Gpt;
use crate::settings::RunSettings;
use anyhow::{Context, Result};
use candle_core::Tensor;
use candle_core::backprop::GradStore;
use candle_nn::VarMap;
use himuon::diagnose::NoiseScale;

/// Of the moving averages of the noise scale: about ten steps.
const DECAY: f64 = 0.9;

/// The gradients of a batch.
pub(crate) struct Accumulated {
    pub(crate) gradients: GradStore,
    /// The mean loss of the parts.
    pub(crate) loss: Tensor,
    /// Mean |G_b|^2 of the parts and |G_B|^2 of their mean; none of one part.
    pub(crate) norms_squared: Option<(f64, f64)>,
}

/// The noise scale, in sequences, of a run that accumulates gradients.
pub(crate) fn noise_scale(settings: &RunSettings) -> Option<NoiseScale> {
    let parts = settings.choices.accumulate;
    let sequences = settings.batch as f64;
    if parts < 2 {
        return None;
    }
    NoiseScale::new(sequences / parts as f64, sequences, DECAY)
}

/// Averages the gradients of the parts, which are of equal size.
pub(crate) fn gradients(model: &Gpt, variables: &VarMap, parts: &[Batch]) -> Result<Accumulated> {
    let (first, rest) = parts.split_first().context("a batch without sequences")?;
    let mut loss = model.loss(&first.inputs, &first.targets)?;
    let mut gradients = loss.backward()?;
    if rest.is_empty() {
        return Ok(Accumulated {
            gradients,
            loss,
            norms_squared: None,
        });
    }
    let variables = variables.all_vars();
    // Only the variables' gradients are wanted, and their sum of squares is of one part at a time.
    let mut small = norm_squared(&gradients, &variables)?;
    loss = loss.detach();
    for part in rest {
        let own = model.loss(&part.inputs, &part.targets)?;
        let more = own.backward()?;
        small += norm_squared(&more, &variables)?;
        for variable in &variables {
            if let Some(added) = more.get(variable) {
                let sum = match gradients.get(variable) {
                    Some(sum) => (sum + added)?,
                    None => added.clone(),
                };
                gradients.insert(variable, sum);
            }
        }
        loss = (loss + own.detach())?;
    }
    let share = 1.0 / parts.len() as f64;
    for variable in &variables {
        if let Some(sum) = gradients.remove(variable) {
            gradients.insert(variable, (sum * share)?);
        }
    }
    let large = norm_squared(&gradients, &variables)?;
    Ok(Accumulated {
        gradients,
        loss: (loss * share)?,
        norms_squared: Some((small * share, large)),
    })
}

fn norm_squared(gradients: &GradStore, variables: &[candle_core::Var]) -> Result<f64> {
    let mut sum = 0.0;
    for gradient in variables
        .iter()
        .filter_map(|variable| gradients.get(variable))
    {
        sum += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Corpus;
    use crate::settings::OptimizerKind;
    use crate::settings::tests::small_settings;

    #[test]
    fn parts_add_up_to_the_whole_batch_and_their_norms_are_larger() -> Result<()> {
        let text = include_str!("accumulation.rs").repeat(4);
        let corpus = Corpus::of_text("its own source".into(), text.as_bytes())?;
        let settings = small_settings(OptimizerKind::HiMuon);
        let variables = VarMap::new();
        let model = Gpt::new(settings.model, 1, &variables)?;
        let batch = || corpus.training_batch(settings.batch_shape(), 1, 0);
        let whole = gradients(&model, &variables, &batch()?.split(0))?;
        let parts = gradients(&model, &variables, &batch()?.split(4))?;
        assert_eq!(whole.norms_squared, None);
        let loss = |found: &Accumulated| found.loss.to_scalar::<f32>();
        assert!((loss(&whole)? - loss(&parts)?).abs() < 1e-5);
        let all = variables.all_vars();
        let expected = norm_squared(&whole.gradients, &all)?;
        let (small, large) = parts.norms_squared.context("four parts")?;
        assert!(
            (large / expected - 1.0).abs() < 1e-4,
            "{large} for {expected}"
        );
        assert!(small > large, "{small} {large}");
        for variable in &all {
            let difference = (whole.gradients.get(variable).context("whole")?
                - parts.gradients.get(variable).context("parts")?)?;
            let size = difference
                .abs()?
                .flatten_all()?
                .max(0)?
                .to_scalar::<f32>()?;
            assert!(size < 1e-5, "{size}");
        }
        Ok(())
    }
}
