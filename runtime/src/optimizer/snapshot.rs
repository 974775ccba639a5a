//! A copy of weights and state, put back when a launch fails.

use super::ParameterStep;
use super::buffers::{Buffer, ParameterState};
use super::parameter::Parameter;
use crate::backend::BackendError;

/// Weights and state before a step.
#[derive(Debug)]
pub(crate) struct Snapshot {
    weights: Vec<Buffer>,
    states: Vec<ParameterState>,
}

impl Snapshot {
    /// Copies everything that the step will change into `slot`, whose memory is used again.
    pub(crate) fn take(
        slot: &mut Option<Snapshot>,
        declared: &[Parameter],
        parameters: &[ParameterStep<'_>],
    ) -> Result<(), BackendError> {
        let snapshot = slot.get_or_insert_with(|| Snapshot {
            weights: Vec::new(),
            states: Vec::new(),
        });
        snapshot
            .weights
            .resize_with(parameters.len(), || Buffer::F32(Vec::new()));
        for (copy, passed) in snapshot.weights.iter_mut().zip(parameters) {
            if copy.element() != passed.weight.element() {
                *copy = Buffer::empty(passed.weight.element());
            }
            copy.allocate(passed.weight.len(), "the snapshot")?;
            copy.bytes_mut()
                .copy_from_slice(passed.weight.as_ref().bytes());
        }
        let missing = declared.iter().skip(snapshot.states.len());
        snapshot
            .states
            .extend(missing.map(|parameter| parameter.state.clone()));
        for (copy, parameter) in snapshot.states.iter_mut().zip(declared) {
            copy.copy_from(&parameter.state);
        }
        Ok(())
    }

    /// Puts everything back.
    pub(crate) fn restore(&self, declared: &mut [Parameter], parameters: &mut [ParameterStep<'_>]) {
        for (copy, passed) in self.weights.iter().zip(parameters) {
            passed.weight.bytes_mut().copy_from_slice(copy.bytes());
        }
        for (copy, parameter) in self.states.iter().zip(declared) {
            parameter.state.copy_from(copy);
        }
    }
}
