//! A step in a CUDA graph of its own.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::Weak;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaGraph, CudaStream};

use super::error::CudaError;
use super::memory::Device;
use super::per_thread::PER_THREAD;
use crate::backend::BackendError;
use crate::error::Error;
use crate::optimizer::{HiMuon, ParameterStep, StepError, StepReport};

/// The steps of an optimizer as a graph: one launch of the host for all launches of the device.
///
/// With several phases there is a graph of each besides the one of all: a replay, whose step the host knows, launches the
/// one that is needed and none of the others' kernels.
pub struct CapturedStep {
    /// All phases; the device decides which of them runs.
    whole: CudaGraph,
    /// One for each phase, in the order of the recording, with its number of kernels; none where there is one phase.
    phases: Vec<(CudaGraph, usize)>,
    /// Gone when the tables that the graph points to are: with the optimizer, or at its next recording.
    recording: Weak<()>,
}

impl std::fmt::Debug for CapturedStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CapturedStep").finish_non_exhaustive()
    }
}

// SAFETY: the handles of a graph may be used from any thread, one at a time: it is moved, or reached through `&mut`.
unsafe impl Send for CapturedStep {}

impl CapturedStep {
    /// Launches the graph of all phases without telling the optimizer: the device goes on to the next step by itself, with
    /// scalars and pointers as they were written last. A launch past the recorded steps changes nothing, and
    /// [`check_replays`](HiMuon::check_replays) says so.
    ///
    /// # Errors
    /// The driver refuses the graph; the optimizer is gone, or has recorded other steps since.
    ///
    /// # Safety
    /// The weights and gradients that the optimizer was passed last, by a capture, a replay or a step, are still there
    /// and nobody else's until the stream has passed the launch; no state was loaded since.
    pub unsafe fn launch_alone(&mut self) -> Result<(), Error> {
        if self.recording.strong_count() == 0 {
            return Err(outdated());
        }
        let refused = CudaError::call("launching a captured step");
        let launched = self.whole.launch().map_err(refused);
        Ok(launched.map_err(BackendError::from)?)
    }
}

fn outdated() -> Error {
    let reason = "the graph is of another optimizer or of an earlier recording, whose tables are gone; use the graph \
                  that was captured last"
        .to_owned();
    StepError::Recording { reason }.into()
}

/// Whether it is a default stream: that of all threads, which is none or the handle that CUDA names for it, or that of each
/// thread. What a graph launches there from another thread would follow nothing of this one's.
fn is_default(stream: &CudaStream) -> bool {
    (stream.cu_stream() as usize) <= PER_THREAD
}

impl HiMuon<Device> {
    /// Captures the steps `steps`, which begin with the next one, into a graph; nothing runs yet. To put them into
    /// a graph of your own, beside forward and backward passes, call
    /// [`prepare_recording`](HiMuon::prepare_recording) before the capture, [`record`](HiMuon::record) in it, and
    /// [`begin_replay`](HiMuon::begin_replay) before each launch of the graph.
    ///
    /// A graph that was captured before is not replayed any more: its tables are gone.
    ///
    /// # Errors
    /// As [`prepare_recording`](HiMuon::prepare_recording); the stream cannot be captured, as a default one.
    pub fn capture(
        &mut self,
        parameters: &mut [ParameterStep<'_, Device>],
        steps: Range<u64>,
    ) -> Result<CapturedStep, Error> {
        if is_default(&self.stream()) {
            return Err(StepError::Recording {
                reason: "the optimizer's stream is a default one, which CUDA does not capture or which is another one in each \
                         thread; make the backend on a stream of its own, as of CudaContext::new_stream"
                    .to_owned(),
            }
            .into());
        }
        self.prepare_recording(parameters, steps)?;
        let (whole, _) = self.capture_phases(None, parameters)?;
        let count = self.recorded_phases();
        let phases = (0..count).filter(|_| count > 1);
        let phases = phases.map(|phase| self.capture_phases(Some(phase), parameters));
        Ok(CapturedStep {
            whole,
            phases: phases.collect::<Result<_, _>>()?,
            recording: self.recording(),
        })
    }

    /// A graph of one of the prepared phases, or of all, and the number of its kernels.
    fn capture_phases(
        &mut self,
        only: Option<usize>,
        parameters: &mut [ParameterStep<'_, Device>],
    ) -> Result<(CudaGraph, usize), Error> {
        let stream = self.stream();
        let failed = |error| BackendError::from(CudaError::call("capturing a step")(error));
        stream
            .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .map_err(failed)?;
        let kernels = self.record_phases(only, parameters);
        // Ended in any case: a stream that is left capturing takes no other work.
        let graph = stream.end_capture(CUgraphInstantiate_flags(0));
        let kernels = kernels?;
        match graph.map_err(failed)? {
            Some(graph) => Ok((graph, kernels)),
            None => Err(BackendError::Device {
                action: "capturing a step".to_owned(),
                reason: "the driver made no graph".to_owned(),
                lost: false,
            }
            .into()),
        }
    }

    /// Takes the next step by replaying its graph.
    ///
    /// # Errors
    /// As [`begin_replay`](HiMuon::begin_replay); a graph of another optimizer or of an earlier recording. When the
    /// driver refuses the graph nothing has changed.
    pub fn replay(
        &mut self,
        captured: &mut CapturedStep,
        parameters: &mut [ParameterStep<'_, Device>],
    ) -> Result<StepReport, Error> {
        if !captured.recording.ptr_eq(&self.recording()) {
            return Err(outdated());
        }
        let mut report = self.begin_replay(parameters)?;
        let phase = self.recorded_phase(report.step);
        let graph = match phase.and_then(|phase| captured.phases.get(phase)) {
            Some((graph, kernels)) => {
                report.launches = *kernels;
                graph
            }
            None => &captured.whole,
        };
        if let Err(error) = graph.launch() {
            self.cancel_replay();
            let error = CudaError::call("replaying a step")(error);
            return Err(BackendError::from(error).into());
        }
        Ok(report)
    }
}
