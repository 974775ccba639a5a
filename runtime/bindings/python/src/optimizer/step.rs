//! One step over tensors that are borrowed or known by their addresses.

use himuon::ParameterStep;
use himuon::cpu::with_default_floats;
use himuon::overlap::{Operand, overlap};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyMapping;

use super::Optimizer;
use crate::errors::{argument, raised};
use crate::place::{Placed, on_either};
use crate::report::StepReport;
use crate::tensor::Borrowed;

impl Optimizer {
    /// One tensor or nothing for each parameter, by name or in the declared order.
    fn ordered<'py>(
        &self,
        given: &Bound<'py, PyAny>,
        what: &str,
    ) -> PyResult<Vec<Option<Bound<'py, PyAny>>>> {
        let present = |tensor: Bound<'py, PyAny>| (!tensor.is_none()).then_some(tensor);
        let count = self.names.len();
        if let Ok(by_name) = given.cast::<PyMapping>() {
            let mut declared = 0;
            let find = |name: &String| match by_name.contains(name)? {
                true => {
                    declared += 1;
                    Ok(present(by_name.get_item(name)?))
                }
                false => Ok(None),
            };
            let found = self.names.iter().map(find).collect::<PyResult<_>>()?;
            return match by_name.len()? == declared {
                true => Ok(found),
                false => Err(self.undeclared(by_name, what)?),
            };
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

    /// Names the entry of a mapping that is no parameter.
    fn undeclared(&self, by_name: &Bound<'_, PyMapping>, what: &str) -> PyResult<PyErr> {
        let names = by_name.keys()?.extract::<Vec<String>>()?;
        let foreign = names.iter().find(|name| !self.names.contains(name));
        let foreign = foreign.map_or("a name twice", String::as_str);
        let text = format!("{what} has {foreign}, which is not declared");
        Ok(PyKeyError::new_err(text))
    }

    /// The tensors of one kind, borrowed.
    pub(super) fn borrow<'py>(
        &self,
        given: &Bound<'py, PyAny>,
        what: &str,
        each: &str,
    ) -> PyResult<Vec<Option<Borrowed<'py>>>> {
        let tensors = self.ordered(given, what)?.into_iter();
        tensors
            .zip(self.names.iter().zip(&self.shapes))
            .map(|(tensor, (name, shape))| {
                let what = || format!("{each} {name}");
                let borrow = |tensor| Borrowed::new(&tensor, what(), shape, self.place);
                tensor.map(borrow).transpose()
            })
            .collect()
    }

    /// Tensors of one kind at addresses.
    pub(super) fn located(
        &self,
        given: Vec<Option<(usize, String)>>,
        each: &str,
    ) -> PyResult<Vec<Option<Borrowed<'static>>>> {
        let (found, count) = (given.len(), self.names.len());
        if found != count {
            return Err(argument(format!(
                "{each}s have {found} entries, expected one for each of the {count} parameters"
            )));
        }
        let pairs = given.into_iter().zip(self.names.iter().zip(&self.shapes));
        pairs
            .map(|(given, (name, shape))| {
                let at = |(address, element): (usize, String)| {
                    let element = element.parse();
                    let element = element.map_err(|error| argument(format!("{error}")))?;
                    Borrowed::at(address, element, format!("{each} {name}"), shape)
                };
                given.map(at).transpose()
            })
            .collect()
    }

    /// Takes one step over tensors that are at the optimizer's place.
    pub(super) fn step_over(
        &self,
        py: Python<'_>,
        weights: &[Borrowed<'_>],
        gradients: &[Option<Borrowed<'_>>],
    ) -> PyResult<StepReport> {
        self.check(weights, gradients)?;
        let mut inner = self.inner()?;
        let types: Vec<_> = weights.iter().map(Borrowed::element).collect();
        on_either!(&*inner, inner => inner.check_weight_types(&types)).map_err(raised)?;
        let pairs = weights.iter().zip(gradients);
        let report = match &mut *inner {
            Placed::Host(inner) => {
                let mut steps: Vec<_> = pairs
                    .map(|(weight, gradient)| ParameterStep {
                        // SAFETY: borrowed until the end of this function, in this process's memory, writable and apart from
                        // all others by `check`; that no other thread uses it meanwhile is what the package's documentation
                        // asks.
                        weight: unsafe { weight.write() },
                        // SAFETY: as above, and only read.
                        gradient: gradient.as_ref().map(|tensor| unsafe { tensor.read() }),
                    })
                    .collect();
                py.detach(|| with_default_floats(|| inner.step(&mut steps)))
            }
            Placed::Device(inner) => {
                let mut steps: Vec<_> = pairs
                    .map(|(weight, gradient)| ParameterStep {
                        // SAFETY: on the optimizer's device, writable and apart from all others by `check`; that it stays, and
                        // is used by other streams in the order of this one alone, is what the package's documentation asks.
                        weight: unsafe { weight.write_on_device() },
                        // SAFETY: as above, and only read.
                        gradient: gradient
                            .as_ref()
                            .map(|tensor| unsafe { tensor.read_on_device() }),
                    })
                    .collect();
                let place = self.place;
                py.detach(|| place.keep_context().map(|_current| inner.step(&mut steps)))?
            }
        };
        Ok(StepReport::new(&report.map_err(raised)?, &self.names))
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
