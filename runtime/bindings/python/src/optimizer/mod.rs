//! The optimizer over the caller's own tensors.

mod step;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, TryLockError};

use himuon::HiMuon;
use himuon::cpu::with_default_floats;
use himuon::messages::silenced;
use himuon::optimizer::{BuildError as Build, LearningRate, NonFinitePolicy, check_learning_rate};
use pyo3::exceptions::{PyKeyError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{argument, raised};
use crate::options::{AdamW, Schedule, word};
use crate::place::{Place, Placed, on_either};
use crate::report::{StepReport, TileCounts};
use crate::selection::{Selector, declared, with_group};

/// An optimizer over named tensors, which stay the caller's.
///
/// Args:
///     parameters: a mapping from names to arrays or shapes, or pairs of them; steps take them in this order, or by name.
///     groups: ``(pattern, Muon or AdamW)``, of which the first that matches takes a parameter; a pattern is a glob over the
///         whole name (``*``, ``?``, ``[ab]``, ``{a,b}``). ``((name, [parameters]), options)`` lists them one by one. What no
///         group takes goes to AdamW, and so do vectors, embeddings and heads of a group of tiles.
///     lr: the learning rate that groups follow.
///     adamw: options of what no group takes.
///     schedule: of groups that have none of their own; see Muon.
///     memory_budget: bytes of scratch memory that no launch may pass; None for no limit.
///     threads: threads of a step on the CPU; None: all that the system offers.
///     non_finite: what a NaN or an infinity does: ``skip_tile`` leaves its tile alone (of AdamW's parameters the whole),
///         ``skip_step`` the whole step, ``error`` refuses the step.
///     device: ``cpu`` (None too), ``cuda`` or ``cuda:N``.
///
/// Raises:
///     BuildError: parameters, groups or options that do not go together, or a device that is not there.
#[pyclass(frozen, module = "himuon")]
pub(crate) struct Optimizer {
    inner: Mutex<Placed>,
    place: Place,
    names: Vec<String>,
    shapes: Vec<Vec<usize>>,
    /// The process whose threads it has.
    process: u32,
}

impl Optimizer {
    /// The optimizer, for this thread: waiting for another one here would wait for ever, as that one waits for Python.
    fn inner(&self) -> PyResult<MutexGuard<'_, Placed>> {
        if self.process != std::process::id() {
            return Err(PyRuntimeError::new_err(match self.place {
                Place::Cpu => {
                    "this optimizer was made before the process forked, and its threads are the parent's; make one here"
                }
                Place::Cuda(_) => {
                    "this optimizer was made before the process forked, and CUDA works in no forked process; start processes by \
                     the method \"spawn\" and make one there"
                }
            }));
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

    /// Asks the library while other Python threads run, with what is current for this one kept.
    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&mut Placed) -> Result<T, himuon::Error> + Send,
    ) -> PyResult<T> {
        let inner: &mut Placed = &mut *self.inner()?;
        py.detach(move || {
            let _current = self.place.keep_context()?;
            with_default_floats(|| ask(inner)).map_err(raised)
        })
    }
}

