//! Mean cross entropy of byte predictions.

use super::vector_math::{ROWS_PER_BLOCK, on_vectors, softmax_in_place};
use super::{Kept, dense, matrix};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::Arc;

/// The mean over rows of `-ln softmax(logits)[target]`, in nats, as a scalar: `logits` of shape (rows, 256), one target a row.
pub(crate) fn cross_entropy(logits: &Tensor, targets: &Arc<[u8]>) -> Result<Tensor> {
    logits.apply_op1(CrossEntropy {
        targets: targets.clone(),
        gradient: Kept::empty(),
    })
}

struct CrossEntropy {
    targets: Arc<[u8]>,
    gradient: Kept<Tensor>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, classes) = layout.shape().dims2()?;
        if classes != 256 || rows != self.targets.len() || rows == 0 {
            bail!(
                "cross-entropy: found {rows} x {classes} logits, expected {} x 256 (at least one row)",
                self.targets.len()
            );
        }
        let mut gradient = dense(logits, layout, self.name())?.to_vec();
        let weight = 1.0 / rows as f32;
        let losses: Vec<f64> = gradient
            .par_chunks_mut(ROWS_PER_BLOCK * classes)
            .zip(self.targets.par_chunks(ROWS_PER_BLOCK))
            .map(|(rows, targets)| {
                on_vectors(
                    #[inline(always)]
                    || losses_and_gradients(rows, targets, weight),
                )
            })
            .collect();
        self.gradient.put(matrix(gradient, rows, classes)?);
        let mean = losses.iter().sum::<f64>() / rows as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(&self, _logits: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let outer = f64::from(grad.to_scalar::<f32>()?);
        let gradient = self.gradient.get(self.name())?;
        if outer == 1.0 {
            Ok(Some(gradient))
        } else {
            Ok(Some((gradient * outer)?))
        }
    }
}

/// Turns each row of logits into `(softmax - one-hot) * weight` and returns the sum of the losses.
#[inline(always)]
fn losses_and_gradients(rows: &mut [f32], targets: &[u8], weight: f32) -> f64 {
    let mut total = 0.0_f64;
    for (row, &target) in rows.chunks_exact_mut(256).zip(targets) {
        let logit = row[usize::from(target)];
        total += f64::from(softmax_in_place(row) - logit);
        row[usize::from(target)] -= 1.0;
        for value in row.iter_mut() {
            *value *= weight;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check_gradients, sample};
    use super::*;

    #[test]
    fn agrees_with_log_softmax() -> Result<()> {
        let logits = sample(7, &[40, 256])?;
        let targets: Arc<[u8]> = (0..40).map(|i| (i * 53 % 256) as u8).collect();
        let log_softmax = candle_nn::ops::log_softmax(&logits, 1)?.to_vec2::<f32>()?;
        let expected: f32 = log_softmax
            .iter()
            .zip(&*targets)
            .map(|(row, &t)| -row[usize::from(t)])
            .sum::<f32>()
            / 40.0;
        let found = cross_entropy(&logits, &targets)?.to_scalar::<f32>()?;
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        Ok(())
    }

    #[test]
    fn gradients_agree_with_differences() -> Result<()> {
        let targets: Arc<[u8]> = Arc::from(&[3_u8, 255, 0][..]);
        check_gradients(&[sample(8, &[3, 256])?], |a| cross_entropy(&a[0], &targets))
    }

    #[test]
    fn another_number_of_targets_is_refused() -> Result<()> {
        let targets: Arc<[u8]> = Arc::from(&[3_u8][..]);
        let error = cross_entropy(&sample(8, &[3, 256])?, &targets).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("found 3 x 256 logits, expected 1 x 256"),
            "{error}"
        );
        Ok(())
    }
}
