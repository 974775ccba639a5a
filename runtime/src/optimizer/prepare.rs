//! Everything of a step that can fail. Nothing that the caller can see changes here.

use std::sync::Arc;

use super::buffers::ParameterState;
use super::coarse::basis_len;
use super::error::StepError;
use super::gather::gather;
use super::group::{AdamWOptions, GroupOptions};
use super::snapshot::Snapshot;
use super::{HiMuon, NonFinitePolicy, ParameterStep, Protection, TornStep};
use crate::backend::BackendError;
use crate::error::Error;
use crate::launch::{AdamWScalars, GroupScalars, decays_below_zero};
use crate::memory::{Memory, zeros};
use crate::plan::Plan;
use crate::schedule::GroupPhase;

/// A step that only needs submitting.
pub(crate) struct Ready {
    pub(crate) plan: Arc<Plan>,
    /// By group.
    pub(crate) scalars: Vec<Scalars>,
    /// By group: whether the basis of its coarse part moves.
    pub(crate) refreshes: Vec<bool>,
    /// By parameter: whether it takes part.
    pub(crate) takes_part: Vec<bool>,
    pub(crate) missing_gradients: Vec<usize>,
    pub(crate) non_finite_parameters: usize,
    /// The parameter for which the whole step is skipped.
    pub(crate) skipped_for: Option<usize>,
}

/// Run-time scalars of a group at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scalars {
    Muon(GroupScalars),
    AdamW {
        options: AdamWOptions,
        learning_rate: f64,
    },
}

impl Scalars {
    /// The element-wise scalars of a parameter's `update`th update.
    pub(crate) fn adamw(&self, vector: bool, update: u64) -> Option<AdamWScalars> {
        let Scalars::AdamW {
            options,
            learning_rate,
        } = self
        else {
            return None;
        };
        let decays = options.decay_vectors || !vector;
        Some(AdamWScalars {
            learning_rate: *learning_rate as f32,
            beta1: options.betas.0 as f32,
            beta2: options.betas.1 as f32,
            epsilon: options.epsilon as f32,
            weight_decay: if decays {
                options.weight_decay as f32
            } else {
                0.0
            },
            step: update,
        })
    }
}

