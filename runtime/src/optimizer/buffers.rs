//! What the optimizer keeps between steps.

use himuon_templates::Element;
use safetensors::Dtype;

use crate::memory::Memory;
use crate::state;
use crate::tensor::TensorView;

/// How the remainders of master weights are held: by their bits.
pub(crate) const REMAINDER: Element = Element::Bf16;

/// The state of one parameter. Buffers are empty until the first step that needs them.
#[derive(Debug)]
pub(crate) enum ParameterState<M: Memory> {
    Muon {
        momentum: M::Buffer,
        /// f32, rows of all matrices of the parameter; empty without row normalisation.
        row_second_moment: M::Buffer,
        /// f32, the bases of all matrices of the parameter, W x r each; empty without a coarse part.
        coarse_basis: M::Buffer,
        /// 16-bit integers; empty without master weights.
        remainder: M::Buffer,
    },
    AdamW {
        /// f32.
        exp_avg: M::Buffer,
        /// f32.
        exp_avg_sq: M::Buffer,
        /// 16-bit integers; empty without master weights.
        remainder: M::Buffer,
        /// Updates so far: a step without a gradient does not count.
        updates: u64,
    },
}

impl<M: Memory> ParameterState<M> {
    pub(crate) fn muon(momentum: Element) -> Self {
        ParameterState::Muon {
            momentum: M::empty(momentum),
            row_second_moment: M::empty(Element::F32),
            coarse_basis: M::empty(Element::F32),
            remainder: M::empty(REMAINDER),
        }
    }

    pub(crate) fn adamw() -> Self {
        ParameterState::AdamW {
            exp_avg: M::empty(Element::F32),
            exp_avg_sq: M::empty(Element::F32),
            remainder: M::empty(REMAINDER),
            updates: 0,
        }
    }

    /// Everything that a launch may change.
    pub(crate) fn buffers(&self) -> Vec<&M::Buffer> {
        match self {
            ParameterState::Muon {
                momentum,
                row_second_moment,
                coarse_basis,
                remainder,
            } => vec![momentum, row_second_moment, coarse_basis, remainder],
            ParameterState::AdamW {
                exp_avg,
                exp_avg_sq,
                remainder,
                ..
            } => vec![exp_avg, exp_avg_sq, remainder],
        }
    }

    pub(crate) fn buffers_mut(&mut self) -> Vec<&mut M::Buffer> {
        match self {
            ParameterState::Muon {
                momentum,
                row_second_moment,
                coarse_basis,
                remainder,
            } => vec![momentum, row_second_moment, coarse_basis, remainder],
            ParameterState::AdamW {
                exp_avg,
                exp_avg_sq,
                remainder,
                ..
            } => vec![exp_avg, exp_avg_sq, remainder],
        }
    }

    /// What the tensors are called in a file, behind the parameter's name, and their types there.
    pub(crate) fn names(&self) -> Vec<(&'static str, Dtype)> {
        const MASTER: (&str, Dtype) = ("master_remainder", Dtype::I16);
        match self {
            ParameterState::Muon { momentum, .. } => vec![
                (
                    "momentum_buffer",
                    state::dtype_of(M::whole(momentum).element()),
                ),
                ("row_second_moment", Dtype::F32),
                ("coarse_basis", Dtype::F32),
                MASTER,
            ],
            ParameterState::AdamW { .. } => {
                vec![("exp_avg", Dtype::F32), ("exp_avg_sq", Dtype::F32), MASTER]
            }
        }
    }
}
