//! Causal self-attention with its two projections, as one operation.

use super::attention_core::{backward, forward};
use super::mlp::into_values;
use super::{Kept, matrix, times_transposed, with_dense};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// How the rows of the input divide into sequences and the columns into heads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionShape {
    pub(crate) context: usize,
    pub(crate) heads: usize,
}

/// Causal attention of `x` (rows, width): every `context` rows are one sequence, every `width / heads` columns one head.
/// `qkv` (3 width, width) projects to queries, keys and values, `out` (width, width) projects the result.
pub(crate) fn causal_attention(
    x: &Tensor,
    qkv: &Tensor,
    out: &Tensor,
    shape: AttentionShape,
) -> Result<Tensor> {
    x.apply_op3(
        qkv,
        out,
        CausalAttention {
            shape,
            kept: Kept::empty(),
        },
    )
}

struct CausalAttention {
    shape: AttentionShape,
    /// Queries, keys and values side by side, and the mixed values before the output projection.
    kept: Kept<(Tensor, Tensor)>,
}

impl CustomOp3 for CausalAttention {
    fn name(&self) -> &'static str {
        "causal-attention"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        qkv: &CpuStorage,
        qkv_layout: &Layout,
        out: &CpuStorage,
        out_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = x_layout.shape().dims2()?;
        let AttentionShape { context, heads } = self.shape;
        if context == 0
            || heads == 0
            || !rows.is_multiple_of(context)
            || !width.is_multiple_of(heads)
        {
            bail!(
                "causal-attention: found {rows} x {width}, expected whole sequences of {context} rows and {heads} equal heads"
            );
        }
        let (projected, (_, triple)) = times_transposed(x, x_layout, qkv, qkv_layout)?;
        if triple != 3 * width {
            bail!(
                "causal-attention: found a projection to {triple} columns, expected {}",
                3 * width
            );
        }
        let mixed = CpuStorage::F32(forward(projected.as_slice::<f32>()?, width, self.shape));
        let (y, shape) =
            times_transposed(&mixed, &Layout::contiguous((rows, width)), out, out_layout)?;
        let projected = matrix(into_values(projected)?, rows, triple)?;
        self.kept
            .put((projected, matrix(into_values(mixed)?, rows, width)?));
        Ok((y, Shape::from(shape)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        qkv: &Tensor,
        out: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (projected, mixed) = self.kept.get(self.name())?;
        let (rows, width) = mixed.dims2()?;
        let out_grad = grad.t()?.matmul(&mixed)?;
        let mixed_grad = grad.matmul(&out.detach())?;
        let projected_grad = with_dense(&projected, self.name(), |projected| {
            with_dense(&mixed_grad, self.name(), |grad| {
                matrix(
                    backward(projected, grad, width, self.shape),
                    rows,
                    3 * width,
                )
            })
        })?;
        let qkv_grad = projected_grad.t()?.matmul(&x.detach())?;
        let x_grad = projected_grad.matmul(&qkv.detach())?;
        Ok((Some(x_grad), Some(qkv_grad), Some(out_grad)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check_gradients, sample};
    use super::*;
    use candle_core::D;

    const SHAPE: AttentionShape = AttentionShape {
        context: 5,
        heads: 2,
    };

    /// The same map in candle's plain operations.
    fn reference(x: &Tensor, qkv: &Tensor, out: &Tensor, shape: AttentionShape) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let AttentionShape { context, heads } = shape;
        let projected =
            x.matmul(&qkv.t()?)?
                .reshape((rows / context, context, 3, heads, width / heads))?;
        let part = |i: usize| {
            projected
                .narrow(2, i, 1)?
                .squeeze(2)?
                .transpose(1, 2)?
                .contiguous()
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = (q.matmul(&k.t()?)? / ((width / heads) as f64).sqrt())?;
        let mask: Vec<f32> = (0..context * context)
            .map(|i| {
                if i % context > i / context {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
            .collect();
        let scores =
            scores.broadcast_add(&Tensor::from_vec(mask, (context, context), x.device())?)?;
        let mixed = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        mixed
            .transpose(1, 2)?
            .reshape((rows, width))?
            .matmul(&out.t()?)
    }

    #[test]
    fn agrees_with_plain_operations() -> Result<()> {
        for (context, heads, head_width) in [(5, 2, 3), (33, 3, 32), (64, 1, 40)] {
            let width = heads * head_width;
            let shape = AttentionShape { context, heads };
            let x = sample(13, &[2 * context, width])?;
            let (qkv, out) = (
                sample(14, &[3 * width, width])?,
                sample(15, &[width, width])?,
            );
            let expected = reference(&x, &qkv, &out, shape)?;
            let found = causal_attention(&x, &qkv, &out, shape)?;
            let gap = (found - &expected)?
                .sqr()?
                .sum_all()?
                .to_scalar::<f32>()?
                .sqrt();
            let norm = expected.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
            assert!(
                gap < 1e-5 * norm,
                "{shape:?}: relative error {}",
                gap / norm
            );
        }
        Ok(())
    }

    #[test]
    fn gradients_agree_with_differences() -> Result<()> {
        let scaled = |seed, shape: &[usize]| sample(seed, shape)?.affine(0.5, 0.0);
        check_gradients(
            &[
                scaled(16, &[10, 6])?,
                scaled(17, &[18, 6])?,
                scaled(18, &[6, 6])?,
            ],
            |a| causal_attention(&a[0], &a[1], &a[2], SHAPE),
        )
    }

    #[test]
    fn later_bytes_do_not_matter() -> Result<()> {
        let (qkv, out) = (sample(14, &[18, 6])?, sample(15, &[6, 6])?);
        let x = sample(13, &[5, 6])?;
        let changed = Tensor::cat(&[x.narrow(0, 0, 4)?, sample(19, &[1, 6])?], 0)?;
        let before = causal_attention(&x, &qkv, &out, SHAPE)?.to_vec2::<f32>()?;
        let after = causal_attention(&changed, &qkv, &out, SHAPE)?.to_vec2::<f32>()?;
        assert_eq!(before[..4], after[..4]);
        assert_ne!(before[4], after[4]);
        Ok(())
    }
}
