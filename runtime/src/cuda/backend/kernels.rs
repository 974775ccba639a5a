//! The kernels of a backend: compiled side by side, loaded one after the other, kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use himuon_codegen::compile::Part;
use himuon_codegen::render::Rendered;
use himuon_templates::{KernelSpec, Storage};

use super::bound::StepKernels;
use super::{CudaBackend, KernelKey};
use crate::backend::{BackendError, KernelRequest};
use crate::cuda::companion::Companion;
use crate::cuda::coupling::{CouplingKernels, Form};
use crate::cuda::error::CudaError;
use crate::cuda::kernel::TileKernel;
use crate::cuda::module::{Loader, are_compiled, compile_ahead, has_compiler};

impl CudaBackend {
    /// Compiles what is going to be loaded, as far as that is not there yet.
    pub(super) fn compile_kernels(&self, kernels: &BTreeSet<KernelRequest>, adamw: bool) {
        let mut texts: Vec<(Rendered, Part)> = Vec::new();
        for request in kernels {
            let key = self.key_of(request);
            if !self.kernels.contains_key(&key) {
                texts.extend(self.texts_of(&key));
            }
        }
        if (adamw || self.scale.is_some()) && self.companion.is_none() {
            texts.extend(Companion::text().ok());
        }
        compile_ahead(&self.device, &self.shipped, texts);
    }

    /// Whether a variant can be compiled here, or has been before.
    pub(super) fn is_at_hand(&self, spec: &KernelSpec, variant: &str) -> bool {
        let key = self.key_of(&KernelRequest {
            spec: spec.clone(),
            variant: Some(variant.to_owned()),
            row_normalised: false,
        });
        let texts = || self.texts_of(&key);
        has_compiler() || are_compiled(&self.device, &self.shipped, &texts())
    }

    /// What a kernel is compiled from; nothing where it cannot be computed, which its load says.
    fn texts_of(&self, (spec, variant, form): &KernelKey) -> Vec<(Rendered, Part)> {
        let Ok(method) = self.method(spec, variant.as_deref(), *form) else {
            return Vec::new();
        };
        let tiles = method.text(&self.device, &form.tiles(spec), form.purpose());
        let known = |storage| self.couplings.iter().any(|(known, _)| *known == storage);
        let coupling = match form {
            Form::OnePass | Form::Within if !known(spec.storage) => {
                CouplingKernels::text(&spec.storage).ok()
            }
            _ => None,
        };
        tiles.ok().into_iter().chain(coupling).collect()
    }

    pub(super) fn load_kernel(&mut self, key: &KernelKey) -> Result<StepKernels, BackendError> {
        if let Some(kernels) = self.kernels.get(key) {
            return Ok(kernels.clone());
        }
        let (spec, variant, form) = key;
        let method = self.method(spec, variant.as_deref(), *form)?;
        let loaded = TileKernel::load(self.loader(), &form.tiles(spec), method, form.purpose());
        let tiles = Arc::new(loaded.map_err(|error| refusal(key, error))?);
        let coupling = match form {
            Form::Alone => None,
            Form::OnePass | Form::Within => Some(self.coupling(spec.storage)?),
        };
        let kernels = StepKernels { tiles, coupling };
        self.kernels.insert(key.clone(), kernels.clone());
        Ok(kernels)
    }

    /// The launches around mapped tiles of weights and momenta of these types.
    fn coupling(&mut self, storage: Storage) -> Result<Arc<CouplingKernels>, BackendError> {
        let mut known = self.couplings.iter();
        if let Some((_, kernels)) = known.find(|(known, _)| *known == storage) {
            return Ok(Arc::clone(kernels));
        }
        let kernels = Arc::new(CouplingKernels::load(self.loader(), &storage)?);
        self.couplings.push((storage, Arc::clone(&kernels)));
        Ok(kernels)
    }

    fn loader(&self) -> Loader<'_> {
        Loader {
            context: self.stream.context(),
            device: &self.device,
            shipped: &self.shipped,
        }
    }

    pub(super) fn companion(&mut self) -> Result<&Companion, BackendError> {
        match &mut self.companion {
            Some(companion) => Ok(companion),
            place => {
                let loader = Loader {
                    context: self.stream.context(),
                    device: &self.device,
                    shipped: &self.shipped,
                };
                Ok(place.insert(Companion::load(loader)?))
            }
        }
    }
}

/// A variant that does not load can be replaced by another; nothing else can.
fn refusal((spec, variant, _): &KernelKey, error: CudaError) -> BackendError {
    match (variant, BackendError::from(error)) {
        (None, error) | (_, error @ BackendError::Device { lost: true, .. }) => error,
        (Some(variant), error) => BackendError::Variant {
            spec: Box::new(spec.clone()),
            variant: variant.clone(),
            reason: error.to_string(),
        },
    }
}
