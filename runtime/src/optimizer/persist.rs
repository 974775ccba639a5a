//! Saving the state, and resuming with the same bits.

use std::collections::BTreeMap;
use std::path::Path;

use himuon_templates::Element;

use super::buffers::{Buffer, ParameterState, zeros};
use super::error::StepError;
use super::group::GroupOptions;
use super::{HiMuon, Parameter};
use crate::error::Error;
use crate::plan::Plan;
use crate::state::{
    self, Entry, GroupRecord, KernelRecord, Metadata, ParameterRecord, ScheduleRecord, StateError,
    StateFile,
};

/// What a resumed run should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Steps taken when the state was saved.
    pub step: u64,
    /// Options that are not what they were when the state was saved. The present ones are used, so the run
    /// goes on with other bits than the saved one would have.
    pub differences: Vec<String>,
}

impl HiMuon {
    /// Writes the state: step, learning rate, momenta, moments, and what they belong to. Weights are the caller's.
    ///
    /// The file is whole or absent: it is written beside `path`, flushed to the device and renamed. Tensors
    /// are named `<parameter>.momentum_buffer`, `.exp_avg`, `.exp_avg_sq` and `.row_second_moment`; a
    /// parameter that was never updated has none. Equal states give equal files.
    ///
    /// # Errors
    /// The file cannot be written; an earlier step was torn.
    pub fn save_state(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        if let Some(torn) = self.torn {
            return Err(StepError::StillTorn {
                launched: torn.launched,
                total: torn.total,
            }
            .into());
        }
        let metadata = self.metadata()?.to_texts()?;
        let mut entries = Vec::new();
        for parameter in &self.parameters {
            entries.extend(entries_of(parameter));
        }
        state::write(path.as_ref(), metadata, entries)?;
        Ok(())
    }

