//! What comes before a step's launches: kernels, memory, tables.

use super::bound::Bound;
use super::{COUNTERS, CudaBackend, Fixed};
use crate::backend::BackendError;
use crate::cuda::companion::{CLOCK_PHASES, CLOCK_UPDATE};
use crate::cuda::driver::DeviceMemory;
use crate::cuda::memory::Device;
use crate::launch::StepWork;
use crate::plan::Plan;

impl CudaBackend {
    /// Kernels, memory that every plan needs, and the workspace of this one.
    pub(super) fn prepare_plan(&mut self, plan: &Plan) -> Result<(), BackendError> {
        for launch in &plan.launches {
            for chunk in &launch.chunks {
                let key = self.key_of(&launch.kernel_of(chunk));
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
