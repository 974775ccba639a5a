//! Where an optimizer works: in this process's memory, or on a CUDA device.

use std::sync::Arc;

use himuon::HiMuon;
use himuon::cuda::{CudaError, CudaStream, CurrentContext, Device, check_address};
use himuon::memory::{Host, Memory};
use himuon::overlap::Operand;

use crate::optimizer::Optimizer;
use crate::status::Failure;
use crate::tensor::Tensor;

/// An optimizer and its place.
#[derive(Debug)]
pub(crate) enum Place {
    Host(HiMuon),
    Device(OnDevice),
}

/// An optimizer of a device.
#[derive(Debug)]
pub(crate) struct OnDevice {
    pub(crate) optimizer: HiMuon<Device>,
    stream: Arc<CudaStream>,
    /// Addresses and lengths of the last step's tensors, which were found to be the device's: they are not asked for again.
    known: Vec<(usize, usize)>,
}

impl OnDevice {
    pub(crate) fn new(optimizer: HiMuon<Device>, stream: Arc<CudaStream>) -> Self {
        OnDevice {
            optimizer,
            stream,
            known: Vec::new(),
        }
    }

    /// Refuses tensors that the device's kernels cannot use.
    fn check_addresses(&mut self, weights: &[Tensor], gradients: &[Tensor]) -> Result<(), Failure> {
        let weights = (0..).zip(weights).map(|(i, t)| (Operand::Weight(i), t));
        let gradients = (0..).zip(gradients).map(|(i, t)| (Operand::Gradient(i), t));
        let tensors = || weights.clone().chain(gradients.clone());
        let found: Vec<_> = tensors().map(|(_, t)| (t.data as usize, t.len)).collect();
        if found == self.known {
            return Ok(());
        }
        for (operand, tensor) in tensors().filter(|(_, tensor)| tensor.holds_numbers()) {
            match check_address(self.stream.context(), tensor.data as u64) {
                Ok(()) => {}
                Err(error @ CudaError::Elsewhere { .. }) => {
                    return Err(Failure::argument(format!("{operand}: {error}")));
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.known = found;
        Ok(())
    }
}

/// Does the same with an optimizer of either place.
macro_rules! in_place {
    ($place:expr, $optimizer:ident => $body:expr) => {
        match $place {
            $crate::place::Place::Host($optimizer) => $body,
            $crate::place::Place::Device($crate::place::OnDevice {
                optimizer: $optimizer,
                ..
            }) => $body,
        }
    };
}
pub(crate) use in_place;

impl Place {
    /// What is current for the caller's thread, to be kept for as long as a device is asked for anything.
    ///
    /// # Errors
    /// The driver does not tell.
    pub(crate) fn current(&self) -> Result<Option<CurrentContext>, Failure> {
        match self {
            Place::Host(_) => Ok(None),
            Place::Device(_) => keep_current().map(Some),
        }
    }

    /// Refuses tensors of another place, where that can be known: whatever is no device's is taken for this process's memory.
    pub(crate) fn check_addresses(
        &mut self,
        weights: &[Tensor],
        gradients: &[Tensor],
    ) -> Result<(), Failure> {
        match self {
            Place::Host(_) => Ok(()),
            Place::Device(on_device) => on_device.check_addresses(weights, gradients),
        }
    }
}

/// What is current for the caller's thread is so again when the result is dropped.
///
/// # Errors
/// No driver, or it does not tell.
pub(crate) fn keep_current() -> Result<CurrentContext, Failure> {
    Ok(CurrentContext::keep()?)
}

/// An optimizer for the length of a call, at whose end the caller's context is the current one again.
pub(crate) struct InUse<'a> {
    pub(crate) place: &'a mut Place,
    _current: Option<CurrentContext>,
}

/// # Safety
/// `optimizer` is null or comes from `himuon_build` or `himuon_build_cuda` and is this thread's.
pub(crate) unsafe fn optimizer_at<'a>(optimizer: *mut Optimizer) -> Result<InUse<'a>, Failure> {
    // SAFETY: the caller's word.
    let optimizer = unsafe { optimizer.as_mut() }.ok_or_else(|| {
        Failure::argument(
            "the optimizer is null, expected one of himuon_build or himuon_build_cuda",
        )
    })?;
    if optimizer.is_forked() {
        return Err(Failure::argument(match optimizer.place {
            Place::Host(_) => {
                "this optimizer was built before the process forked, and its threads are the parent's; build one here"
            }
            Place::Device(_) => {
                "this optimizer was built before the process forked, and CUDA works in no forked process; start a process \
                 without a fork and build one there"
            }
        }));
    }
    let place = &mut optimizer.place;
    let _current = place.current()?;
    Ok(InUse { place, _current })
}

/// A memory whose tensors the caller passes as addresses.
pub(crate) trait Addressed: Memory {
    /// The numbers of a tensor, to be read.
    ///
    /// # Safety
    /// [`Tensor::range`] was `Ok`; the numbers are in this memory and written to by nobody for as long as the result is
    /// used, on a device until the optimizer's stream has passed the step.
    unsafe fn numbers<'a>(tensor: &Tensor) -> Self::Ref<'a>;

    /// The numbers of a tensor, to be changed.
    ///
    /// # Safety
    /// As [`numbers`](Self::numbers), and they are nobody else's.
    unsafe fn numbers_mut<'a>(tensor: &Tensor) -> Self::Mut<'a>;
}

impl Addressed for Host {
    unsafe fn numbers<'a>(tensor: &Tensor) -> Self::Ref<'a> {
        // SAFETY: the caller's word.
        unsafe { tensor.read() }
    }

    unsafe fn numbers_mut<'a>(tensor: &Tensor) -> Self::Mut<'a> {
        // SAFETY: the caller's word.
        unsafe { tensor.write() }
    }
}

impl Addressed for Device {
    unsafe fn numbers<'a>(tensor: &Tensor) -> Self::Ref<'a> {
        // SAFETY: the caller's word.
        unsafe { Self::Ref::from_raw(tensor.data as u64, tensor.known_element(), tensor.len) }
    }

    unsafe fn numbers_mut<'a>(tensor: &Tensor) -> Self::Mut<'a> {
        // SAFETY: the caller's word.
        unsafe { Self::Mut::from_raw(tensor.data as u64, tensor.known_element(), tensor.len) }
    }
}
