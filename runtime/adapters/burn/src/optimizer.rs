//! The optimizer of a module.

use burn_core::module::Module;
use burn_optim::{GradientsParams, LearningRate};
use himuon::optimizer::{HiMuonBuilder, Layout, StepReport};

use crate::error::BurnError;
use crate::host::HostTensors;
use crate::parameters::{Declared, declarable, parameters_of};

/// What a [`HiMuon`] is made from: the declaration of groups and options.
#[derive(Debug)]
pub struct HiMuonConfig {
    /// Groups and options. Parameters are declared by [`HiMuonConfig::init`].
    pub builder: HiMuonBuilder,
}

impl HiMuonConfig {
    /// A config without groups: every parameter would go to AdamW.
    ///
    /// Groups that do not say otherwise have [`Layout::InOut`], as burn's layers store their weights.
    pub fn new() -> Self {
        Self {
            builder: himuon::HiMuon::builder().layout(Layout::InOut),
        }
    }

    /// Declares groups and options.
    pub fn with(mut self, declare: impl FnOnce(HiMuonBuilder) -> HiMuonBuilder) -> Self {
        self.builder = declare(self.builder);
        self
    }

    /// Declares the floating-point parameters of a module under their paths and builds the optimizer.
    ///
    /// # Errors
    /// [`BurnError::Type`] for a parameter of another type than f32, bf16 and f16 that is not frozen,
    /// [`BurnError::Unnamed`] for one that is the module itself, [`BurnError::Shared`] for two of one identifier that
    /// differ in shape, [`BurnError::Diverged`] for two trainable ones that differ in type or device; the errors of
    /// [`HiMuonBuilder::build`] and [`himuon::HiMuon::check_weight_types`].
    pub fn init<M: Module>(self, module: &M) -> Result<HiMuon, BurnError> {
        let parameters = declarable(parameters_of(module)?)?;
        let declared = parameters.iter().map(|p| (p.name.clone(), p.shape.clone()));
        let inner = self.builder.parameters(declared).build()?;
        let types: Vec<_> = parameters.iter().map(|p| p.element).collect();
        inner.check_weight_types(&types)?;
        Ok(HiMuon {
            parameters,
            inner,
            last_report: None,
        })
    }
}

impl Default for HiMuonConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// HiMuon over the parameters of a module.
#[derive(Debug)]
pub struct HiMuon {
    parameters: Vec<Declared>,
    inner: himuon::HiMuon,
    last_report: Option<StepReport>,
}

impl HiMuon {
    /// The optimizer behind: its plan, its explanation, its settings, its state to save.
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

    /// Takes one step at the learning rate `lr` and returns the module with its new weights; the one that is passed keeps
    /// the old ones.
    ///
    /// Parameters without a gradient are left unchanged and named in the report; so are all where `grads` is empty.
    /// Gradients of other modules are left out, as long as some are of this one. Parameters are found by their paths, so
    /// that a module that was loaded from a record goes on.
    ///
    /// # Errors
    /// Nothing has changed then, the learning rate included. [`BurnError::Shape`], [`BurnError::Missing`] and
    /// [`BurnError::Unknown`] for a module that is not the one that the optimizer was made for, [`BurnError::Shared`] and
    /// [`BurnError::Diverged`] for one whose shared parameters have come apart, [`BurnError::Foreign`] for gradients of
    /// which none is of this module, [`BurnError::Type`] for a gradient of another type than f32, bf16 and f16,
    /// [`BurnError::Read`] where a device fails; the errors of [`himuon::HiMuon::step`].
    pub fn step<M: Module>(
        &mut self,
        lr: LearningRate,
        module: &M,
        grads: GradientsParams,
    ) -> Result<M, BurnError> {
        let found = parameters_of(module)?;
        let mut tensors = HostTensors::read(module, &found, &self.parameters, grads)?;
        let mut parameters = tensors.parameters(&self.parameters)?;
        let earlier = self.inner.learning_rate();
        self.inner.set_learning_rate(lr);
        let report = self.inner.step(&mut parameters).inspect_err(|_| {
            self.inner.set_learning_rate(earlier);
        });
        drop(parameters);
        self.last_report = Some(report?);
        Ok(tensors.into_module(module, &self.parameters))
    }
}
