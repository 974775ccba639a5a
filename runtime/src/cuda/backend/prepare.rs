//! What comes before a step's launches: kernels, memory, tables.

use std::sync::Arc;

use himuon_templates::Storage;

use super::bound::{Bound, StepKernels};
use super::{COUNTERS, CudaBackend, Fixed, KernelKey};
use crate::backend::BackendError;
use crate::cuda::companion::{CLOCK_PHASES, CLOCK_UPDATE, Companion};
use crate::cuda::coupling::{CouplingKernels, Form};
use crate::cuda::driver::DeviceMemory;
use crate::cuda::error::CudaError;
use crate::cuda::kernel::TileKernel;
use crate::cuda::memory::Device;
use crate::cuda::module::Loader;
use crate::launch::StepWork;
use crate::plan::Plan;

impl CudaBackend {
    /// Kernels, memory that every plan needs, and the workspace of this one.
    pub(super) fn prepare_plan(&mut self, plan: &Plan) -> Result<(), BackendError> {
        for launch in &plan.launches {
            for chunk in &launch.chunks {
                let key = self.kernel_key(launch, chunk);
                self.load_kernel(&key)?;
            }
        }
        if !plan.elementwise.is_empty() || self.scale.is_some() {
            self.companion()?;
        }
        if self.fixed.is_none() {
            let stream = &self.stream;
            self.fixed = Some(Fixed {
                counters: DeviceMemory::zeroed(stream, 4 * COUNTERS, "counters")?,
                clock: DeviceMemory::zeroed(stream, 4 * (CLOCK_PHASES + 2), "the step clock")?,
            });
        }
        self.reserve(plan)
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

    /// Exactly as much workspace as the plan says, or what there is if that is more and no budget forbids it.
    fn reserve(&mut self, plan: &Plan) -> Result<(), BackendError> {
        let wanted = usize::try_from(plan.workspace_bytes).unwrap_or(usize::MAX);
        let held = self.workspace.as_ref().map_or(0, DeviceMemory::bytes);
        let budget = plan.budget_bytes.unwrap_or(u64::MAX);
        if held >= wanted && held as u64 <= budget {
            return Ok(());
        }
        match (self.workspace.take(), &mut self.recorded) {
            (Some(memory), Some(recorded)) => recorded.outgrown.push(memory),
            // Both at once may not fit.
            (memory, _) => drop(memory),
        }
        if wanted > 0 {
            let memory = DeviceMemory::zeroed(&self.stream, wanted, "workspace")?;
            self.workspace = Some(memory);
        }
        Ok(())
    }

    /// Writes the tables of every chunk.
    pub(super) fn bind_chunks(
        &mut self,
        plan: &Plan,
        work: &StepWork<'_, Device>,
    ) -> Result<(), BackendError> {
        let workspace = self.workspace.as_ref().map_or(0, DeviceMemory::pointer);
        for (launch, chunks) in plan.launches.iter().zip(&work.launches) {
            for (chunk, matrices) in launch.chunks.iter().zip(chunks) {
                if matrices.is_empty() {
                    continue;
                }
                let key = self.chunk_key(launch, chunk);
                let kernel = self.load_kernel(&key.1)?;
                let form = key.1.2;
                let bound = self.chunks.entry(key).or_insert_with(|| Bound::new(form));
                let scaled = self.scale.is_some();
                let stream = &self.stream;
                let uploaded = bound.bind(&kernel, launch, matrices, stream, workspace, scaled)?;
                self.uploads += u64::from(uploaded);
                if self.phase.is_some() {
                    bound.pin();
                }
            }
        }
        Ok(())
    }

    /// Writes the tables of AdamW, and its update number.
    pub(super) fn bind_adamw(&mut self, work: &StepWork<'_, Device>) -> Result<(), BackendError> {
        if work.elementwise.is_empty() {
            return Ok(());
        }
        self.companion()?;
        let (Some(companion), Some(fixed)) = (&self.companion, &self.fixed) else {
            return Err(Self::unprepared("adamw".to_owned()));
        };
        let uploaded = match (&mut self.recorded, self.phase) {
            (Some(recorded), Some(_)) => {
                let tables = &mut recorded.adamw;
                let uploaded = tables.bind(companion, &self.stream, &work.elementwise)?;
                tables.pin();
                uploaded
            }
            _ => {
                let uploaded = self
                    .adamw
                    .bind(companion, &self.stream, &work.elementwise)?;
                fixed.clock.set_word(CLOCK_UPDATE, self.adamw.updates)?;
                uploaded
            }
        };
        self.uploads += u64::from(uploaded);
        Ok(())
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
