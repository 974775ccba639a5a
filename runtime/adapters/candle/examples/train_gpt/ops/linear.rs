//! `y = x w^T`, the projection without bias.

use super::times_transposed;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// `x w^T`: `x` of shape (rows, inputs), `weight` of shape (outputs, inputs), as candle lays it out.
pub(crate) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    x.apply_op2(weight, Linear)
}

struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (y, shape) = times_transposed(x, x_layout, w, w_layout)?;
        Ok((y, Shape::from(shape)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x, w) = (x.detach(), w.detach());
        Ok((Some(grad.matmul(&w)?), Some(grad.t()?.matmul(&x)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check_gradients, sample};
    use super::*;

    #[test]
    fn gradients_agree_with_differences() -> Result<()> {
        check_gradients(&[sample(1, &[5, 7])?, sample(2, &[3, 7])?], |a| {
            linear(&a[0], &a[1])
        })
    }

    #[test]
    fn a_weight_of_another_width_is_refused() -> Result<()> {
        let error = linear(&sample(1, &[5, 7])?, &sample(2, &[3, 6])?).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("found a weight of 6 inputs, expected 7"),
            "{error}"
        );
        Ok(())
    }
}
