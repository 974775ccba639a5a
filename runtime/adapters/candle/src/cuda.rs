//! HiMuon over variables on a CUDA device, on candle's own stream and pointers: nothing is copied.

use std::cell::RefCell;
use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::backprop::GradStore;
use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::{
    CpuStorage, CudaStorage, Error, InplaceOp1, Layout, Result, Storage, Tensor, Var,
};
use candle_nn::Optimizer;
use himuon::ParameterStep;
use himuon::cuda::{CudaBackend, CudaStream, Device, DeviceMut, DeviceRef};
use himuon::optimizer::StepReport;

use crate::error::CandleError;
use crate::optimizer::HiMuonConfig;
use crate::stack::{needs_a_thread, with_stack_for};
use crate::variables::{NamedVariable, check_types, named};
use crate::weights::{separate_gradient, storage_addresses};

/// HiMuon over the variables of a [`VarMap`](candle_nn::VarMap) that lie on one CUDA device.
///
/// Steps are submitted to the device's stream in candle's order and not waited for. More than 64 variables are stepped on a thread
/// of their own, whose work candle's default stream, which each thread has for itself, is made to follow: such a step first waits for
/// the device.
pub struct CudaHiMuon {
    variables: Vec<NamedVariable>,
    stream: Arc<CudaStream>,
    inner: himuon::HiMuon<Device>,
    last_report: Option<StepReport>,
}

impl std::fmt::Debug for CudaHiMuon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CudaHiMuon")
            .field("inner", &self.inner)
            .field("last_report", &self.last_report)
            .finish()
    }
}

impl CudaHiMuon {
    /// The optimizer behind: its plan, its explanation, its settings.
    pub fn inner(&self) -> &himuon::HiMuon<Device> {
        &self.inner
    }

    /// The optimizer behind, to load a state or change settings.
    pub fn inner_mut(&mut self) -> &mut himuon::HiMuon<Device> {
        &mut self.inner
    }

    /// What the last step did; `None` before the first.
    pub fn last_report(&self) -> Option<&StepReport> {
        self.last_report.as_ref()
    }

    fn step_on(&mut self, gradients: &[Option<Tensor>]) -> Result<StepReport> {
        let held: Vec<_> = gradients
            .iter()
            .map(|g| g.as_ref().map(Tensor::storage_and_layout))
            .collect();
        let mut values = Vec::with_capacity(held.len());
        for (named, held) in self.variables.iter().zip(&held) {
            values.push(match held {
                Some((storage, layout)) => {
                    Some(gradient_values(&named.name, storage, layout, &self.stream)?)
                }
                None => None,
            });
        }
        let (variables, inner, stream) = (&self.variables, &mut self.inner, &self.stream);
        // candle's stream is another one in each thread.
        let elsewhere = needs_a_thread(variables.len());
        let (report, submitted) = with_stack_for(variables.len(), || {
            let inner = RefCell::new(inner);
            let report = RefCell::new(None);
            let stepped = descend(variables, Vec::new(), &|weights| {
                let mut parameters: Vec<_> = weights
                    .into_iter()
                    .zip(&values)
                    .map(|(weight, gradient)| ParameterStep {
                        weight,
                        gradient: gradient.clone(),
                    })
                    .collect();
                let done = inner
                    .borrow_mut()
                    .step(&mut parameters)
                    .map_err(Error::wrap)?;
                report.replace(Some(done));
                Ok(())
            });
            if let Err(error) = stepped {
                if elsewhere {
                    // What was submitted before the error ends with this thread's stream.
                    let _ = stream.synchronize();
                }
                return Err(error);
            }
            let report = report
                .into_inner()
                .ok_or_else(|| Error::msg("the step ran without reaching the variables"))?;
            Ok((report, elsewhere.then(|| stream.record_event(None))))
        })?;
        if let Some(submitted) = submitted
            && submitted.and_then(|event| stream.wait(&event)).is_err()
        {
            stream.context().synchronize().map_err(Error::wrap)?;
        }
        Ok(report)
    }
}

impl Optimizer for CudaHiMuon {
    type Config = HiMuonConfig;

