//! The differentiable operations of the model, each with its backward pass written by hand.
//!
//! candle's own graph would keep and add up a gradient for every intermediate tensor. Here one operation spans a whole
//! sublayer, so that only the residual stream and the weights pass through candle's gradient store; matrix products run on
//! candle's own product, everything else on vectorised loops over rows, split among threads in fixed blocks, so that the
//! same input gives the same bits on any number of threads.

mod attention;
mod attention_core;
mod cross_entropy;
mod embedding;
#[cfg(test)]
mod gradient_check;
mod linear;
mod mlp;
mod norm;
mod small_product;
mod vector_math;

pub(crate) use attention::{AttentionShape, causal_attention};
pub(crate) use cross_entropy::cross_entropy;
pub(crate) use embedding::embed_bytes;
pub(crate) use linear::linear;
pub(crate) use mlp::gelu_mlp;
pub(crate) use norm::rms_norm;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Device, Layout, Result, Tensor, bail};
use std::sync::Mutex;

/// The values of a dense f32 tensor in row-major order.
fn dense<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
    operation: &'static str,
) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "{operation}: found strides {:?}, expected a contiguous tensor",
            layout.stride()
        );
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Runs `body` on the values of a dense f32 tensor.
fn with_dense<R>(
    tensor: &Tensor,
    operation: &'static str,
    body: impl FnOnce(&[f32]) -> Result<R>,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(cpu) => body(dense(cpu, layout, operation)?),
        _ => bail!(
            "{operation}: found a tensor on {:?}, expected one on the CPU",
            tensor.device()
        ),
    }
}

/// `x w^T` for `x` of shape (rows, inputs) and `w` of shape (outputs, inputs): shape (rows, outputs).
fn times_transposed(
    x: &CpuStorage,
    x_layout: &Layout,
    w: &CpuStorage,
    w_layout: &Layout,
) -> Result<(CpuStorage, (usize, usize))> {
    let (rows, inputs) = x_layout.shape().dims2()?;
    let (outputs, w_inputs) = w_layout.shape().dims2()?;
    if inputs != w_inputs {
        bail!("linear: found a weight of {w_inputs} inputs, expected {inputs}");
    }
    let product = x.matmul(
        w,
        (1, rows, outputs, inputs),
        x_layout,
        &w_layout.transpose(0, 1)?,
    )?;
    Ok((product, (rows, outputs)))
}

/// What a forward pass leaves for its backward pass. Each operation is made for one call, so it holds at most one value.
struct Kept<T>(Mutex<Option<T>>);

impl<T: Clone> Kept<T> {
    fn empty() -> Self {
        Self(Mutex::new(None))
    }

    fn put(&self, value: T) {
        *self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(value);
    }

    fn get(&self, operation: &'static str) -> Result<T> {
        match &*self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
        {
            Some(value) => Ok(value.clone()),
            None => {
                bail!("{operation}: the backward pass was asked for before the forward pass ran")
            }
        }
    }
}

/// A matrix on the CPU made of these values, outside any graph.
fn matrix(values: Vec<f32>, rows: usize, columns: usize) -> Result<Tensor> {
    Tensor::from_vec(values, (rows, columns), &Device::Cpu)
}