impl<M: Memory> HiMuon<M> {
    pub(super) fn prepare(
        &mut self,
        parameters: &mut [ParameterStep<'_, M>],
    ) -> Result<Ready, Error> {
        self.check_not_torn()?;
        self.check_earlier_steps()?;
        self.check_tensors(parameters)?;
        let (mut plan, phases) = self.plan_for(self.step)?;
        if self.load_ahead()? {
            plan = self.plan_for(self.step)?.0;
        }
        let scalars = self.scalars(&phases)?;
        let mut ready = Ready {
            plan,
            scalars,
            refreshes: phases.iter().map(|phase| phase.coarse.refresh).collect(),
            takes_part: parameters.iter().map(|p| p.gradient.is_some()).collect(),
            missing_gradients: Vec::new(),
            non_finite_parameters: 0,
            skipped_for: None,
        };
        let missing = ready
            .takes_part
            .iter()
            .enumerate()
            .filter(|(_, part)| !**part);
        ready.missing_gradients = missing.map(|(index, _)| index).collect();
        self.apply_policy(parameters, &mut ready)?;
        if ready.skipped_for.is_none() {
            // State first: what is left is known when the workspace is asked for.
            self.allocate_state(&ready.takes_part)?;
            ready.plan = self.prepare_kernels(ready.plan, &phases)?;
            self.allocate_diagnostics(&ready.plan)?;
            if self.protection == Protection::Snapshot {
                let allocator = self.backend.allocator();
                Snapshot::take(&mut self.snapshot, &allocator, &self.parameters, parameters)?;
            }
            let work = gather(&mut self.parameters, &self.groups, &ready, parameters);
            self.backend.bind(&ready.plan, &work)?;
        }
        Ok(ready)
    }

    /// After a torn step only a loaded state helps.
    pub(super) fn check_not_torn(&self) -> Result<(), StepError> {
        match self.torn {
            None => Ok(()),
            Some(TornStep { launched, total }) => Err(StepError::StillTorn { launched, total }),
        }
    }

    /// What is copied while the stream is captured becomes a part of the graph, and is not there until that is launched.
    pub(super) fn check_not_captured(&self) -> Result<(), StepError> {
        match self.backend.is_capturing() {
            Ok(true) => Err(StepError::Recording {
                reason: "the stream is being captured, and states are saved, loaded, counted and checked outside of a capture; do so \
                         before it or after it"
                    .to_owned(),
            }),
            // Of a device that does not answer the call itself says so.
            Ok(false) | Err(_) => Ok(()),
        }
    }

    /// A launch that failed while it ran left its step torn, and took the device with it. Any other error says nothing of
    /// earlier steps: what shares the device's context leaves its errors for whatever call comes next. While its stream is
    /// captured a device can neither be asked nor written to.
    pub(super) fn check_earlier_steps(&mut self) -> Result<(), Error> {
        let source = match self.backend.is_capturing() {
            Ok(true) => {
                return Err(StepError::Recording {
                    reason: "the stream is being captured, and of a step only launches can be; call prepare_recording \
                             before the capture, record in it, and begin_replay before each launch of the graph"
                        .to_owned(),
                }
                .into());
            }
            Ok(false) => match self.backend.check() {
                Ok(()) => return Ok(()),
                Err(source) => source,
            },
            Err(source) => source,
        };
        if !matches!(source, BackendError::Device { lost: true, .. }) {
            return Err(source.into());
        }
        self.torn = Some(TornStep {
            launched: 0,
            total: 0,
        });
        Err(StepError::Lost { source }.into())
    }

    /// Kernels and scratch memory of the plan of these phases. Where the device has not as much memory as the plan
    /// wants, half of it is tried, once; that plan is kept.
    pub(super) fn prepare_backend(
        &mut self,
        plan: Arc<Plan>,
        phases: &[GroupPhase],
    ) -> Result<Arc<Plan>, Error> {
        match self.backend.prepare(&plan) {
            Err(BackendError::OutOfMemory { purpose, bytes }) if plan.workspace_bytes > 1 => {
                let budget = plan.workspace_bytes / 2;
                tracing::warn!(
                    "{bytes} bytes for {purpose} are not to be had; chunks of {budget} bytes are tried"
                );
                // Where not even one tile fits into half of it, the device's word is the better explanation.
                let smaller = self
                    .make_plan(phases, Some(budget))
                    .map_err(|_| BackendError::OutOfMemory { purpose, bytes })?;
                let smaller = Arc::new(smaller);
                self.backend.prepare(&smaller)?;
                for kept in self.plans.values_mut().filter(|kept| **kept == plan) {
                    *kept = Arc::clone(&smaller);
                }
                Ok(smaller)
            }
            outcome => {
                outcome?;
                Ok(plan)
            }
        }
    }

    /// The scalars of each group, refused where the step would not be one.
    pub(super) fn scalars(&self, phases: &[GroupPhase]) -> Result<Vec<Scalars>, StepError> {
        self.groups
            .iter()
            .zip(phases)
            .map(|(group, phase)| {
                let (rate, decay) = match &group.options {
                    GroupOptions::Muon(options) => (options.learning_rate, options.weight_decay),
                    GroupOptions::AdamW(options) => (options.learning_rate, options.weight_decay),
                };
                let learning_rate = rate.resolve(self.learning_rate) * phase.learning_rate_factor;
                // What the device gets is an f32.
                if !(learning_rate as f32).is_finite() || learning_rate < 0.0 {
                    return Err(StepError::LearningRate {
                        group: group.pattern.clone(),
                        found: learning_rate,
                    });
                }
                if decays_below_zero(learning_rate as f32, decay as f32) {
                    return Err(StepError::Decay {
                        group: group.pattern.clone(),
                        learning_rate,
                        weight_decay: decay,
                    });
                }
                Ok(match &group.options {
                    GroupOptions::Muon(options) => Scalars::Muon(options.scalars(learning_rate)),
                    GroupOptions::AdamW(options) => Scalars::AdamW {
                        options: *options,
                        learning_rate,
                    },
                })
            })
            .collect()
    }

    /// Looks for NaN and infinities as far as the policy asks before the launch. Tiles look after
    /// themselves, and so do numbers on some devices; elsewhere AdamW's gradients are always read.
    fn apply_policy(
        &mut self,
        parameters: &[ParameterStep<'_, M>],
        ready: &mut Ready,
    ) -> Result<(), Error> {
        let per_tile = self.non_finite == NonFinitePolicy::SkipTile;
        let mut places = Vec::new();
        let mut tensors = Vec::new();
        for (index, (declared, passed)) in self.parameters.iter().zip(parameters).enumerate() {
            let Some(gradient) = passed.gradient.clone() else {
                continue;
            };
            let tiled = declared.matrices.is_some();
            if per_tile && (tiled || self.backend.adamw_skips_non_finite()) {
                continue;
            }
            places.push((index, "gradient"));
            tensors.push(M::shorter(gradient));
            if let ParameterState::Muon { momentum, .. } = &declared.state {
                places.push((index, "momentum"));
                tensors.push(M::whole(momentum));
            }
        }
        if tensors.is_empty() {
            return Ok(());
        }
        let finite = self.backend.all_finite(&tensors)?;
        let bad = places.iter().zip(finite).filter(|(_, finite)| !finite);
        for (&(index, tensor), _) in bad {
            match self.non_finite {
                NonFinitePolicy::SkipTile => {
                    ready.takes_part[index] = false;
                    ready.non_finite_parameters += 1;
                }
                NonFinitePolicy::SkipStep => {
                    ready.skipped_for = Some(index);
                    return Ok(());
                }
                NonFinitePolicy::Error => {
                    return Err(StepError::NonFinite {
                        name: self.parameters[index].name.clone(),
                        tensor,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Gives memory to the state of every parameter that takes part for the first time.
    pub(super) fn allocate_state(&mut self, takes_part: &[bool]) -> Result<(), Error> {
        let allocator = self.backend.allocator();
        for (parameter, takes_part) in self.parameters.iter_mut().zip(takes_part) {
            if !takes_part {
                continue;
            }
            let rows = parameter.matrices.map_or(0, |view| view.count * view.rows);
            let normalised = matches!(
                &self.groups[parameter.group].options,
                GroupOptions::Muon(options) if options.row_normalisation.is_some()
            );
            let basis = match (&self.groups[parameter.group].options, parameter.matrices) {
                (GroupOptions::Muon(options), Some(view)) => basis_len(options, view),
                _ => 0,
            };
            let kept = self.groups[parameter.group].options.master_weights();
            let remainder = if kept { parameter.len } else { 0 };
            let lengths = match (parameter.matrices.is_some(), normalised) {
                (false, _) => vec![parameter.len, parameter.len, remainder],
                (true, true) => vec![parameter.len, rows, basis, remainder],
                (true, false) => vec![parameter.len, 0, basis, remainder],
            };
            for (buffer, len) in parameter.state.buffers_mut().into_iter().zip(lengths) {
                M::allocate(&allocator, buffer, len, &parameter.name)?;
            }
        }
        Ok(())
    }

    /// Room for what becomes of each tile.
    fn allocate_diagnostics(&mut self, plan: &Plan) -> Result<(), Error> {
        if !self.diagnostics {
            return Ok(());
        }
        for parameter in &mut self.parameters {
            let options = &self.groups[parameter.group].options;
            if let (GroupOptions::Muon(options), Some(view)) = (options, parameter.matrices)
                && basis_len(options, view) > 0
            {
                zeros(&mut parameter.coarse_figures, view.count, &parameter.name)?;
            }
        }
        let mut tiles = vec![0; self.parameters.len()];
        for matrix in plan.launches.iter().flat_map(|launch| &launch.matrices) {
            tiles[matrix.parameter] += matrix.tiles() as usize;
        }
        for (parameter, tiles) in self.parameters.iter_mut().zip(tiles) {
            // Another tile than at the last step has another number of them.
            if parameter.diagnostics.len() != tiles {
                parameter.diagnostics.clear();
                zeros(&mut parameter.diagnostics, tiles, &parameter.name)?;
            }
        }
        Ok(())
    }
}
