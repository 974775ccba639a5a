//! Root-mean-square normalisation of each row with a gain per column.

use super::vector_math::{ROWS_PER_BLOCK, on_vectors, sum_over};
use super::{dense, matrix, with_dense};
use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

const EPSILON: f32 = 1e-6;

/// `x / sqrt(mean(x^2) + 1e-6) * gain` over the last dimension: `x` of shape (rows, width), `gain` of shape (width).
pub(crate) fn rms_norm(x: &Tensor, gain: &Tensor) -> Result<Tensor> {
    x.apply_op2(gain, RmsNorm)
}

struct RmsNorm;

#[inline(always)]
fn inverse_rms(row: &[f32]) -> f32 {
    let mean = sum_over([row], |[x]| x * x) / row.len() as f32;
    1.0 / (mean + EPSILON).sqrt()
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, width) = x_layout.shape().dims2()?;
        let x = dense(x, x_layout, self.name())?;
        let gain = dense(gain, gain_layout, self.name())?;
        if gain.len() != width || width == 0 {
            bail!(
                "rms-norm: found a gain of {} values, expected {width} (at least one)",
                gain.len()
            );
        }
        let mut y = vec![0.0_f32; x.len()];
        let block = ROWS_PER_BLOCK * width;
        y.par_chunks_mut(block)
            .zip(x.par_chunks(block))
            .for_each(|(y, x)| {
                on_vectors(
                    #[inline(always)]
                    || normalise_rows(y, x, gain),
                );
            });
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, width) = x.dims2()?;
        let name = self.name();
        let (x_grad, gain_grad) = with_dense(x, name, |x| {
            with_dense(gain, name, |gain| {
                with_dense(grad, name, |grad| Ok(backward(x, gain, grad)))
            })
        })?;
        let gain_grad = Tensor::from_vec(gain_grad, width, &Device::Cpu)?;
        Ok((Some(matrix(x_grad, rows, width)?), Some(gain_grad)))
    }
}

#[inline(always)]
fn normalise_rows(y: &mut [f32], x: &[f32], gain: &[f32]) {
    for (y, x) in y
        .chunks_exact_mut(gain.len())
        .zip(x.chunks_exact(gain.len()))
    {
        let inverse = inverse_rms(x);
        for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
            *y = x * inverse * gain;
        }
    }
}

/// The gradients of the input and of the gain.
fn backward(x: &[f32], gain: &[f32], grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let block = ROWS_PER_BLOCK * gain.len();
    let mut x_grad = vec![0.0_f32; x.len()];
    let gain_parts: Vec<Vec<f32>> = x_grad
        .par_chunks_mut(block)
        .zip(x.par_chunks(block).zip(grad.par_chunks(block)))
        .map(|(x_grad, (x, grad))| {
            on_vectors(
                #[inline(always)]
                || backward_rows(x_grad, x, gain, grad),
            )
        })
        .collect();
    let mut gain_grad = vec![0.0_f32; gain.len()];
    for part in gain_parts {
        for (total, value) in gain_grad.iter_mut().zip(part) {
            *total += value;
        }
    }
    (x_grad, gain_grad)
}

/// With `n = x / rms` and `h = grad * gain`: `x_grad = (h - n mean(h n)) / rms`; returns the sum over rows of `grad * n`.
#[inline(always)]
fn backward_rows(x_grad: &mut [f32], x: &[f32], gain: &[f32], grad: &[f32]) -> Vec<f32> {
    let width = gain.len();
    let mut gain_grad = vec![0.0_f32; width];
    for ((x_grad, x), grad) in x_grad
        .chunks_exact_mut(width)
        .zip(x.chunks_exact(width))
        .zip(grad.chunks_exact(width))
    {
        let inverse = inverse_rms(x);
        let projection =
            sum_over([grad, gain, x], |[grad, gain, x]| grad * gain * x) * inverse / width as f32;
        let inputs = x.iter().zip(grad).zip(gain);
        for (((x, grad), gain), (x_grad, gain_grad)) in
            inputs.zip(x_grad.iter_mut().zip(&mut gain_grad))
        {
            let normalised = x * inverse;
            *x_grad = (grad * gain - normalised * projection) * inverse;
            *gain_grad += grad * normalised;
        }
    }
    gain_grad
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check_gradients, sample};
    use super::*;

    #[test]
    fn rows_have_unit_mean_square() -> Result<()> {
        let y = rms_norm(
            &sample(1, &[70, 48])?,
            &Tensor::ones(48, candle_core::DType::F32, &Device::Cpu)?,
        )?;
        for mean in y.sqr()?.mean(1)?.to_vec1::<f32>()? {
            assert!((mean - 1.0).abs() < 1e-4, "{mean}");
        }
        Ok(())
    }

    #[test]
    fn gradients_agree_with_differences() -> Result<()> {
        check_gradients(&[sample(3, &[35, 6])?, sample(4, &[6])?], |a| {
            rms_norm(&a[0], &a[1])
        })
    }

    #[test]
    fn a_gain_of_another_width_is_refused() -> Result<()> {
        let error = rms_norm(&sample(1, &[5, 7])?, &sample(2, &[6])?).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("found a gain of 6 values, expected 7"),
            "{error}"
        );
        Ok(())
    }
}
