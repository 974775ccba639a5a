//! What the optimizer keeps between steps.

use himuon_templates::Element;

use crate::memory::Memory;

/// The state of one parameter. Buffers are empty until the first step that needs them.
#[derive(Debug)]
pub(crate) enum ParameterState<M: Memory> {
    Muon {
        momentum: M::Buffer,
        /// f32, rows of all matrices of the parameter; empty without row normalisation.
        row_second_moment: M::Buffer,
        /// f32, the bases of all matrices of the parameter, W x r each; empty without a coarse part.
        coarse_basis: M::Buffer,
    },
    AdamW {
        /// f32.
        exp_avg: M::Buffer,
        /// f32.
        exp_avg_sq: M::Buffer,
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
        }
    }

    pub(crate) fn adamw() -> Self {
        ParameterState::AdamW {
            exp_avg: M::empty(Element::F32),
            exp_avg_sq: M::empty(Element::F32),
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
            } => vec![momentum, row_second_moment, coarse_basis],
            ParameterState::AdamW {
                exp_avg,
                exp_avg_sq,
                ..
            } => vec![exp_avg, exp_avg_sq],
        }
    }

    pub(crate) fn buffers_mut(&mut self) -> Vec<&mut M::Buffer> {
        match self {
            ParameterState::Muon {
                momentum,
                row_second_moment,
                coarse_basis,
            } => vec![momentum, row_second_moment, coarse_basis],
            ParameterState::AdamW {
                exp_avg,
                exp_avg_sq,
                ..
            } => vec![exp_avg, exp_avg_sq],
        }
    }
}
