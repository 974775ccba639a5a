//! The two projections of a block's feed-forward part with a GELU between them, as one operation.

use super::vector_math::{ROWS_PER_BLOCK, exp, on_vectors};
use super::{Kept, matrix, times_transposed, with_dense};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// `gelu(x up^T) down^T`: `x` of shape (rows, width), `up` (hidden, width), `down` (width, hidden).
///
/// GELU in the tanh form, `x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))`.
pub(crate) fn gelu_mlp(x: &Tensor, up: &Tensor, down: &Tensor) -> Result<Tensor> {
    x.apply_op3(
        up,
        down,
        GeluMlp {
            kept: Kept::empty(),
        },
    )
}

struct GeluMlp {
    /// The hidden layer before and after GELU.
    kept: Kept<(Tensor, Tensor)>,
}

/// `2 sqrt(2/pi)` and the weight of the cubic term.
const SLOPE: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

#[inline(always)]
fn gate(x: f32) -> f32 {
    1.0 / (1.0 + exp(-SLOPE * (CUBIC * x * x).mul_add(x, x)))
}

#[inline(always)]
fn gelu_derivative(x: f32) -> f32 {
    let gate = gate(x);
    (x * gate * (1.0 - gate)).mul_add(SLOPE * (3.0 * CUBIC * x).mul_add(x, 1.0), gate)
}

/// Values a thread takes at a time.
const BLOCK: usize = ROWS_PER_BLOCK * 512;

fn gelu(hidden: &[f32]) -> Vec<f32> {
    let mut active = vec![0.0_f32; hidden.len()];
    active
        .par_chunks_mut(BLOCK)
        .zip(hidden.par_chunks(BLOCK))
        .for_each(|(active, hidden)| {
            on_vectors(
                #[inline(always)]
                || {
                    for (active, x) in active.iter_mut().zip(hidden) {
                        *active = x * gate(*x);
                    }
                },
            );
        });
    active
}

/// The gradient before GELU from the gradient after it.
fn gelu_backward(hidden: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0_f32; hidden.len()];
    let blocks = hidden.par_chunks(BLOCK).zip(grad.par_chunks(BLOCK));
    out.par_chunks_mut(BLOCK)
        .zip(blocks)
        .for_each(|(out, (hidden, grad))| {
            on_vectors(
                #[inline(always)]
                || {
                    for ((out, x), grad) in out.iter_mut().zip(hidden).zip(grad) {
                        *out = grad * gelu_derivative(*x);
                    }
                },
            );
        });
    out
}

impl CustomOp3 for GeluMlp {
    fn name(&self) -> &'static str {
        "gelu-mlp"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
        down: &CpuStorage,
        down_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (hidden, (rows, width)) = times_transposed(x, x_layout, up, up_layout)?;
        let active = CpuStorage::F32(gelu(hidden.as_slice::<f32>()?));
        let (y, shape) = times_transposed(
            &active,
            &Layout::contiguous((rows, width)),
            down,
            down_layout,
        )?;
        let hidden = matrix(into_values(hidden)?, rows, width)?;
        let active = matrix(into_values(active)?, rows, width)?;
        self.kept.put((hidden, active));
        Ok((y, Shape::from(shape)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        up: &Tensor,
        down: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (hidden, active) = self.kept.get(self.name())?;
        let down_grad = grad.t()?.matmul(&active)?;
        let active_grad = grad.matmul(&down.detach())?;
        let (rows, width) = hidden.dims2()?;
        let hidden_grad = with_dense(&hidden, self.name(), |hidden| {
            with_dense(&active_grad, self.name(), |grad| {
                matrix(gelu_backward(hidden, grad), rows, width)
            })
        })?;
        let up_grad = hidden_grad.t()?.matmul(&x.detach())?;
        let x_grad = hidden_grad.matmul(&up.detach())?;
        Ok((Some(x_grad), Some(up_grad), Some(down_grad)))
    }
}

/// The values of a freshly computed f32 storage, without a copy.
pub(super) fn into_values(storage: CpuStorage) -> Result<Vec<f32>> {
    match storage {
        CpuStorage::F32(values) => Ok(values),
        other => Ok(other.as_slice::<f32>()?.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check_gradients, sample};
    use super::*;

    #[test]
    fn gelu_agrees_with_candle() -> Result<()> {
        let x = sample(9, &[3000])?.affine(4.0, 0.0)?;
        let expected = x.gelu()?.to_vec1::<f32>()?;
        for (found, expected) in gelu(&x.to_vec1::<f32>()?).iter().zip(expected) {
            assert!((found - expected).abs() < 2e-6, "{found} {expected}");
        }
        Ok(())
    }

    #[test]
    fn gradients_agree_with_differences() -> Result<()> {
        check_gradients(
            &[
                sample(10, &[4, 3])?,
                sample(11, &[6, 3])?,
                sample(12, &[3, 6])?,
            ],
            |a| gelu_mlp(&a[0], &a[1], &a[2]),
        )
    }
}
