//! What the launches of a recording read besides the tables of their chunks.

use std::sync::Arc;

use cudarc::driver::CudaStream;

use super::companion::{
    AdamWTables, CLOCK_PAST_END, CLOCK_PHASES, CLOCK_STEP, CLOCK_UPDATE, Companion, GradientScale,
    PhaseTable,
};
use super::driver::DeviceMemory;
use super::error::CudaError;
use super::table::DeviceTable;
use crate::backend::{BackendError, Recording};

/// The clock of the recorded steps, their phases, and what a graph points to.
#[derive(Debug)]
pub(super) struct Recorded {
    recording: Recording,
    phases: DeviceTable,
    pub(super) clock: DeviceMemory,
    pub(super) adamw: AdamWTables,
    /// Workspaces whose addresses a graph holds; the plan has moved on to a larger one.
    pub(super) outgrown: Vec<DeviceMemory>,
}

impl Recorded {
    pub(super) fn new(
        stream: &Arc<CudaStream>,
        recording: Recording,
    ) -> Result<Self, BackendError> {
        let mut image = Vec::with_capacity(4 * recording.phases.len());
        for phase in &recording.phases {
            image.extend(phase.to_le_bytes());
        }
        let mut phases = DeviceTable::default();
        phases.update(stream, image, 0, "the phases of the steps")?;
        let words = CLOCK_PHASES + recording.phase_count as usize + 1;
        Ok(Recorded {
            recording,
            phases,
            clock: DeviceMemory::zeroed(stream, 4 * words, "the step clock")?,
            adamw: AdamWTables::default(),
            outgrown: Vec::new(),
        })
    }

    pub(super) fn phase_count(&self) -> u32 {
        self.recording.phase_count
    }

    /// The address of a phase's word; behind those of all phases lies one that is set whenever any phase runs.
    pub(super) fn word(&self, index: u32) -> u64 {
        self.clock.pointer() + 4 * (CLOCK_PHASES as u64 + u64::from(index))
    }

    /// Sets the step that the next replay takes.
    pub(super) fn set_clock(&self, step: u64) -> Result<(), CudaError> {
        self.clock.set_word(CLOCK_STEP, step as u32)?;
        // The clock counts this step before AdamW reads it.
        let updates = self.adamw.updates.wrapping_sub(1);
        self.clock.set_word(CLOCK_UPDATE, updates)
    }

    /// Submits the launch that decides at each replay which phase runs.
    pub(super) fn submit_clock(
        &self,
        companion: &Companion,
        stream: &CudaStream,
        scale: Option<GradientScale>,
    ) -> Result<(), CudaError> {
        let first_step = self.recording.first_step as u32;
        let steps = PhaseTable {
            phases: self.phases.pointer(),
            first_step,
            end_step: first_step + self.recording.phases.len() as u32,
            phase_count: self.recording.phase_count,
            advances: true,
        };
        companion.begin(stream, &self.clock, &steps, scale)
    }

    /// Whether a replay came after the last recorded step. Waits for the device.
    pub(super) fn past_end(&self) -> Result<bool, CudaError> {
        let words = self.clock.read_words(CLOCK_PHASES)?;
        Ok(words[CLOCK_PAST_END] != 0)
    }
}
