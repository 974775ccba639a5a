//! The optimizer trait of candle-nn.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{Error, Result, Tensor, Var};
use candle_nn::{Optimizer, VarMap};
use himuon::ParameterStep;
use himuon::optimizer::{HiMuonBuilder, StepReport};
use himuon::templates::CompiledKernel;

use crate::error::CandleError;
use crate::stack::with_stack_for;
use crate::variables::{NamedVariable, check_types, named};
use crate::weights::{gradient_values, separate_gradient, storage_addresses, with_weights};

/// What a [`HiMuon`] is made from: the map that names the variables, and the declaration of groups and options.
pub struct HiMuonConfig {
    /// The map in which the variables have their names.
    pub variables: VarMap,
    /// Groups and options. Parameters are declared by [`HiMuon::new`].
    pub builder: HiMuonBuilder,
    /// Kernels for CUDA devices that the program carries compiled; see [`kernels`](Self::kernels).
    pub shipped: Vec<&'static [CompiledKernel]>,
}

impl HiMuonConfig {
    /// A config without groups: every variable would go to AdamW.
    pub fn new(variables: &VarMap) -> Self {
        Self {
            variables: variables.clone(),
            builder: himuon::HiMuon::builder(),
            shipped: Vec::new(),
        }
    }

    /// Uses kernels that the program carries compiled, as `himuon::bundles!()` gives them, on CUDA devices; called again, it
    /// adds to them. A `CudaHiMuon` takes what is not among them from the cache or compiles it; on the CPU they have no effect.
    pub fn kernels(mut self, kernels: &'static [CompiledKernel]) -> Self {
        self.shipped.push(kernels);
        self
    }

    /// Declares groups and options.
    pub fn with(mut self, declare: impl FnOnce(HiMuonBuilder) -> HiMuonBuilder) -> Self {
        self.builder = declare(self.builder);
        self
    }
}

/// HiMuon over the variables of a [`VarMap`].
pub struct HiMuon {
    variables: Vec<NamedVariable>,
    inner: himuon::HiMuon,
    last_report: Option<StepReport>,
}

impl std::fmt::Debug for HiMuon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HiMuon")
            .field("inner", &self.inner)
            .field("last_report", &self.last_report)
            .finish()
    }
}

impl HiMuon {
    /// The optimizer behind: its plan, its explanation, its settings.
    pub fn inner(&self) -> &himuon::HiMuon {
        &self.inner
    }

    /// The optimizer behind, to load a state or change settings.
    pub fn inner_mut(&mut self) -> &mut himuon::HiMuon {
        &mut self.inner
    }

    /// What the last step did; `None` before the first.
    pub fn last_report(&self) -> Option<&StepReport> {
        self.last_report.as_ref()
    }

    /// Takes a step on the gradients, one by parameter in the order of names.
    fn step_on(&mut self, gradients: &[Option<Tensor>]) -> Result<StepReport> {
        let held: Vec<_> = gradients
            .iter()
            .map(|g| g.as_ref().map(Tensor::storage_and_layout))
            .collect();
        let mut values = Vec::with_capacity(held.len());
        for (named, held) in self.variables.iter().zip(&held) {
            values.push(match held {
                Some((storage, layout)) => Some(gradient_values(&named.name, storage, layout)?),
                None => None,
            });
        }
        let (variables, inner) = (&self.variables, &mut self.inner);
        with_stack_for(variables.len(), || {
            let inner = RefCell::new(inner);
            let report = RefCell::new(None);
            with_weights(variables, &|weights| {
                let mut parameters: Vec<_> = weights
                    .into_iter()
                    .zip(&values)
                    .map(|(weight, gradient)| ParameterStep {
                        weight,
                        gradient: *gradient,
                    })
                    .collect();
                let done = inner
                    .borrow_mut()
                    .step(&mut parameters)
                    .map_err(Error::wrap)?;
                report.replace(Some(done));
                Ok(())
            })?;
            report
                .into_inner()
                .ok_or_else(|| Error::msg("the step ran without reaching the variables"))
        })
    }
}

impl Optimizer for HiMuon {
    type Config = HiMuonConfig;

    /// Declares the variables under their names and builds the optimizer.
    ///
    /// # Errors
    /// [`CandleError`] for a variable without a name, of another type than f32, bf16 and f16, on another device or not
    /// contiguous; the errors of [`HiMuonBuilder::build`] and [`himuon::HiMuon::check_weight_types`]. All are wrapped in candle's error.
    fn new(vars: Vec<Var>, config: Self::Config) -> Result<Self> {
        let variables = named(vars, &config.variables)?;
        for NamedVariable { name, variable, .. } in &variables {
            if !variable.device().is_cpu() {
                let (name, found) = (name.clone(), variable.device().location());
                return Err(Error::wrap(CandleError::Device {
                    tensor: "variable",
                    name,
                    found,
                }));
            }
            if !variable.is_contiguous() {
                let (name, strides) = (name.clone(), variable.stride().to_vec());
                return Err(Error::wrap(CandleError::Strided { name, strides }));
            }
        }
        let declared = variables
            .iter()
            .map(|named| (named.name.clone(), named.variable.dims().to_vec()));
        let inner = config
            .builder
            .parameters(declared)
            .build()
            .map_err(Error::wrap)?;
        check_types(&variables, &inner)?;
        Ok(Self {
            variables,
            inner,
            last_report: None,
        })
    }

    /// Takes one step over all variables; those without a gradient are left unchanged and named in the report.
    ///
    /// # Errors
    /// The errors of [`himuon::HiMuon::step`], wrapped in candle's.
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let storages = storage_addresses(&self.variables);
        let gradients = self
            .variables
            .iter()
            .map(|named| {
                grads
                    .get(&named.variable)
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
