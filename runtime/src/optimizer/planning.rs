//! The plans of an optimizer: of a step, and of all steps together.

use std::collections::BTreeSet;
use std::sync::Arc;

use himuon_templates::KernelSpec;

use super::coarse::CoarsePhase;
use super::group::{GroupOptions, MuonOptions};
use super::parameter::MatrixView;
use super::{Group, HiMuon};
use crate::error::Error;
use crate::memory::Memory;
use crate::plan::{Plan, PlanRequest, PlannedParameter, Planner};
use crate::schedule::{GroupPhase, TileSchedule};

/// A part of what tells plans apart: a specification of a group with its rank where that is not the specification's own,
/// or a number of a raised parameter.
pub(super) type PlanKey = (usize, Option<u32>);

impl<M: Memory> HiMuon<M> {
    /// The launches of a step, as its schedule, the tuned choices and the memory budget make them.
    ///
    /// # Errors
    /// A tile that no config declares; a budget too small for one matrix.
    pub fn plan(&self, step: u64) -> Result<Arc<Plan>, Error> {
        Ok(self.planned(step)?.0)
    }

    /// The plan of a step and the phase of each group.
    pub(super) fn planned(&self, step: u64) -> Result<(Arc<Plan>, Vec<GroupPhase>), Error> {
        let phases = self.phases(step)?;
        let plan = match self.plans.get(&self.plan_key(&phases)) {
            Some(plan) => Arc::clone(plan),
            None => Arc::new(self.make_plan(&phases, self.budget_bytes)?),
        };
        Ok((plan, phases))
    }

    /// As `planned`; the plan is kept for the other steps of these phases.
    pub(super) fn plan_for(&mut self, step: u64) -> Result<(Arc<Plan>, Vec<GroupPhase>), Error> {
        let (plan, phases) = self.planned(step)?;
        let key = self.plan_key(&phases);
        self.plans.entry(key).or_insert_with(|| Arc::clone(&plan));
        Ok((plan, phases))
    }

    /// Plans the steps at which a schedule begins to ask for something else, as far as they are known: what cannot be
    /// planned is not left for a run to meet.
    pub(super) fn check_schedules(&self) -> Result<(), Error> {
        let mut steps = BTreeSet::new();
        for group in &self.groups {
            if let GroupOptions::Muon(options) = &group.options {
                let tiles = options.schedule.iter().flat_map(TileSchedule::known_steps);
                steps.extend(tiles.chain(options.coarse.known_steps()));
            }
        }
        for step in steps {
            self.planned(step)?;
        }
        Ok(())
    }

    pub(super) fn phases(&self, step: u64) -> Result<Vec<GroupPhase>, Error> {
        let phase = |group: &Group| -> Result<GroupPhase, Error> {
            match &group.options {
                GroupOptions::Muon(options) => {
                    let tiles = match &options.schedule {
                        Some(schedule) => schedule.resolve(&group.pattern, step, &options.specs)?,
                        None => GroupPhase::DECLARED,
                    };
                    Ok(GroupPhase {
                        coarse: options.coarse.phase(step),
                        ..tiles
                    })
                }
                GroupOptions::AdamW(_) => Ok(GroupPhase::DECLARED),
            }
        };
        self.groups.iter().map(phase).collect()
    }

    /// The plan of a step in these phases.
    pub(super) fn make_plan(
        &self,
        phases: &[GroupPhase],
        budget_bytes: Option<u64>,
    ) -> Result<Plan, Error> {
        let mut planned = Vec::new();
        let mut elementwise = Vec::new();
        for (index, parameter) in self.parameters.iter().enumerate() {
            let group = &self.groups[parameter.group];
            match (&parameter.matrices, &group.options) {
                (Some(view), GroupOptions::Muon(options)) => {
                    let phase = phases[parameter.group];
                    let place = parameter.spec_in(options, *view, phase.spec);
                    let mut spec = view.spec(&options.specs[place]).into_owned();
                    phase.coarse.apply(&mut spec);
                    planned.push(self.planned_parameter(index, options, *view, spec));
                }
                _ => elementwise.push(index),
            }
        }
        self.plan_of(&planned, &elementwise, budget_bytes)
    }

    /// A parameter of matrices with what is computed of it.
    fn planned_parameter(
        &self,
        parameter: usize,
        options: &MuonOptions,
        view: MatrixView,
        spec: KernelSpec,
    ) -> PlannedParameter {
        PlannedParameter {
            parameter,
            name: self.parameters[parameter].name.clone(),
            matrices: view.count,
            rows: view.rows,
            columns: view.columns,
            row_normalised: options.row_normalisation.is_some(),
            diagnosed: self.diagnostics,
            spec,
        }
    }

    fn plan_of(
        &self,
        parameters: &[PlannedParameter],
        elementwise: &[usize],
        budget_bytes: Option<u64>,
    ) -> Result<Plan, Error> {
        let plan = Planner(&*self.backend).plan(&PlanRequest {
            parameters,
            elementwise,
            tuning: &self.tuning,
            budget_bytes,
            threads: self.backend.threads(),
            table_entry_bytes: self.backend.table_entry_bytes(),
        })?;
        Ok(plan)
    }

    /// The specification and rank that each group uses, and the specifications of the parameters that were raised.
    pub(super) fn plan_key(&self, phases: &[GroupPhase]) -> Vec<PlanKey> {
        let scheduled = phases.iter().map(|phase| (phase.spec, phase.coarse.rank));
        let parameters = self.parameters.iter().enumerate();
        let raised = parameters.filter_map(|(index, p)| p.raised.map(|spec| [index, spec]));
        let raised = raised.flatten().map(|number| (number, None));
        scheduled.chain(raised).collect()
    }

    /// A plan in which each matrix has every specification that any step may give it: its launches are those of all steps, each
    /// with the matrices that may share it.
    pub(super) fn plan_of_all(&self) -> Result<Plan, Error> {
        let mut planned = Vec::new();
        let mut elementwise = Vec::new();
        for (index, parameter) in self.parameters.iter().enumerate() {
            let options = &self.groups[parameter.group].options;
            let (Some(view), GroupOptions::Muon(options)) = (&parameter.matrices, options) else {
                elementwise.push(index);
                continue;
            };
            let specs = specs_of(options, *view).into_iter();
            planned.extend(specs.map(|spec| self.planned_parameter(index, options, *view, spec)));
        }
        // What a budget makes of a later step is found when that is planned.
        self.plan_of(&planned, &elementwise, None)
    }
}

/// The specifications of a matrix at any step: every tile of its group, with every rank of the coarse part.
fn specs_of(options: &MuonOptions, view: MatrixView) -> BTreeSet<KernelSpec> {
    let later = options.coarse.known_steps();
    let phases = later.map(|step| options.coarse.phase(step));
    let phases: Vec<_> = [CoarsePhase::DECLARED].into_iter().chain(phases).collect();
    let specs = options.specs.iter().map(|spec| view.spec(spec));
    specs
        .flat_map(|spec| {
            phases.iter().map(move |phase| {
                let mut spec = spec.clone().into_owned();
                phase.apply(&mut spec);
                spec
            })
        })
        .collect()
}
