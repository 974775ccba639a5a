//! What a saved state says of itself: its groups, kernels, parameters and schedules.

use std::collections::BTreeMap;

use super::buffers::ParameterState;
use super::group::GroupOptions;
use super::{Group, HiMuon, Parameter};
use crate::memory::Memory;
use crate::plan::Plan;
use crate::state::{GroupRecord, KernelRecord, Metadata, ParameterRecord, ScheduleRecord};

impl<M: Memory> HiMuon<M> {
    pub(super) fn metadata(&self) -> Metadata {
        // Those of earlier steps stay known, also where this run has not met them again.
        let mut kernels = self.resumed_kernels.clone();
        for plan in self.plans.values() {
            kernels.extend(self.kernels_of(plan));
        }
        // A step that cannot be planned is no reason to lose the earlier ones.
        if let Ok((plan, _)) = self.planned(self.step) {
            kernels.extend(self.kernels_of(&plan));
        }
        Metadata {
            step: self.step,
            learning_rate: self.learning_rate,
            backend: self.backend.name().to_owned(),
            groups: self.group_records(),
            kernels,
            parameters: self
                .parameters
                .iter()
                .map(|parameter| parameter_record(parameter, &self.groups[parameter.group]))
                .collect(),
            schedule: self.schedule_records(),
        }
    }

    fn kernels_of(&self, plan: &Plan) -> Vec<(String, KernelRecord)> {
        let launches = plan.launches.iter();
        launches
            .map(|launch| {
                // A variant is a way to compute tiles, whatever couples them.
                let tiles = launch.spec.tiles_alone();
                let record = KernelRecord {
                    id: self.backend.kernel_id(&tiles, launch.variant.as_deref()),
                    variant: launch.variant.clone(),
                };
                (tiles.to_string(), record)
            })
            .collect()
    }

    pub(super) fn group_records(&self) -> Vec<GroupRecord> {
        let groups = self.groups.iter();
        groups
            .map(|group| GroupRecord {
                pattern: group.pattern.clone(),
                options: group.options.record(),
            })
            .collect()
    }

    fn schedule_records(&self) -> BTreeMap<String, ScheduleRecord> {
        let mut records = BTreeMap::new();
        for group in &self.groups {
            if let GroupOptions::Muon(options) = &group.options
                && let Some(schedule) = &options.schedule
            {
                let phase = schedule.resolve(&group.pattern, self.step, &options.specs);
                let record = ScheduleRecord {
                    schedule: schedule.to_string(),
                    spec: phase
                        .ok()
                        .map(|phase| options.specs[phase.spec].to_string()),
                };
                records.insert(group.pattern.clone(), record);
            }
        }
        records
    }
}

/// How a parameter is updated.
pub(super) fn method_of<M: Memory>(parameter: &Parameter<M>) -> &'static str {
    match parameter.state {
        ParameterState::Muon { .. } => "muon",
        ParameterState::AdamW { .. } => "adamw",
    }
}

fn parameter_record<M: Memory>(
    parameter: &Parameter<M>,
    group: &Group,
) -> (String, ParameterRecord) {
    let raised = match &group.options {
        GroupOptions::Muon(options) => parameter.raised.map(|spec| options.specs[spec].to_string()),
        GroupOptions::AdamW(_) => None,
    };
    let updates = match parameter.state {
        ParameterState::Muon { .. } => 0,
        ParameterState::AdamW { updates, .. } => updates,
    };
    let record = ParameterRecord {
        group: group.pattern.clone(),
        method: method_of(parameter).to_owned(),
        raised,
        shape: parameter.shape.clone(),
        updates,
    };
    (parameter.name.clone(), record)
}
