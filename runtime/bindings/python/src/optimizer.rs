//! The optimizer over the caller's own tensors.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, TryLockError};

use himuon::optimizer::{BuildError as Build, LearningRate, NonFinitePolicy};
use himuon::overlap::{Operand, overlap};
use himuon::{HiMuon, ParameterStep};
use pyo3::exceptions::{PyKeyError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping};

use crate::errors::{argument, raised, unbuilt};
use crate::options::{AdamW, Schedule, word};
use crate::report::StepReport;
use crate::selection::{Selector, declared, with_group};
use crate::tensor::Borrowed;

/// An optimizer over named tensors, which stay the caller's.
#[pyclass(frozen, module = "himuon")]
pub(crate) struct Optimizer {
    inner: Mutex<HiMuon>,
    parameters: Vec<(String, Vec<usize>)>,
    names: Vec<String>,
    /// The process whose threads it has.
    process: u32,
}

impl Optimizer {
    /// The optimizer, for this thread: waiting for another one here would wait for ever, as that one waits for Python.
    fn inner(&self) -> PyResult<MutexGuard<'_, HiMuon>> {
        if self.process != std::process::id() {
            return Err(PyRuntimeError::new_err(
                "this optimizer was made before the process forked, and its threads are the parent's; make one here",
            ));
        }
        match self.inner.try_lock() {
            Ok(inner) => Ok(inner),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "another thread is using this optimizer; step it from one thread at a time",
            )),
            Err(TryLockError::Poisoned(_)) => Err(PyRuntimeError::new_err(
                "a defect: an earlier call panicked; make the optimizer again and load a saved state",
            )),
        }
    }

    /// One tensor or nothing for each parameter, by name or in the declared order.
    fn ordered<'py>(
        &self,
        given: &Bound<'py, PyAny>,
        what: &str,
    ) -> PyResult<Vec<Option<Bound<'py, PyAny>>>> {
        let present = |tensor: Bound<'py, PyAny>| (!tensor.is_none()).then_some(tensor);
        let count = self.names.len();
        if let Ok(by_name) = given.cast::<PyMapping>() {
            for name in by_name.keys()?.iter() {
                let name: String = name.extract()?;
                if !self.names.contains(&name) {
                    let text = format!("{what} has {name}, which is not declared");
                    return Err(PyKeyError::new_err(text));
                }
            }
            let find = |name: &String| match by_name.contains(name)? {
                true => Ok(present(by_name.get_item(name)?)),
                false => Ok(None),
            };
            return self.names.iter().map(find).collect();
        }
        let listed = given.try_iter()?.map(|tensor| Ok(present(tensor?)));
        let listed = listed.collect::<PyResult<Vec<_>>>()?;
        if listed.len() != count {
            let found = listed.len();
            return Err(argument(format!(
                "{what} has {found} entries, expected one for each of the {count} parameters"
            )));
        }
        Ok(listed)
    }

    fn borrow<'py>(
        &self,
        given: &Bound<'py, PyAny>,
        what: &str,
        each: &str,
    ) -> PyResult<Vec<Option<Borrowed<'py>>>> {
        let tensors = self.ordered(given, what)?.into_iter();
        tensors
            .zip(&self.parameters)
            .map(|(tensor, (name, shape))| {
                let borrow = |tensor| Borrowed::new(&tensor, format!("{each} {name}"), shape);
                tensor.map(borrow).transpose()
            })
            .collect()
    }

    /// Refuses weights that may not be written to or share memory with other tensors.
    fn check(&self, weights: &[Borrowed<'_>], gradients: &[Option<Borrowed<'_>>]) -> PyResult<()> {
        weights.iter().try_for_each(Borrowed::check_writable)?;
        let weight_ranges: Vec<_> = weights.iter().map(Borrowed::range).collect();
        let gradient_ranges: Vec<_> = gradients
            .iter()
            .map(|gradient| gradient.as_ref().map(Borrowed::range))
            .collect();
        let Some((first, second)) = overlap(&weight_ranges, &gradient_ranges) else {
            return Ok(());
        };
        let named = |operand| match operand {
            Operand::Weight(index) => format!("weight {}", self.names[index]),
            Operand::Gradient(index) => format!("gradient {}", self.names[index]),
        };
        Err(argument(format!(
            "{} and {} share memory; a weight must be nobody else's",
            named(first),
            named(second)
        )))
    }
}

