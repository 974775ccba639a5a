//! Steps that are recorded once and replayed: a recording holds every phase of the schedule, and the device decides
//! at each replay which of them runs. Where the host knows the step too, a recording of that phase alone will do.

use std::ops::Range;
use std::sync::Arc;
#[cfg(feature = "cuda")]
use std::sync::Weak;

use himuon_templates::KernelSpec;

use super::error::StepError;
use super::gather::gather;
use super::prepare::Ready;
use super::report::StepReport;
use super::{HiMuon, NonFinitePolicy, ParameterStep, Protection};
use crate::backend::Recording;
use crate::error::Error;
use crate::memory::Memory;
use crate::plan::{Plan, PlannedMatrix};
use crate::schedule::GroupPhase;

/// Steps of a recording, at most: the device has a word for each.
const MOST_STEPS: u64 = 1 << 24;

/// The phases of the recorded steps, each once.
#[derive(Debug)]
pub(crate) struct RecordedSteps {
    /// Graphs hold the other end of it, and with it whether what they point to is still there.
    #[cfg(feature = "cuda")]
    identity: Arc<()>,
    steps: Range<u64>,
    phases: Vec<(Vec<GroupPhase>, Arc<Plan>)>,
    /// Which of the phases each step is in.
    #[cfg(feature = "cuda")]
    of_step: Vec<u32>,
    /// Kernels of a graph of all phases, those that do not run included.
    kernels: usize,
}

/// What each launch of a plan computes, and how; in however many chunks.
fn computed(plan: &Plan) -> impl Iterator<Item = (&KernelSpec, Option<&str>, &[PlannedMatrix])> {
    let launches = plan.launches.iter();
    launches.map(|launch| {
        (
            &launch.spec,
            launch.variant.as_deref(),
            &launch.matrices[..],
        )
    })
}

/// The plan that takes the most workspace.
fn largest(phases: &[(Vec<GroupPhase>, Arc<Plan>)]) -> Option<Arc<Plan>> {
    let plans = phases.iter().map(|(_, plan)| plan);
    plans.max_by_key(|plan| plan.workspace_bytes).cloned()
}

fn refused(reason: impl Into<String>) -> Error {
    StepError::Recording {
        reason: reason.into(),
    }
    .into()
}