    /// Declares the variables under their names and builds the optimizer on their device's stream.
    ///
    /// # Errors
    /// [`CandleError`] for a variable without a name, of another type than f32, bf16 and f16, on another device or not
    /// contiguous, and for none at all; the errors of [`himuon::cuda::devices`], of the builder and of
    /// [`himuon::HiMuon::check_weight_types`]. All are wrapped in candle's error.
    fn new(vars: Vec<Var>, config: Self::Config) -> Result<Self> {
        let variables = named(vars, &config.variables)?;
        let mut stream: Option<Arc<CudaStream>> = None;
        for NamedVariable { name, variable, .. } in &variables {
            let other = || {
                Error::wrap(CandleError::OtherDevice {
                    tensor: "variable",
                    name: name.clone(),
                    found: variable.device().location(),
                })
            };
            let own = match variable.device() {
                candle_core::Device::Cuda(device) => device.cuda_stream(),
                _ => return Err(other()),
            };
            if !Arc::ptr_eq(stream.get_or_insert_with(|| Arc::clone(&own)), &own) {
                return Err(other());
            }
            if !variable.is_contiguous() {
                let (name, strides) = (name.clone(), variable.stride().to_vec());
                return Err(Error::wrap(CandleError::Strided { name, strides }));
            }
        }
        let Some(stream) = stream else {
            return Err(Error::wrap(CandleError::NoVariable));
        };
        let declared = variables
            .iter()
            .map(|named| (named.name.clone(), named.variable.dims().to_vec()));
        let backend = CudaBackend::new(&stream).map_err(Error::wrap)?;
        let shipped = config.shipped.into_iter();
        let backend = shipped.fold(backend, CudaBackend::kernels);
        let inner = config
            .builder
            .parameters(declared)
            .build_on(Box::new(backend))
            .map_err(Error::wrap)?;
        check_types(&variables, &inner)?;
        Ok(Self {
            variables,
            stream,
            inner,
            last_report: None,
        })
    }

    /// Submits one step over all variables; those without a gradient are left unchanged and named in the report.
    ///
    /// # Errors
    /// The errors of [`himuon::HiMuon::step`], wrapped in candle's.
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let storages = storage_addresses(&self.variables);
        let gradients = self
            .variables
            .iter()
            .map(|named| {
                let gradient = grads.get(&named.variable);
                gradient
                    .map(|g| separate_gradient(g, &storages))
                    .transpose()
            })
            .collect::<Result<Vec<_>>>()?;
        self.last_report = Some(self.step_on(&gradients)?);
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.inner.learning_rate()
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.inner.set_learning_rate(lr);
    }
}

type Body<'a> = dyn Fn(Vec<DeviceMut<'_>>) -> Result<()> + 'a;

/// Runs `body` on the storages of all variables, as `weights.rs` does on the CPU.
fn descend(
    variables: &[NamedVariable],
    collected: Vec<DeviceMut<'_>>,
    body: &Body<'_>,
) -> Result<()> {
    match variables.split_first() {
        None => body(collected),
        Some((first, rest)) => {
            let collected = RefCell::new(collected);
            first.variable.inplace_op1(&Collect {
                name: &first.name,
                rest,
                collected,
                body,
            })
        }
    }
}

struct Collect<'a> {
    name: &'a str,
    rest: &'a [NamedVariable],
    collected: RefCell<Vec<DeviceMut<'a>>>,
    body: &'a Body<'a>,
}

impl InplaceOp1 for Collect<'_> {
    fn name(&self) -> &'static str {
        "himuon-cuda-step"
    }

    fn cpu_fwd(&self, _storage: &mut CpuStorage, _layout: &Layout) -> Result<()> {
        Err(Error::wrap(CandleError::OtherDevice {
            tensor: "variable",
            name: self.name.to_owned(),
            found: candle_core::DeviceLocation::Cpu,
        }))
    }

    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            let (name, strides) = (self.name.to_owned(), layout.stride().to_vec());
            return Err(Error::wrap(CandleError::Strided { name, strides }));
        };
        let (found, stream) = (storage.dtype(), storage.device.cuda_stream());
        let weight = match &mut storage.slice {
            CudaStorageSlice::F32(values) => DeviceMut::part_of(values, start..end, &stream),
            CudaStorageSlice::BF16(values) => DeviceMut::part_of(values, start..end, &stream),
            CudaStorageSlice::F16(values) => DeviceMut::part_of(values, start..end, &stream),
            _ => return Err(wrong_type("variable", self.name, found)),
        };
        let mut collected: Vec<DeviceMut<'_>> = self.collected.take();
        collected.push(weight);
        descend(self.rest, collected, self.body)
    }
}

fn wrong_type(tensor: &'static str, name: &str, found: candle_core::DType) -> Error {
    Error::wrap(CandleError::Type {
        tensor,
        name: name.to_owned(),
        found,
    })
}

/// The values of a contiguous gradient, for as long as its storage is held.
fn gradient_values<'a>(
    name: &str,
    storage: &'a Storage,
    layout: &Layout,
    stream: &'a CudaStream,
) -> Result<DeviceRef<'a>> {
    let Storage::Cuda(cuda) = storage else {
        return Err(Error::wrap(CandleError::OtherDevice {
            tensor: "gradient of",
            name: name.to_owned(),
            found: storage.device().location(),
        }));
    };
    let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
    match &cuda.slice {
        CudaStorageSlice::F32(values) => Ok(DeviceRef::part_of(values, range, stream)),
        CudaStorageSlice::BF16(values) => Ok(DeviceRef::part_of(values, range, stream)),
        CudaStorageSlice::F16(values) => Ok(DeviceRef::part_of(values, range, stream)),
        _ => Err(wrong_type("gradient of", name, cuda.dtype())),
    }
}
