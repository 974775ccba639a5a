//! A program that uses the library through its functions.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, result};
use himuon::cuda::DeviceRef;
use himuon_c::*;

use crate::{declared, said, tensor};

/// A program that has one device current, and tensors and a stream of its own on another.
pub(crate) struct Caller {
    pub(crate) current: Arc<CudaContext>,
    pub(crate) stream: Arc<CudaStream>,
    pub(crate) weights: Vec<CudaSlice<f32>>,
    pub(crate) gradients: Vec<CudaSlice<f32>>,
}

impl Caller {
    /// The device whose number steps are taken on; the other is current.
    pub(crate) const DEVICE: usize = 1;

    /// With a stream of its own.
    pub(crate) fn new(weights: &[Vec<f32>]) -> Self {
        let device = CudaContext::new(Self::DEVICE).unwrap();
        Caller::on(device.new_stream().unwrap(), weights)
    }

    /// With the default stream of the device.
    pub(crate) fn on_default_stream(weights: &[Vec<f32>]) -> Self {
        let device = CudaContext::new(Self::DEVICE).unwrap();
        Caller::on(device.default_stream(), weights)
    }

    fn on(stream: Arc<CudaStream>, weights: &[Vec<f32>]) -> Self {
        let upload = |numbers: &Vec<f32>| stream.clone_htod(numbers).unwrap();
        Caller {
            weights: weights.iter().map(upload).collect(),
            gradients: weights.iter().map(upload).collect(),
            current: CudaContext::new(0).unwrap(),
            stream,
        }
    }

    /// Calls a function of the library, after which the caller's context is still the current one.
    pub(crate) fn call<R>(&self, function: impl FnOnce() -> R) -> R {
        self.current.bind_to_thread().unwrap();
        let returned = function();
        let current = result::ctx::get_current().unwrap();
        assert_eq!(current, Some(self.current.cu_ctx()));
        returned
    }

    pub(crate) fn build(&self) -> *mut Optimizer {
        self.build_of(declared())
    }

    pub(crate) fn build_of(&self, builder: *mut Builder) -> *mut Optimizer {
        let mut optimizer = null_mut();
        let (device, stream) = (Self::DEVICE, self.stream.cu_stream().cast());
        // SAFETY: what the function asks for.
        let build = || unsafe { himuon_build_cuda(builder, device, stream, &mut optimizer) };
        assert_eq!(self.call(build), Status::Ok, "{}", said());
        optimizer
    }

    pub(crate) fn tensors(&self, of: &[CudaSlice<f32>]) -> Vec<Tensor> {
        let slices = of.iter();
        slices
            .map(|slice| {
                let address = DeviceRef::of(slice, &self.stream).address();
                tensor(address as *mut c_void, slice.len())
            })
            .collect()
    }

    /// Takes a step over these tensors.
    pub(crate) fn try_step(
        &self,
        optimizer: *mut Optimizer,
        weights: &[Tensor],
        gradients: &[Tensor],
    ) -> (Status, Report) {
        let (weights, gradients) = (weights.as_ptr(), gradients.as_ptr());
        let mut report = Report::default();
        // SAFETY: what is wrong is refused; all else is there.
        let step = || unsafe { himuon_step(optimizer, weights, gradients, 2, &mut report) };
        let status = self.call(step);
        (status, report)
    }

    pub(crate) fn step(&mut self, optimizer: *mut Optimizer, gradients: &[Vec<f32>]) -> Report {
        for (slice, gradient) in self.gradients.iter_mut().zip(gradients) {
            self.stream.memcpy_htod(gradient, slice).unwrap();
        }
        let (weights, gradients) = (self.tensors(&self.weights), self.tensors(&self.gradients));
        let (status, report) = self.try_step(optimizer, &weights, &gradients);
        assert_eq!(status, Status::Ok, "{}", said());
        report
    }

    pub(crate) fn counts(&self, optimizer: *mut Optimizer) -> Counts {
        let mut counts = Counts::default();
        // SAFETY: both are there.
        let count = || unsafe { himuon_tile_counts(optimizer, &mut counts) };
        assert_eq!(self.call(count), Status::Ok, "{}", said());
        counts
    }

    pub(crate) fn read(&self) -> Vec<Vec<f32>> {
        let slices = self.weights.iter();
        slices
            .map(|slice| self.stream.clone_dtoh(slice).unwrap())
            .collect()
    }

    pub(crate) fn free(&self, optimizer: *mut Optimizer) {
        // SAFETY: built, and used no more.
        self.call(|| unsafe { himuon_free(optimizer) });
    }
}
