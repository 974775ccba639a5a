//! What a step submits.

use super::CudaBackend;
use crate::backend::BackendError;
use crate::cuda::companion::{CLOCK_PHASES, PhaseTable};
use crate::cuda::error::CudaError;
use crate::cuda::memory::Device;
use crate::launch::{LaunchReport, MatrixStep};
use crate::plan::{Chunk, Launch};

impl CudaBackend {
    /// The word that tells the launches of the present phase whether to run; 0 outside of a recording.
    fn active(&self, word: impl FnOnce(u32, u32) -> u32) -> u64 {
        match (&self.recorded, self.phase) {
            (Some(recorded), Some(phase)) => recorded.word(word(phase, recorded.phase_count())),
            _ => match (&self.fixed, self.scale) {
                (Some(fixed), Some(_)) => {
                    let index = CLOCK_PHASES as u64 + u64::from(word(0, 1));
                    fixed.clock.pointer() + 4 * index
                }
                _ => 0,
            },
        }
    }

    /// The launch that reads whether gradients are finite; none where they are not scaled.
    pub(super) fn submit_begin(&mut self) -> Result<usize, BackendError> {
        let (Some(scale), Some(companion), Some(fixed)) =
            (self.scale, &self.companion, &self.fixed)
        else {
            return Ok(0);
        };
        let always = PhaseTable {
            phases: 0,
            first_step: 0,
            end_step: u32::MAX,
            phase_count: 1,
            advances: false,
        };
        companion
            .begin(&self.stream, &fixed.clock, &always, Some(scale))
            .map_err(|error| launch_failed("himuon_begin".to_owned(), error))?;
        Ok(1)
    }

    /// The launches of one chunk.
    pub(super) fn submit_chunk(
        &mut self,
        launch: &Launch,
        chunk: &Chunk,
        matrices: &mut [MatrixStep<'_, Device>],
    ) -> Result<LaunchReport, BackendError> {
        let key = self.chunk_key(launch, chunk);
        let bound = self.chunks.get(&key);
        let kernel = self.kernels.get(&key.1);
        let (Some(bound), Some(kernel), Some(fixed)) = (bound, kernel, &self.fixed) else {
            return Err(Self::unprepared(launch.spec.to_string()));
        };
        let active = self.active(|phase, _| phase);
        let counters = fixed.counters.pointer();
        if let (Some(scale), Some(companion)) = (self.scale, &self.companion) {
            bound
                .groups()
                .unscale(companion, &self.stream, scale)
                .map_err(|error| launch_failed("himuon_unscale".to_owned(), error))?;
        }
        let kernels = bound
            .submit(kernel, &self.stream, counters, active)
            .map_err(|error| launch_failed(launch.spec.to_string(), error))?;
        if let Some(workspace) = &self.workspace {
            bound.diagnose(workspace, matrices)?;
        }
        Ok(LaunchReport {
            kernels: kernels + usize::from(self.scale.is_some()),
            pending: true,
            tiles: bound.tiles(),
            ..LaunchReport::default()
        })
    }

    /// The element-wise update of all tensors that are bound.
    pub(super) fn submit_adamw(&self) -> Result<(), BackendError> {
        let (Some(companion), Some(fixed)) = (&self.companion, &self.fixed) else {
            return Err(Self::unprepared("adamw".to_owned()));
        };
        let active = self.active(|_, count| count);
        let (tables, clock) = match (&self.recorded, self.phase) {
            (Some(recorded), Some(_)) => (&recorded.adamw, &recorded.clock),
            _ => (&self.adamw, &fixed.clock),
        };
        tables
            .submit(
                companion,
                &self.stream,
                clock,
                &fixed.counters,
                active,
                self.scale,
            )
            .map_err(|error| launch_failed("adamw".to_owned(), error))
    }
}

pub(super) fn launch_failed(spec: String, error: CudaError) -> BackendError {
    match BackendError::from(error) {
        BackendError::Device {
            reason,
            lost: false,
            ..
        } => BackendError::Launch { spec, reason },
        lost => lost,
    }
}