    /// Takes over a saved state. Everything is read and checked first: a file that is damaged, or belongs to
    /// other parameters, is refused and nothing changes.
    ///
    /// The step, the learning rate and the kernels become those of the file.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn load_state(&mut self, path: impl AsRef<Path>) -> Result<LoadReport, Error> {
        let path = path.as_ref();
        let mut file = StateFile::open(path)?;
        let metadata =
            Metadata::from_texts(file.metadata()).map_err(|reason| StateError::NotState {
                path: path.to_owned(),
                reason,
            })?;
        self.check_parameters(&file, &metadata)?;
        let mut states = Vec::with_capacity(self.parameters.len());
        for index in 0..self.parameters.len() {
            states.push(self.read_state(&mut file, &metadata, index)?);
        }
        let mut report = LoadReport {
            step: metadata.step,
            differences: self.differences(&metadata)?,
        };
        for (parameter, state) in self.parameters.iter_mut().zip(states) {
            parameter.state = state;
        }
        self.step = metadata.step;
        self.learning_rate = metadata.learning_rate;
        self.torn = None;
        self.snapshot = None;
        self.pin_kernels(&metadata, &mut report.differences);
        for difference in &report.differences {
            tracing::warn!("{}: {difference}", path.display());
        }
        Ok(report)
    }

    fn metadata(&self) -> Result<Metadata, Error> {
        let (plan, _) = self.planned(self.step)?;
        let mut kernels = BTreeMap::new();
        for plan in self.plans.values() {
            kernels.extend(self.kernels_of(plan));
        }
        kernels.extend(self.kernels_of(&plan));
        Ok(Metadata {
            step: self.step,
            learning_rate: self.learning_rate,
            backend: self.backend.name().to_owned(),
            groups: self.group_records(),
            kernels,
            parameters: self.parameters.iter().map(parameter_record).collect(),
            schedule: self.schedule_records()?,
        })
    }

    fn kernels_of(&self, plan: &Plan) -> Vec<(String, KernelRecord)> {
        let launches = plan.launches.iter();
        let record = |launch: &crate::plan::Launch| KernelRecord {
            id: self
                .backend
                .kernel_id(&launch.spec, launch.variant.as_deref()),
            variant: launch.variant.clone(),
        };
        launches
            .map(|launch| (launch.spec.to_string(), record(launch)))
            .collect()
    }

    fn group_records(&self) -> Vec<GroupRecord> {
        let groups = self.groups.iter();
        groups
            .map(|group| GroupRecord {
                pattern: group.pattern.clone(),
                options: group.options.record(),
            })
            .collect()
    }

    fn schedule_records(&self) -> Result<BTreeMap<String, ScheduleRecord>, Error> {
        let mut records = BTreeMap::new();
        for group in &self.groups {
            if let GroupOptions::Muon(options) = &group.options
                && let Some(schedule) = &options.schedule
            {
                let phase = schedule.resolve(&group.pattern, self.step, &options.specs)?;
                let record = ScheduleRecord {
                    schedule: schedule.to_string(),
                    spec: options.specs[phase.spec].to_string(),
                };
                records.insert(group.pattern.clone(), record);
            }
        }
        Ok(records)
    }

    /// Refuses the state of other parameters.
    fn check_parameters(&self, file: &StateFile, metadata: &Metadata) -> Result<(), StateError> {
        for parameter in &self.parameters {
            let name = &parameter.name;
            let Some(saved) = metadata.parameters.get(name) else {
                return Err(file.foreign(format!("it has no parameter {name}")));
            };
            if saved.shape != parameter.shape {
                return Err(file.foreign(format!(
                    "parameter {name} has shape {:?} there, {:?} here",
                    saved.shape, parameter.shape
                )));
            }
            let method = method_of(parameter);
            if saved.method != method {
                return Err(file.foreign(format!(
                    "parameter {name} was updated by {} there, by {method} here",
                    saved.method
                )));
            }
        }
        if let Some(name) = metadata
            .parameters
            .keys()
            .find(|name| !self.parameters.iter().any(|p| p.name == **name))
        {
            return Err(file.foreign(format!("its parameter {name} is not declared here")));
        }
        let known: Vec<_> = self.parameters.iter().flat_map(tensor_names).collect();
        match file.names().into_iter().find(|name| !known.contains(name)) {
            Some(name) => Err(file.foreign(format!("tensor {name} belongs to no parameter"))),
            None => Ok(()),
        }
    }

    /// Reads the state of one parameter into fresh buffers.
    fn read_state(
        &self,
        file: &mut StateFile,
        metadata: &Metadata,
        index: usize,
    ) -> Result<ParameterState, Error> {
        let parameter = &self.parameters[index];
        let name = &parameter.name;
        let shape = &parameter.shape;
        match &parameter.state {
            ParameterState::Muon { momentum, .. } => {
                let element = momentum.element();
                let key = format!("{name}.momentum_buffer");
                let mut momentum = Buffer::empty(element);
                if file.has(&key) {
                    momentum.allocate(parameter.len, &key)?;
                    file.read(&key, element, shape, momentum.bytes_mut())?;
                }
                Ok(ParameterState::Muon {
                    momentum,
                    row_second_moment: self.read_rows(file, parameter)?,
                })
            }
            ParameterState::AdamW { .. } => {
                let mut read = |suffix: &str| -> Result<Vec<f32>, Error> {
                    read_f32(file, &format!("{name}.{suffix}"), shape, parameter.len)
                };
                Ok(ParameterState::AdamW {
                    exp_avg: read("exp_avg")?,
                    exp_avg_sq: read("exp_avg_sq")?,
                    updates: metadata
                        .parameters
                        .get(name)
                        .map_or(0, |saved| saved.updates),
                })
            }
        }
    }

    /// The row second moments; none where this group has no row normalisation.
    fn read_rows(&self, file: &mut StateFile, parameter: &Parameter) -> Result<Vec<f32>, Error> {
        let normalised = matches!(
            &self.groups[parameter.group].options,
            GroupOptions::Muon(options) if options.row_normalisation.is_some()
        );
        let rows = parameter.matrices.map_or(0, |view| view.count * view.rows);
        if !normalised {
            return Ok(Vec::new());
        }
        let key = format!("{}.row_second_moment", parameter.name);
        read_f32(file, &key, &[rows], rows)
    }

    /// Options that differ from the saved ones.
    fn differences(&self, saved: &Metadata) -> Result<Vec<String>, Error> {
        let mut differences = Vec::new();
        let present = self.group_records();
        for group in &present {
            let Some(old) = saved.groups.iter().find(|old| old.pattern == group.pattern) else {
                differences.push(format!("group {} is new", group.pattern));
                continue;
            };
            for (option, value) in &group.options {
                let before = old.options.get(option).map_or("not set", String::as_str);
                if before != value {
                    differences.push(format!(
                        "group {}: {option} was {before}, is {value}",
                        group.pattern
                    ));
                }
            }
        }
        for old in &saved.groups {
            if !present.iter().any(|group| group.pattern == old.pattern) {
                differences.push(format!("group {} is gone", old.pattern));
            }
        }
        Ok(differences)
    }

    /// Goes on with the kernels that the saved run used, where this backend has them.
    fn pin_kernels(&mut self, metadata: &Metadata, differences: &mut Vec<String>) {
        if metadata.backend != self.backend.name() {
            differences.push(format!(
                "saved by the {} backend, resumed by {}: other orders of summation",
                metadata.backend,
                self.backend.name()
            ));
            return;
        }
        for (spec, kernel) in &metadata.kernels {
            let known = spec.parse().is_ok_and(|spec| {
                let variant = kernel.variant.as_deref();
                self.backend.workspace_bytes(&spec, variant, &[], 1).is_ok()
            });
            if known {
                self.tuning.pin(spec, kernel.variant.as_deref());
            } else {
                differences.push(format!("kernel {} of {spec} is not available", kernel.id));
            }
        }
        self.plans.clear();
    }
}

