//! The sum of a byte's embedding and its position's embedding.

use super::{dense, with_dense};
use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// Rows `bytes_table[b] + position_table[i % context]` for the i-th byte: `bytes_table` of shape (256, width),
/// `position_table` of shape (context, width); the result has one row a byte.
pub(crate) fn embed_bytes(
    bytes: &Arc<[u8]>,
    bytes_table: &Tensor,
    position_table: &Tensor,
) -> Result<Tensor> {
    bytes_table.apply_op2(position_table, EmbedBytes(bytes.clone()))
}

struct EmbedBytes(Arc<[u8]>);

impl CustomOp2 for EmbedBytes {
    fn name(&self) -> &'static str {
        "embed-bytes"
    }

    fn cpu_fwd(
        &self,
        table: &CpuStorage,
        table_layout: &Layout,
        positions: &CpuStorage,
        positions_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (symbols, width) = table_layout.shape().dims2()?;
        let (context, position_width) = positions_layout.shape().dims2()?;
        if symbols != 256 || width != position_width || context == 0 {
            bail!(
                "embed-bytes: found tables of {symbols} x {width} and {context} x {position_width}, \
                 expected 256 x width and context x width"
            );
        }
        let table = dense(table, table_layout, self.name())?;
        let positions = dense(positions, positions_layout, self.name())?;
        let mut out = Vec::with_capacity(self.0.len() * width);
        for (i, &byte) in self.0.iter().enumerate() {
            let symbol = &table[usize::from(byte) * width..][..width];
            let position = &positions[(i % context) * width..][..width];
            out.extend(symbol.iter().zip(position).map(|(s, p)| s + p));
        }
        Ok((CpuStorage::F32(out), Shape::from((self.0.len(), width))))
    }

    fn bwd(
        &self,
        table: &Tensor,
        positions: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (symbols, width) = table.dims2()?;
        let (context, _) = positions.dims2()?;
        let mut table_grad = vec![0.0_f32; symbols * width];
        let mut position_grad = vec![0.0_f32; context * width];
        with_dense(grad, self.name(), |grad| {
            for (i, (&byte, grad)) in self.0.iter().zip(grad.chunks_exact(width)).enumerate() {
                add_to(&mut table_grad[usize::from(byte) * width..][..width], grad);
                add_to(&mut position_grad[(i % context) * width..][..width], grad);
            }
            Ok(())
        })?;
        let table_grad = Tensor::from_vec(table_grad, (symbols, width), &Device::Cpu)?;
        let position_grad = Tensor::from_vec(position_grad, (context, width), &Device::Cpu)?;
        Ok((Some(table_grad), Some(position_grad)))
    }
}

fn add_to(total: &mut [f32], values: &[f32]) {
    for (total, value) in total.iter_mut().zip(values) {
        *total += value;
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check_gradients, sample};
    use super::*;

    #[test]
    fn gradients_agree_with_differences() -> Result<()> {
        let bytes: Arc<[u8]> = Arc::from(&b"abcaab"[..]);
        check_gradients(&[sample(5, &[256, 3])?, sample(6, &[2, 3])?], |a| {
            embed_bytes(&bytes, &a[0], &a[1])
        })
    }
}
