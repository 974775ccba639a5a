//! What a step is about to map, wherever it lives.

use half::{bf16, f16};
use himuon_templates::Element;

use crate::backend::BackendError;
use crate::launch::GroupScalars;
use crate::memory::Memory;
use crate::plan::PlannedMatrix;
use crate::tensor::TensorView;

/// What a step maps of one matrix: alpha g + beta (mu buf + c g).
pub(super) fn mapped_momentum<M: Memory>(
    allocator: &M::Allocator,
    gradient: Option<M::Ref<'_>>,
    momentum: Option<M::Ref<'_>>,
    scalars: &GroupScalars,
) -> Result<Vec<f32>, BackendError> {
    let read = |tensor: Option<M::Ref<'_>>| match tensor {
        Some(tensor) => numbers::<M>(allocator, tensor),
        None => Ok(Vec::new()),
    };
    let buffers = read(momentum)?.into_iter().chain(std::iter::repeat(0.0));
    let pairs = read(gradient)?.into_iter().zip(buffers);
    Ok(pairs
        .map(|(g, buffer)| scalars.alpha * g + scalars.beta * (scalars.mu * buffer + scalars.c * g))
        .collect())
}

/// One matrix of a parameter's tensor.
pub(super) fn matrix_of<'a, M: Memory>(
    tensor: M::Ref<'a>,
    planned: &PlannedMatrix,
) -> Option<M::Ref<'a>> {
    let matrices = M::matrices(tensor, planned.rows, planned.columns);
    matrices.get(planned.index).cloned()
}

/// A tensor, wherever it lives, widened to `f32`.
fn numbers<M: Memory>(
    allocator: &M::Allocator,
    tensor: M::Ref<'_>,
) -> Result<Vec<f32>, BackendError> {
    let element = tensor.element();
    let mut copy = M::empty(element);
    M::save(allocator, tensor, &mut copy, "the probe")?;
    let bytes = M::bytes(allocator, &copy)?;
    Ok(match element {
        Element::F32 => {
            let numbers = bytes.as_chunks().0.iter();
            numbers.map(|b| f32::from_le_bytes(*b)).collect()
        }
        Element::Bf16 => {
            let numbers = bytes.as_chunks().0.iter();
            numbers.map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
        }
        Element::F16 => {
            let numbers = bytes.as_chunks().0.iter();
            numbers.map(|b| f16::from_le_bytes(*b).to_f32()).collect()
        }
    })
}