fn method_of(parameter: &Parameter) -> &'static str {
    match parameter.state {
        ParameterState::Muon { .. } => "muon",
        ParameterState::AdamW { .. } => "adamw",
    }
}

fn parameter_record(parameter: &Parameter) -> (String, ParameterRecord) {
    let updates = match parameter.state {
        ParameterState::Muon { .. } => 0,
        ParameterState::AdamW { updates, .. } => updates,
    };
    let record = ParameterRecord {
        method: method_of(parameter).to_owned(),
        shape: parameter.shape.clone(),
        updates,
    };
    (parameter.name.clone(), record)
}

fn tensor_names(parameter: &Parameter) -> Vec<String> {
    let suffixes: &[&str] = match parameter.state {
        ParameterState::Muon { .. } => &["momentum_buffer", "row_second_moment"],
        ParameterState::AdamW { .. } => &["exp_avg", "exp_avg_sq"],
    };
    let names = suffixes.iter();
    names
        .map(|suffix| format!("{}.{suffix}", parameter.name))
        .collect()
}

/// The tensors of a parameter; those without memory are left out.
fn entries_of(parameter: &Parameter) -> Vec<Entry<'_>> {
    let shape = &parameter.shape;
    let entry = |suffix: &str, element, shape: &[usize], bytes| Entry {
        name: format!("{}.{suffix}", parameter.name),
        element,
        shape: shape.to_vec(),
        bytes,
    };
    let entries = match &parameter.state {
        ParameterState::Muon {
            momentum,
            row_second_moment: rows,
        } => vec![
            entry(
                "momentum_buffer",
                momentum.element(),
                shape,
                momentum.bytes(),
            ),
            entry(
                "row_second_moment",
                Element::F32,
                &[rows.len()],
                bytemuck::cast_slice(rows),
            ),
        ],
        ParameterState::AdamW {
            exp_avg,
            exp_avg_sq,
            ..
        } => vec![
            entry(
                "exp_avg",
                Element::F32,
                shape,
                bytemuck::cast_slice(exp_avg),
            ),
            entry(
                "exp_avg_sq",
                Element::F32,
                shape,
                bytemuck::cast_slice(exp_avg_sq),
            ),
        ],
    };
    entries
        .into_iter()
        .filter(|entry| !entry.bytes.is_empty())
        .collect()
}

/// A tensor of f32, or nothing where the file has none.
fn read_f32(
    file: &mut StateFile,
    key: &str,
    shape: &[usize],
    len: usize,
) -> Result<Vec<f32>, Error> {
    let mut values = Vec::new();
    if file.has(key) {
        zeros(&mut values, len, key)?;
        file.read(
            key,
            Element::F32,
            shape,
            bytemuck::cast_slice_mut(&mut values),
        )?;
    }
    Ok(values)
}
