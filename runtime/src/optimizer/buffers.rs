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
    pub(crate) fn buffers(&self) -> [&M::Buffer; 2] {
        match self {
            ParameterState::Muon {
                momentum: first,
                row_second_moment: second,
            }
            | ParameterState::AdamW {
                exp_avg: first,
                exp_avg_sq: second,
                ..
            } => [first, second],
        }
    }

    pub(crate) fn buffers_mut(&mut self) -> [&mut M::Buffer; 2] {
        match self {
            ParameterState::Muon {
                momentum: first,
                row_second_moment: second,
            }
            | ParameterState::AdamW {
                exp_avg: first,
                exp_avg_sq: second,
                ..
            } => [first, second],
        }
    }
}