impl<M: Memory> HiMuon<M> {
    /// Does everything for recording the steps `steps` that may fail or wait: kernels of every phase, state,
    /// tables. [`record`](Self::record) only submits after that. Of weights and state nothing changes; an earlier recording is
    /// given up once its tables are replaced, even where that fails.
    ///
    /// # Errors
    /// What a recording cannot follow, each with a name: a parameter without a gradient, a policy or criterion
    /// that the host decides, a copy or a report that the host waits for, a kernel that does not read the step on
    /// the device. Steps that do not begin with the next one. A backend that records nothing.
    pub fn prepare_recording(
        &mut self,
        parameters: &mut [ParameterStep<'_, M>],
        steps: Range<u64>,
    ) -> Result<(), Error> {
        self.check_not_torn()?;
        self.check_earlier_steps()?;
        self.check_recordable(parameters, &steps)?;
        self.load_ahead()?;
        let mut phases: Vec<(Vec<GroupPhase>, Arc<Plan>)> = Vec::new();
        let mut of_step = Vec::new();
        for step in steps.clone() {
            let (plan, phase) = self.plan_for(step)?;
            let known = phases.iter().position(|(known, _)| *known == phase);
            of_step.push(known.unwrap_or(phases.len()) as u32);
            if known.is_none() {
                phases.push((phase, plan));
            }
        }
        self.allocate_state(&vec![true; parameters.len()])?;
        for (phase, plan) in &mut phases {
            *plan = self.prepare_backend(Arc::clone(plan), phase)?;
            let key = self.plan_key(phase);
            self.plans.insert(key, Arc::clone(plan));
            self.backend.check_recordable(plan)?;
        }
        // A plan that had to be made smaller leaves less workspace than another phase wants; the largest is enough for all.
        if let Some(plan) = largest(&phases) {
            self.backend.prepare(&plan)?;
        }
        // Graphs of an earlier recording point to tables that go now.
        self.recorded = None;
        self.backend.prepare_recording(Recording {
            first_step: steps.start,
            phases: of_step.clone(),
            phase_count: phases.len() as u32,
        })?;
        self.recorded = Some(RecordedSteps {
            #[cfg(feature = "cuda")]
            identity: Arc::new(()),
            steps,
            phases,
            #[cfg(feature = "cuda")]
            of_step,
            kernels: 0,
        });
        let bound = self.bind_phases(parameters);
        if bound.is_err() {
            self.recorded = None;
        }
        bound
    }

    /// Submits the recorded steps' launches: to be called once, while the stream is being captured, after
    /// [`prepare_recording`](Self::prepare_recording) with the same parameters. Tensors of cudarc's slices are made with
    /// cudarc's event tracking off: a capture cannot wait for an event from outside it.
    ///
    /// # Errors
    /// No preparation, a stream that is not being captured, or the device refuses a launch. The optimizer has not
    /// changed; end the capture.
    pub fn record(&mut self, parameters: &mut [ParameterStep<'_, M>]) -> Result<(), Error> {
        self.record_phases(None, parameters).map(drop)
    }

    /// As [`record`](Self::record), of one phase alone where `only` names it: its launches do nothing in the steps of
    /// other phases. Returns the number of kernels.
    pub(crate) fn record_phases(
        &mut self,
        only: Option<usize>,
        parameters: &mut [ParameterStep<'_, M>],
    ) -> Result<usize, Error> {
        let Some(mut recorded) = self.recorded.take() else {
            return Err(refused(
                "nothing was prepared; call prepare_recording first",
            ));
        };
        let capturing = self.backend.is_capturing().map_err(Error::from);
        if !matches!(capturing, Ok(true)) {
            self.recorded = Some(recorded);
            return Err(capturing.err().unwrap_or_else(|| {
                refused("the stream is not being captured, so that launches would run at once; begin the capture first")
            }));
        }
        let submitted = self.submit_phases(&recorded, only, parameters);
        if let (None, Ok(kernels)) = (only, &submitted) {
            recorded.kernels = *kernels;
        }
        self.recorded = Some(recorded);
        self.backend.select_phase(None)?;
        submitted
    }

    fn submit_phases(
        &mut self,
        recorded: &RecordedSteps,
        only: Option<usize>,
        parameters: &mut [ParameterStep<'_, M>],
    ) -> Result<usize, Error> {
        self.backend.record_clock()?;
        let mut kernels = 1;
        let last = only.unwrap_or(recorded.phases.len().saturating_sub(1));
        for (index, (phase, plan)) in recorded.phases.iter().enumerate() {
            if only.is_some_and(|only| only != index) {
                continue;
            }
            self.backend.select_phase(Some(index as u32))?;
            let ready = self.ready_for(phase, plan, parameters.len())?;
            let mut work = gather(&mut self.parameters, &self.groups, &ready, parameters);
            for (launch, chunks) in plan.launches.iter().zip(&mut work.launches) {
                for (chunk, matrices) in launch.chunks.iter().zip(chunks) {
                    if !matrices.is_empty() {
                        kernels += self.backend.launch(launch, chunk, matrices)?.kernels;
                    }
                }
            }
            // AdamW is the same in every phase.
            if index == last && !work.elementwise.is_empty() {
                self.backend.adamw(&mut work.elementwise)?;
                kernels += 1;
            }
        }
        Ok(kernels)
    }

    /// To be called before each replay of a graph that holds the recorded steps: learning rates, decay and
    /// pointers that have changed are written to the device, and the step is counted.
    ///
    /// They are written on the optimizer's stream. Launch the graph on it, or on a stream that waits for it after this
    /// call; and where that is another stream, let the optimizer's wait for it before the next call.
    ///
    /// # Errors
    /// A step past the recorded ones, a missing gradient, or anything that an ordinary step refuses. Nothing has
    /// changed then; do not replay.
    pub fn begin_replay(
        &mut self,
        parameters: &mut [ParameterStep<'_, M>],
    ) -> Result<StepReport, Error> {
        self.check_not_torn()?;
        self.check_earlier_steps()?;
        let Some(recorded) = &self.recorded else {
            return Err(refused(
                "nothing was recorded; call prepare_recording and record first",
            ));
        };
        let steps = recorded.steps.clone();
        if !steps.contains(&self.step) {
            return Err(refused(format!(
                "step {} is outside the recorded steps {} to {}; record again",
                self.step, steps.start, steps.end
            )));
        }
        let largest = largest(&recorded.phases);
        let plan = self.recorded_plan()?;
        self.check_recordable(parameters, &(self.step..steps.end))?;
        // A state that was loaded may lack what no step had touched, and a step that failed its workspace.
        self.allocate_state(&vec![true; parameters.len()])?;
        if let Some(plan) = largest {
            self.backend.prepare(&plan)?;
        }
        self.bind_phases(parameters)?;
        self.backend.set_clock(self.step)?;
        let report = StepReport {
            step: self.step,
            launches: self
                .recorded
                .as_ref()
                .map_or(0, |recorded| recorded.kernels),
            counts_pending: true,
            tiles: plan.tiles() as usize,
            ..StepReport::default()
        };
        self.count_updates(&vec![true; parameters.len()]);
        self.step += 1;
        Ok(report)
    }

    /// The plan of the next step, refused where the recording does something else: a state that was loaded raises tiles and pins
    /// kernels.
    fn recorded_plan(&mut self) -> Result<Arc<Plan>, Error> {
        let (plan, phase) = self.plan_for(self.step)?;
        let recorded = self.recorded.iter().flat_map(|recorded| &recorded.phases);
        let same = recorded
            .filter(|(known, _)| *known == phase)
            .all(|(_, recorded)| computed(recorded).eq(computed(&plan)));
        match same {
            true => Ok(plan),
            false => Err(refused(
                "the state that was loaded has other tiles or kernels than the recording; record again",
            )),
        }
    }

    /// The other end of the present recording's identity; of none where there is no recording.
    #[cfg(feature = "cuda")]
    pub(crate) fn recording(&self) -> Weak<()> {
        let recorded = self.recorded.as_ref();
        recorded.map_or_else(Weak::new, |recorded| Arc::downgrade(&recorded.identity))
    }

    /// How many phases the present recording has; 0 where there is none.
    #[cfg(feature = "cuda")]
    pub(crate) fn recorded_phases(&self) -> usize {
        let recorded = self.recorded.as_ref();
        recorded.map_or(0, |recorded| recorded.phases.len())
    }

    /// The phase of a recorded step, by its number in the recording.
    #[cfg(feature = "cuda")]
    pub(crate) fn recorded_phase(&self, step: u64) -> Option<usize> {
        let recorded = self.recorded.as_ref()?;
        let index = step.checked_sub(recorded.steps.start)?;
        let phase = recorded.of_step.get(usize::try_from(index).ok()?)?;
        Some(*phase as usize)
    }

    /// Takes back what [`begin_replay`](Self::begin_replay) counted, for a replay that was refused.
    #[cfg(feature = "cuda")]
    pub(crate) fn cancel_replay(&mut self) {
        self.step = self.step.saturating_sub(1);
        self.uncount_updates();
    }

    /// Writes the tables of every phase.
    fn bind_phases(&mut self, parameters: &mut [ParameterStep<'_, M>]) -> Result<(), Error> {
        let Some(recorded) = self.recorded.take() else {
            return Ok(());
        };
        let mut bound = Ok(());
        for (index, (phase, plan)) in recorded.phases.iter().enumerate() {
            bound = self.bind_phase(index as u32, phase, plan, parameters);
            if bound.is_err() {
                break;
            }
        }
        self.recorded = Some(recorded);
        self.backend.select_phase(None)?;
        bound
    }

    fn bind_phase(
        &mut self,
        index: u32,
        phase: &[GroupPhase],
        plan: &Arc<Plan>,
        parameters: &mut [ParameterStep<'_, M>],
    ) -> Result<(), Error> {
        self.backend.select_phase(Some(index))?;
        let ready = self.ready_for(phase, plan, parameters.len())?;
        let work = gather(&mut self.parameters, &self.groups, &ready, parameters);
        Ok(self.backend.bind(plan, &work)?)
    }

    fn ready_for(
        &self,
        phase: &[GroupPhase],
        plan: &Arc<Plan>,
        parameters: usize,
    ) -> Result<Ready, Error> {
        Ok(Ready {
            plan: Arc::clone(plan),
            scalars: self.scalars(phase)?,
            refreshes: phase.iter().map(|phase| phase.coarse.refresh).collect(),
            takes_part: vec![true; parameters],
            missing_gradients: Vec::new(),
            non_finite_parameters: 0,
            skipped_for: None,
        })
    }

    /// Refuses what a recording would freeze.
    fn check_recordable(
        &self,
        parameters: &[ParameterStep<'_, M>],
        steps: &Range<u64>,
    ) -> Result<(), Error> {
        self.check_tensors(parameters)?;
        let passed = self.parameters.iter().zip(parameters);
        if let Some((missing, _)) = passed.into_iter().find(|(_, p)| p.gradient.is_none()) {
            return Err(refused(format!(
                "parameter {} has no gradient; a recording holds every parameter, so pass one for each, zeros if need be",
                missing.name
            )));
        }
        if self.non_finite != NonFinitePolicy::SkipTile {
            return Err(refused(format!(
                "NonFinitePolicy::{:?} reads gradients and decides on the host; use SkipTile",
                self.non_finite
            )));
        }
        if self.protection == Protection::Snapshot {
            return Err(refused(
                "Protection::Snapshot copies on the host's word; use Protection::None",
            ));
        }
        if self.diagnostics {
            return Err(refused(
                "reports of tiles are waited for by the host; build without diagnostics",
            ));
        }
        if self.probe.is_some() {
            return Err(refused(
                "the probe reads momenta and decides on the host; build without it",
            ));
        }
        let fits =
            steps.end <= u64::from(u32::MAX) && steps.end.saturating_sub(steps.start) <= MOST_STEPS;
        if steps.start != self.step || steps.is_empty() || !fits {
            return Err(refused(format!(
                "steps {} to {}: expected to begin with the next step {}, to hold 1 to {MOST_STEPS}, and to end below 2^32",
                steps.start, steps.end, self.step
            )));
        }
        Ok(())
    }

    /// Whether graphs were replayed more often than steps were recorded: those replays changed nothing. Waits
    /// for the device.
    ///
    /// # Errors
    /// The recording is past its end, the stream is being captured, or the device failed.
    pub fn check_replays(&mut self) -> Result<(), Error> {
        self.check_not_captured()?;
        if self.backend.replayed_past_end()? {
            return Err(refused(
                "a graph was replayed past its recorded steps, which changed nothing; record again",
            ));
        }
        Ok(())
    }
}
