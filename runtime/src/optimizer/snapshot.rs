//! A copy of weights and state, put back when a launch fails.

use super::ParameterStep;
use super::parameter::Parameter;
use crate::backend::BackendError;
use crate::memory::Memory;
use crate::tensor::TensorView;

/// Weights and state before a step.
#[derive(Debug)]
pub(crate) struct Snapshot<M: Memory> {
    weights: Vec<M::Buffer>,
    states: Vec<Vec<M::Buffer>>,
}

const PURPOSE: &str = "the snapshot";

impl<M: Memory> Snapshot<M> {
    /// Copies everything that the step will change into `slot`, whose memory is used again.
    pub(crate) fn take(
        slot: &mut Option<Snapshot<M>>,
        allocator: &M::Allocator,
        declared: &[Parameter<M>],
        parameters: &[ParameterStep<'_, M>],
    ) -> Result<(), BackendError> {
        let snapshot = slot.get_or_insert_with(|| Snapshot {
            weights: Vec::new(),
            states: Vec::new(),
        });
        let of = |tensor: M::Ref<'_>| M::empty(tensor.element());
        for passed in parameters.iter().skip(snapshot.weights.len()) {
            snapshot.weights.push(of(M::read(&passed.weight)));
        }
        for parameter in declared.iter().skip(snapshot.states.len()) {
            let buffers = parameter.state.buffers().into_iter();
            snapshot
                .states
                .push(buffers.map(|buffer| of(M::whole(buffer))).collect());
        }
        for (copy, passed) in snapshot.weights.iter_mut().zip(parameters) {
            M::save(allocator, M::read(&passed.weight), copy, PURPOSE)?;
        }
        for (copies, parameter) in snapshot.states.iter_mut().zip(declared) {
            for (copy, buffer) in copies.iter_mut().zip(parameter.state.buffers()) {
                M::save(allocator, M::whole(buffer), copy, PURPOSE)?;
            }
        }
        Ok(())
    }

    /// Puts everything back.
    pub(crate) fn restore(
        &self,
        allocator: &M::Allocator,
        declared: &mut [Parameter<M>],
        parameters: &mut [ParameterStep<'_, M>],
    ) -> Result<(), BackendError> {
        for (copy, passed) in self.weights.iter().zip(parameters) {
            M::restore(allocator, copy, M::reborrow(&mut passed.weight))?;
        }
        for (copies, parameter) in self.states.iter().zip(declared) {
            for (copy, buffer) in copies.iter().zip(parameter.state.buffers_mut()) {
                M::restore(allocator, copy, M::whole_mut(buffer))?;
            }
        }
        Ok(())
    }
}
