//! Saving the state, and resuming with the same bits.

use std::io::{Read, Seek};
use std::path::Path;

use super::buffers::ParameterState;
use super::check::check_learning_rate;
use super::coarse::basis_columns;
use super::group::GroupOptions;
use super::metadata::method_of;
use super::report::LoadReport;
use super::{HiMuon, Parameter};
use crate::error::Error;
use crate::memory::Memory;
use crate::state::{Content, Entry, Metadata, StateError, StateFile};
use crate::tensor::TensorView;

impl<M: Memory> HiMuon<M> {
    /// Writes the state: step, learning rate, momenta, moments, and what they belong to. Weights are the caller's.
    ///
    /// The file is whole or absent: it is written beside `path`, flushed to the device and renamed. Tensors
    /// are named `<parameter>.momentum_buffer`, `.exp_avg`, `.exp_avg_sq`,
    /// `.row_second_moment`, `.coarse_basis` (matrices x columns x rank) and `.master_remainder` (I16, see
    /// [`master_weight`](crate::master_weight)); a parameter that was never updated has none. Equal states give equal files.
    ///
    /// # Errors
    /// The file cannot be written; an earlier step was torn; the stream is being captured; the device fails.
    pub fn save_state(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.state_content()?.write_file(path.as_ref())?)
    }

    /// What [`save_state`](Self::save_state) would write, for a trainer that keeps its checkpoints in its own way.
    ///
    /// # Errors
    /// As [`save_state`](Self::save_state), but for the file.
    pub fn save_state_to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(self.state_content()?.to_bytes())
    }

    fn state_content(&self) -> Result<Content<'_>, Error> {
        self.check_not_torn()?;
        self.check_not_captured()?;
        let metadata = self.metadata().to_texts()?;
        let mut entries = Vec::new();
        for parameter in &self.parameters {
            entries.extend(self.entries_of(parameter)?);
        }
        Ok(Content::new(metadata, entries)?)
    }

    /// Takes over a saved state. Everything is read and checked first: a file that is damaged, or belongs to
    /// other parameters, is refused and nothing changes.
    ///
    /// The step, the learning rate and the kernels become those of the file: [`LoadReport::replaced_learning_rate`] has what
    /// was set before, and [`set_learning_rate`](Self::set_learning_rate) after this sets another. The options of groups, their
    /// factors and rates of their own among them, stay the present ones; [`LoadReport::differences`] names those that were others.
    ///
    /// # Errors
    /// [`StateError`]; the stream is being captured; a kernel of an earlier step failed, or the device does.
    pub fn load_state(&mut self, path: impl AsRef<Path>) -> Result<LoadReport, Error> {
        self.take_over(StateFile::open(path.as_ref())?)
    }

    /// As [`load_state`](Self::load_state), from what [`save_state_to_bytes`](Self::save_state_to_bytes) gave or such a file holds.
    ///
    /// # Errors
    /// [`StateError`]; the stream is being captured; a kernel of an earlier step failed, or the device does.
    pub fn load_state_from_bytes(&mut self, bytes: &[u8]) -> Result<LoadReport, Error> {
        self.take_over(StateFile::in_memory(bytes)?)
    }

    fn take_over<R: Read + Seek>(&mut self, mut file: StateFile<R>) -> Result<LoadReport, Error> {
        self.check_not_captured()?;
        // What is written here follows what was submitted before, from whatever thread.
        self.backend.check()?;
        let metadata =
            Metadata::from_texts(file.metadata()).map_err(|reason| file.no_state(reason))?;
        self.check_parameters(&file, &metadata)?;
        let mut states = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            states.push(self.read_state(&mut file, &metadata, parameter)?);
        }
        // One that a scheduler got wrong is no reason to lose the rest.
        let learning_rate = match check_learning_rate(metadata.learning_rate) {
            Ok(()) => metadata.learning_rate,
            Err(_) => self.learning_rate,
        };
        let mut report = LoadReport {
            step: metadata.step,
            differences: self.differences(&metadata),
            replaced_learning_rate: (learning_rate != self.learning_rate)
                .then_some(self.learning_rate),
        };
        if learning_rate != metadata.learning_rate {
            report.differences.push(format!(
                "its learning rate {} is none that a step takes; {learning_rate} stays",
                metadata.learning_rate
            ));
        }
        for (parameter, state) in self.parameters.iter_mut().zip(states) {
            parameter.state = state;
            parameter.raised = None;
        }
        self.raise_as_saved(&metadata, &mut report.differences);
        self.step = metadata.step;
        self.learning_rate = learning_rate;
        self.torn = None;
        self.snapshot = None;
        self.pin_kernels(&metadata, &mut report.differences);
        let path = file.path().display();
        if let Some(before) = report.replaced_learning_rate {
            tracing::info!(
                "{path}: the learning rate was {before}, is now {}, the state's",
                self.learning_rate
            );
        }
        for difference in &report.differences {
            tracing::warn!("{path}: {difference}");
        }
        Ok(report)
    }

    /// Refuses the state of other parameters.
    fn check_parameters<R: Read + Seek>(
        &self,
        file: &StateFile<R>,
        metadata: &Metadata,
    ) -> Result<(), StateError> {
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
    fn read_state<R: Read + Seek>(
        &self,
        file: &mut StateFile<R>,
        metadata: &Metadata,
        parameter: &Parameter<M>,
    ) -> Result<ParameterState<M>, Error> {
        let mut state = match &parameter.state {
            ParameterState::Muon { momentum, .. } => {
                ParameterState::muon(M::whole(momentum).element())
            }
            ParameterState::AdamW { .. } => ParameterState::adamw(),
        };
        if let ParameterState::AdamW { updates, .. } = &mut state {
            let saved = metadata.parameters.get(&parameter.name);
            *updates = saved.map_or(0, |saved| saved.updates);
            check_moments(file, &parameter.name, *updates)?;
        }
        let shapes = self.buffer_shapes(parameter);
        let names = tensor_names(parameter).into_iter();
        let names = names.zip(parameter.state.names());
        for ((buffer, (key, (_, dtype))), shape) in
            state.buffers_mut().into_iter().zip(names).zip(shapes)
        {
            let len = shape.iter().product();
            if len == 0 || !file.has(&key) {
                continue;
            }
            let element = M::whole(buffer).element();
            *buffer = M::filled(&self.backend.allocator(), element, len, &key, |bytes| {
                file.read(&key, dtype, &shape, bytes).map_err(Error::from)
            })?;
        }
        Ok(state)
    }

    /// The tensors of a parameter; those without memory are left out.
    fn entries_of<'a>(&self, parameter: &'a Parameter<M>) -> Result<Vec<Entry<'a>>, Error> {
        let allocator = self.backend.allocator();
        let mut entries = Vec::new();
        let shapes = self.buffer_shapes(parameter);
        let buffers = parameter.state.buffers().into_iter();
        let names = tensor_names(parameter).into_iter();
        let names = names.zip(parameter.state.names());
        for ((buffer, (name, (_, dtype))), shape) in buffers.zip(names).zip(shapes) {
            if M::whole(buffer).is_empty() {
                continue;
            }
            entries.push(Entry {
                name,
                dtype,
                shape,
                bytes: M::bytes(&allocator, buffer)?,
            });
        }
        Ok(entries)
    }

    /// The shapes of a parameter's buffers, as it declares them; one without numbers is left out of the file.
    fn buffer_shapes(&self, parameter: &Parameter<M>) -> Vec<Vec<usize>> {
        let shape = parameter.shape.clone();
        let remainder = match self.groups[parameter.group].options.master_weights() {
            true => shape.clone(),
            false => vec![0],
        };
        match (
            &parameter.state,
            &self.groups[parameter.group].options,
            parameter.matrices,
        ) {
            (ParameterState::Muon { .. }, GroupOptions::Muon(options), Some(view)) => {
                let rows = options
                    .row_normalisation
                    .map_or(0, |_| view.count * view.rows);
                let basis = [view.count, view.columns, basis_columns(options, view)];
                vec![shape, vec![rows], basis.to_vec(), remainder]
            }
            _ => vec![shape.clone(), shape, remainder],
        }
    }

    /// Goes on with the tiles that the saved run's probe had raised.
    fn raise_as_saved(&mut self, metadata: &Metadata, differences: &mut Vec<String>) {
        for parameter in &mut self.parameters {
            let saved = metadata.parameters.get(&parameter.name);
            let Some(spec) = saved.and_then(|saved| saved.raised.as_ref()) else {
                continue;
            };
            parameter.raised = match &self.groups[parameter.group].options {
                GroupOptions::Muon(options) => options
                    .specs
                    .iter()
                    .position(|own| own.to_string() == *spec),
                GroupOptions::AdamW(_) => None,
            };
            if parameter.raised.is_none() {
                differences.push(format!(
                    "parameter {} had been raised to {spec}, which its group no longer declares",
                    parameter.name
                ));
            }
        }
    }

    /// Goes on with the kernels that the saved run used, where this backend has them.
    fn pin_kernels(&mut self, metadata: &Metadata, differences: &mut Vec<String>) {
        self.resumed_kernels.clear();
        self.tuning.unpin_all();
        self.plans.clear();
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
                self.resumed_kernels.insert(spec.clone(), kernel.clone());
            } else {
                differences.push(format!("kernel {} of {spec} is not available", kernel.id));
            }
        }
    }
}

/// Refuses updates without their moments: the next one would be far too large.
fn check_moments<R: Read + Seek>(
    file: &StateFile<R>,
    name: &str,
    updates: u64,
) -> Result<(), StateError> {
    let missing = ["exp_avg", "exp_avg_sq"].map(|moment| !file.has(&format!("{name}.{moment}")));
    if missing[0] != missing[1] || (updates > 0 && missing[0]) {
        return Err(file.foreign(format!(
            "parameter {name} was updated {updates} times, and its moments exp_avg and exp_avg_sq are not both there"
        )));
    }
    Ok(())
}

fn tensor_names<M: Memory>(parameter: &Parameter<M>) -> Vec<String> {
    let names = parameter.state.names().into_iter();
    names
        .map(|(name, _)| format!("{}.{name}", parameter.name))
        .collect()
}