#[pymethods]
impl Optimizer {
    #[new]
    #[pyo3(signature = (
        parameters, groups=Vec::new(), *, lr=0.02, adamw=None, schedule=None, memory_budget=None, threads=None,
        non_finite="skip_tile"
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        parameters: &Bound<'_, PyAny>,
        groups: Vec<(Selector, Bound<'_, PyAny>)>,
        lr: f64,
        adamw: Option<PyRef<'_, AdamW>>,
        schedule: Option<Schedule>,
        memory_budget: Option<u64>,
        threads: Option<usize>,
        non_finite: &str,
    ) -> PyResult<Self> {
        let policies = [
            ("skip_tile", NonFinitePolicy::SkipTile),
            ("skip_step", NonFinitePolicy::SkipStep),
            ("error", NonFinitePolicy::Error),
        ];
        let parameters = declared(parameters)?;
        let mut builder = HiMuon::builder()
            .parameters(parameters.iter().cloned())
            .learning_rate(lr)
            .non_finite(word("non_finite", non_finite, &policies)?);
        if let Some(adamw) = adamw {
            builder = builder.adamw(adamw.0);
        }
        if let Some(schedule) = schedule {
            builder = builder.schedule(schedule.parse()?);
        }
        if let Some(bytes) = memory_budget {
            builder = builder.memory_budget(bytes);
        }
        if let Some(threads) = threads {
            builder = builder.threads(threads);
        }
        let mut groups = groups.into_iter();
        let builder = groups.try_fold(builder, with_group)?;
        check_rate(lr)?;
        let inner = py.detach(|| builder.build()).map_err(unbuilt)?;
        Ok(Optimizer {
            inner: Mutex::new(inner),
            names: parameters.iter().map(|(name, _)| name.clone()).collect(),
            parameters,
            process: std::process::id(),
        })
    }

    /// Takes one step: updates the weights in place, reads the gradients. Both are mappings by name or sequences in the
    /// declared order; a parameter whose gradient is None or left out stays as it is.
    fn step(
        &self,
        py: Python<'_>,
        weights: &Bound<'_, PyAny>,
        gradients: &Bound<'_, PyAny>,
    ) -> PyResult<StepReport> {
        let weights = self.borrow(weights, "weights", "weight")?.into_iter();
        let weights = weights
            .zip(&self.names)
            .map(|(weight, name)| {
                weight.ok_or_else(|| PyKeyError::new_err(format!("weight {name} is missing")))
            })
            .collect::<PyResult<Vec<_>>>()?;
        let gradients = self.borrow(gradients, "gradients", "gradient")?;
        self.check(&weights, &gradients)?;
        let mut inner = self.inner()?;
        let types: Vec<_> = weights.iter().map(Borrowed::element).collect();
        inner.check_weight_types(&types).map_err(raised)?;
        let mut steps: Vec<_> = weights
            .iter()
            .zip(&gradients)
            .map(|(weight, gradient)| ParameterStep {
                // SAFETY: borrowed until the end of this function, writable and apart from all others by `check`; that
                // no other thread uses it meanwhile is what the package's documentation asks.
                weight: unsafe { weight.write() },
                // SAFETY: borrowed until the end of this function and apart from the weights by `check`.
                gradient: gradient.as_ref().map(|gradient| unsafe { gradient.read() }),
            })
            .collect();
        let inner: &mut HiMuon = &mut inner;
        let report = py.detach(|| inner.step(&mut steps)).map_err(raised)?;
        Ok(StepReport::new(&report, &self.names))
    }

    /// Names of the parameters, in the declared order.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Steps taken so far.
    #[getter]
    fn steps_taken(&self) -> PyResult<u64> {
        Ok(self.inner()?.steps_taken())
    }

