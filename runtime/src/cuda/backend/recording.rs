//! Steps in graphs.

use super::CudaBackend;
use super::submit::launch_failed;
use crate::backend::{BackendError, Recording};
use crate::cuda::recorded::Recorded;
use crate::plan::Plan;

impl CudaBackend {
    /// Tables and clock of a recording; those of an earlier one go.
    pub(super) fn begin_recording(&mut self, recording: Recording) -> Result<(), BackendError> {
        self.companion()?;
        let recorded = Recorded::new(&self.stream, recording)?;
        self.chunks.retain(|(phase, ..), _| phase.is_none());
        self.recorded = Some(recorded);
        Ok(())
    }

    /// Every launch of the plan must be one that a word on the device can switch off.
    pub(super) fn check_kernels_follow_the_device(&self, plan: &Plan) -> Result<(), BackendError> {
        let chunks = plan.launches.iter();
        let chunks =
            chunks.flat_map(|launch| launch.chunks.iter().map(move |chunk| (launch, chunk)));
        for (launch, chunk) in chunks {
            let kernel = self.kernels.get(&self.key_of(&launch.kernel_of(chunk)));
            if !kernel.is_some_and(|kernel| kernel.tiles.follows_the_device()) {
                return Err(BackendError::Unsupported {
                    backend: "cuda",
                    spec: launch.spec.to_string(),
                    reason: "its kernel does not read the step on the device, so a graph cannot hold it beside \
                             other phases; use a tile that is resident"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The launch that decides at each replay what runs.
    pub(super) fn submit_clock(&self) -> Result<(), BackendError> {
        let (Some(recorded), Some(companion)) = (&self.recorded, &self.companion) else {
            return Err(Self::unprepared("a recorded step".to_owned()));
        };
        recorded
            .submit_clock(companion, &self.stream, self.scale)
            .map_err(|error| launch_failed("himuon_begin".to_owned(), error))
    }
}
