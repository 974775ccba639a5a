//! What the optimizer keeps between steps.

use half::{bf16, f16};
use himuon_templates::Element;

use crate::backend::BackendError;
use crate::tensor::TensorMut;

/// Numbers of one of the three storage types.
#[derive(Clone, Debug)]
pub(crate) enum Buffer {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Buffer {
    /// A buffer without memory; [`Buffer::allocate`] gives it some.
    pub(crate) fn empty(element: Element) -> Self {
        match element {
            Element::F32 => Buffer::F32(Vec::new()),
            Element::Bf16 => Buffer::Bf16(Vec::new()),
            Element::F16 => Buffer::F16(Vec::new()),
        }
    }

    pub(crate) fn element(&self) -> Element {
        match self {
            Buffer::F32(_) => Element::F32,
            Buffer::Bf16(_) => Element::Bf16,
            Buffer::F16(_) => Element::F16,
        }
    }

    /// Grows to `len` zeros; a buffer that has them already is left as it is.
    pub(crate) fn allocate(&mut self, len: usize, purpose: &str) -> Result<(), BackendError> {
        match self {
            Buffer::F32(values) => zeros(values, len, purpose),
            Buffer::Bf16(values) => zeros(values, len, purpose),
            Buffer::F16(values) => zeros(values, len, purpose),
        }
    }

    pub(crate) fn as_mut(&mut self) -> TensorMut<'_> {
        match self {
            Buffer::F32(values) => TensorMut::F32(values),
            Buffer::Bf16(values) => TensorMut::Bf16(values),
            Buffer::F16(values) => TensorMut::F16(values),
        }
    }

    /// Becomes equal to another buffer, in its own memory where that suffices.
    fn copy_from(&mut self, other: &Buffer) {
        match (self, other) {
            (Buffer::F32(values), Buffer::F32(others)) => values.clone_from(others),
            (Buffer::Bf16(values), Buffer::Bf16(others)) => values.clone_from(others),
            (Buffer::F16(values), Buffer::F16(others)) => values.clone_from(others),
            (this, other) => *this = other.clone(),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Buffer::F32(values) => bytemuck::cast_slice(values),
            Buffer::Bf16(values) => bytemuck::cast_slice(values),
            Buffer::F16(values) => bytemuck::cast_slice(values),
        }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Buffer::F32(values) => bytemuck::cast_slice_mut(values),
            Buffer::Bf16(values) => bytemuck::cast_slice_mut(values),
            Buffer::F16(values) => bytemuck::cast_slice_mut(values),
        }
    }
}

/// Grows a vector to `len` zeros, or says how many bytes were not to be had.
pub(crate) fn zeros<T: Clone + Default>(
    values: &mut Vec<T>,
    len: usize,
    purpose: &str,
) -> Result<(), BackendError> {
    let missing = len.saturating_sub(values.len());
    values
        .try_reserve_exact(missing)
        .map_err(|_| BackendError::OutOfMemory {
            purpose: purpose.to_owned(),
            bytes: (missing * size_of::<T>()) as u64,
        })?;
    values.resize(len, T::default());
    Ok(())
}

/// The state of one parameter. Buffers are empty until the first step that needs them.
#[derive(Clone, Debug)]
pub(crate) enum ParameterState {
    Muon {
        momentum: Buffer,
        /// Rows of all matrices of the parameter; empty without row normalisation.
        row_second_moment: Vec<f32>,
    },
    AdamW {
        exp_avg: Vec<f32>,
        exp_avg_sq: Vec<f32>,
        /// Updates so far: a step without a gradient does not count.
        updates: u64,
    },
}

impl ParameterState {
    /// Becomes equal to another state, in its own memory where that suffices.
    pub(crate) fn copy_from(&mut self, other: &ParameterState) {
        match (self, other) {
            (
                ParameterState::Muon {
                    momentum,
                    row_second_moment,
                },
                ParameterState::Muon {
                    momentum: other_momentum,
                    row_second_moment: other_rows,
                },
            ) => {
                momentum.copy_from(other_momentum);
                row_second_moment.clone_from(other_rows);
            }
            (
                ParameterState::AdamW {
                    exp_avg,
                    exp_avg_sq,
                    updates,
                },
                ParameterState::AdamW {
                    exp_avg: other_avg,
                    exp_avg_sq: other_sq,
                    updates: other_updates,
                },
            ) => {
                exp_avg.clone_from(other_avg);
                exp_avg_sq.clone_from(other_sq);
                *updates = *other_updates;
            }
            (this, other) => *this = other.clone(),
        }
    }
}