    /// The learning rate that groups follow.
    #[getter]
    fn lr(&self) -> PyResult<f64> {
        Ok(self.inner()?.learning_rate())
    }

    #[setter]
    fn set_lr(&self, lr: f64) -> PyResult<()> {
        check_rate(lr)?;
        self.inner()?.set_learning_rate(lr);
        Ok(())
    }

    /// Sets a rate of a group's own, or how it follows the optimizer's.
    #[pyo3(signature = (group, *, lr=None, lr_factor=None))]
    fn set_group_lr(&self, group: &str, lr: Option<f64>, lr_factor: Option<f64>) -> PyResult<()> {
        let rate = match (lr, lr_factor) {
            (Some(rate), None) => LearningRate::Own(rate),
            (None, Some(factor)) => LearningRate::Factor(factor),
            _ => return Err(argument("expected either lr or lr_factor")),
        };
        built(self.inner()?.set_group_learning_rate(group, rate))
    }

    /// Sets the decoupled weight decay of a group.
    fn set_weight_decay(&self, group: &str, weight_decay: f64) -> PyResult<()> {
        built(self.inner()?.set_weight_decay(group, weight_decay))
    }

    /// Sets the momentum of a group of tiles.
    fn set_momentum(&self, group: &str, momentum: f64) -> PyResult<()> {
        built(self.inner()?.set_momentum(group, momentum))
    }

    /// Sets the decay of both moments of a group of AdamW.
    fn set_betas(&self, group: &str, betas: (f64, f64)) -> PyResult<()> {
        built(self.inner()?.set_betas(group, betas.0, betas.1))
    }

    /// What was found odd when the optimizer was built.
    #[getter]
    fn warnings(&self) -> PyResult<Vec<String>> {
        Ok(self.inner()?.warnings().to_vec())
    }

    /// A line for each parameter: shape, group, tiles, bytes, and why.
    fn explain(&self) -> PyResult<String> {
        Ok(self.inner()?.explain().map_err(raised)?.to_string())
    }

    /// The group of each parameter, by name.
    #[getter]
    fn groups(&self) -> PyResult<Vec<(String, String)>> {
        let explained = self.inner()?.explain().map_err(raised)?;
        let parameters = explained.parameters.into_iter();
        Ok(parameters.map(|line| (line.name, line.group)).collect())
    }

    /// Writes the state to a safetensors file, whole or not at all.
    fn save_state(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let inner: &mut HiMuon = &mut *self.inner()?;
        py.detach(move || inner.save_state(path)).map_err(raised)
    }

    /// Takes over a saved state; gives the options that are not what they were.
    fn load_state(&self, py: Python<'_>, path: PathBuf) -> PyResult<Vec<String>> {
        let inner: &mut HiMuon = &mut *self.inner()?;
        let report = py.detach(|| inner.load_state(path)).map_err(raised)?;
        Ok(report.differences)
    }

    /// What `save_state` would write.
    fn state_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let inner: &mut HiMuon = &mut *self.inner()?;
        let bytes = py
            .detach(move || inner.save_state_to_bytes())
            .map_err(raised)?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// As `load_state`, from what `state_bytes` gave.
    fn load_state_bytes(&self, py: Python<'_>, state: &[u8]) -> PyResult<Vec<String>> {
        let inner: &mut HiMuon = &mut *self.inner()?;
        let report = py.detach(|| inner.load_state_from_bytes(state));
        let report = report.map_err(raised)?;
        Ok(report.differences)
    }

    fn __repr__(&self) -> PyResult<String> {
        let steps = self.inner()?.steps_taken();
        let count = self.names.len();
        Ok(format!(
            "himuon.Optimizer({count} parameters, {steps} steps taken)"
        ))
    }
}

fn built(done: Result<(), Build>) -> PyResult<()> {
    done.map_err(|error| raised(error.into()))
}

fn check_rate(lr: f64) -> PyResult<()> {
    match (lr as f32).is_finite() && lr >= 0.0 {
        true => Ok(()),
        false => Err(argument(format!(
            "lr is {lr}, expected a finite number of at least 0"
        ))),
    }
}