#[pymethods]
impl Optimizer {
    #[new]
    #[pyo3(signature = (
        parameters, groups=Vec::new(), *, lr=0.02, adamw=None, schedule=None, memory_budget=None, threads=None,
        non_finite="skip_tile", device=None
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
        device: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let place = device.map_or(Ok(Place::Cpu), Place::parse)?;
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
            builder = builder.adamw(adamw.options);
        }
        if let Some(schedule) = schedule {
            builder = builder.schedule(schedule.parse()?);
        }
        if let Some(bytes) = memory_budget {
            builder = builder.memory_budget(bytes);
        }
        match (threads, place) {
            (Some(threads), Place::Cpu) => builder = builder.threads(threads),
            (Some(threads), Place::Cuda(_)) => {
                return Err(argument(format!(
                    "threads is {threads}, expected None for {place}, whose threads are its own"
                )));
            }
            (None, _) => {}
        }
        let mut groups = groups.into_iter();
        let builder = groups.try_fold(builder, with_group)?;
        check_rate(lr)?;
        let (names, shapes) = parameters.into_iter().unzip();
        Ok(Optimizer {
            inner: Mutex::new(Placed::build(py, builder, place)?),
            place,
            names,
            shapes,
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
        self.step_over(py, &weights, &gradients)
    }

    /// As `step`, over `(address, type)` of contiguous numbers at the optimizer's place, as many as are declared: for those
    /// who know their tensors, and order streams themselves.
    #[pyo3(name = "_step_at")]
    fn step_at(
        &self,
        py: Python<'_>,
        weights: Vec<(usize, String)>,
        gradients: Vec<Option<(usize, String)>>,
    ) -> PyResult<StepReport> {
        let weights = weights.into_iter().map(Some).collect();
        let weights = self.located(weights, "weight")?;
        let gradients = self.located(gradients, "gradient")?;
        self.step_over(
            py,
            &weights.into_iter().flatten().collect::<Vec<_>>(),
            &gradients,
        )
    }

    /// What the steps of this object left alone; waits for a device.
    fn tile_counts(&self, py: Python<'_>) -> PyResult<TileCounts> {
        let counts = self.detached(py, |inner| on_either!(inner, inner => inner.tile_counts()))?;
        Ok(counts.into())
    }

    /// Names of the parameters, in the declared order.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Steps taken so far.
    #[getter]
    fn steps_taken(&self) -> PyResult<u64> {
        Ok(on_either!(&*self.inner()?, inner => inner.steps_taken()))
    }

    /// The learning rate that groups follow.
    #[getter]
    fn lr(&self) -> PyResult<f64> {
        Ok(on_either!(&*self.inner()?, inner => inner.learning_rate()))
    }

    #[setter]
    fn set_lr(&self, lr: f64) -> PyResult<()> {
        check_rate(lr)?;
        on_either!(&mut *self.inner()?, inner => inner.set_learning_rate(lr));
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
        built(on_either!(&mut *self.inner()?, inner => inner.set_group_learning_rate(group, rate)))
    }

    /// Sets the decoupled weight decay of a group.
    fn set_weight_decay(&self, group: &str, weight_decay: f64) -> PyResult<()> {
        built(on_either!(&mut *self.inner()?, inner => inner.set_weight_decay(group, weight_decay)))
    }

    /// Sets the momentum of a group of tiles.
    fn set_momentum(&self, group: &str, momentum: f64) -> PyResult<()> {
        built(on_either!(&mut *self.inner()?, inner => inner.set_momentum(group, momentum)))
    }

    /// Sets the decay of both moments of a group of AdamW.
    fn set_betas(&self, group: &str, betas: (f64, f64)) -> PyResult<()> {
        built(on_either!(&mut *self.inner()?, inner => inner.set_betas(group, betas.0, betas.1)))
    }

    /// What was found odd when the optimizer was built, and logged.
    #[getter]
    fn warnings(&self) -> PyResult<Vec<String>> {
        Ok(on_either!(&*self.inner()?, inner => inner.warnings().to_vec()))
    }

    /// A line for each parameter: shape, group, tiles, bytes, and why.
    fn explain(&self, py: Python<'_>) -> PyResult<String> {
        let explained = self.detached(py, |inner| on_either!(inner, inner => inner.explain()))?;
        Ok(explained.to_string())
    }

    /// The group of each parameter, by name.
    #[getter]
    fn groups(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        let explained = self.detached(py, |inner| on_either!(inner, inner => inner.explain()))?;
        let parameters = explained.parameters.into_iter();
        Ok(parameters.map(|line| (line.name, line.group)).collect())
    }

    /// Writes the state to a safetensors file, whole or not at all.
    fn save_state(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.detached(
            py,
            |inner| on_either!(inner, inner => inner.save_state(path)),
        )
    }

    /// Takes over a saved state, with its learning rate; gives the options that are not what they were.
    fn load_state(&self, py: Python<'_>, path: PathBuf) -> PyResult<Vec<String>> {
        let load =
            |inner: &mut Placed| on_either!(inner, inner => silenced(|| inner.load_state(path)));
        Ok(self.detached(py, load)?.differences)
    }

    /// What `save_state` would write.
    fn state_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let save = |inner: &mut Placed| on_either!(inner, inner => inner.save_state_to_bytes());
        Ok(PyBytes::new(py, &self.detached(py, save)?))
    }

    /// As `load_state`, from what `state_bytes` gave.
    fn load_state_bytes(&self, py: Python<'_>, state: &[u8]) -> PyResult<Vec<String>> {
        let load = |inner: &mut Placed| on_either!(inner, inner => silenced(|| inner.load_state_from_bytes(state)));
        Ok(self.detached(py, load)?.differences)
    }

    /// `cpu` or `cuda:N`, as tensors are to be.
    #[getter]
    fn device(&self) -> String {
        match self.place {
            Place::Cpu => "cpu".to_owned(),
            cuda @ Place::Cuda(_) => cuda.to_string(),
        }
    }

    fn __repr__(&self) -> PyResult<String> {
        let steps = self.steps_taken()?;
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
    check_learning_rate(lr).map_err(|error| argument(error.to_string()))
}
