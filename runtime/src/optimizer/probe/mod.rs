//! A look at a few tiles every so many steps: whether the tiled update is still close to the map of the whole
//! matrix, without a singular value decomposition.

mod drift;
mod momentum;
mod options;
mod prober;

pub use options::{DriftPolicy, ProbeCallback, ProbeOptions, ProbeReading};

use super::buffers::ParameterState;
use super::prepare::{Ready, Scalars};
use super::{HiMuon, ParameterStep};
use crate::backend::BackendError;
use crate::cpu::{CpuError, Pool, Workspace};
use crate::error::Error;
use crate::memory::Memory;
use momentum::{mapped_momentum, matrix_of};
use prober::Prober;

/// The probe's kernels refused; the step has not begun.
fn refused(spec: &str, error: &CpuError) -> BackendError {
    BackendError::Launch {
        spec: spec.to_owned(),
        reason: error.to_string(),
    }
}

/// A reading, and whose it is.
pub(in crate::optimizer) struct Read {
    parameter: usize,
    reading: ProbeReading,
}

impl<M: Memory> HiMuon<M> {
    /// Reads what a prepared step is about to map. Nothing changes.
    pub(in crate::optimizer) fn probe(
        &self,
        ready: &Ready,
        parameters: &[ParameterStep<'_, M>],
    ) -> Result<Vec<Read>, Error> {
        let Some(options) = &self.probe else {
            return Ok(Vec::new());
        };
        let due = |period: u64| period > 0 && self.step.is_multiple_of(period);
        let whole = due(options.whole_every)
            .then(|| self.whole_matrix(options))
            .flatten();
        if (!due(options.every) && whole.is_none()) || ready.skipped_for.is_some() {
            return Ok(Vec::new());
        }
        let mut prober = Prober {
            pool: Pool::new(self.backend.threads())
                .map_err(|error| refused("the probe", &error))?,
            workspace: Workspace::new(),
            options,
            step: self.step,
        };
        let allocator = self.backend.allocator();
        let mut readings = Vec::new();
        let launches = ready.plan.launches.iter();
        for (launch, planned) in launches.flat_map(|l| l.matrices.iter().map(move |m| (l, m))) {
            let place = (planned.parameter, planned.index);
            let parameter = &self.parameters[planned.parameter];
            if !due(options.every) && whole != Some(place) {
                continue;
            }
            let (Some(gradient), Scalars::Muon(scalars), ParameterState::Muon { momentum, .. }) = (
                parameters[planned.parameter].gradient.clone(),
                &ready.scalars[parameter.group],
                &parameter.state,
            ) else {
                continue;
            };
            if !ready.takes_part[planned.parameter] {
                continue;
            }
            let momentum = mapped_momentum::<M>(
                &allocator,
                matrix_of::<M>(gradient, planned),
                matrix_of::<M>(M::whole(momentum), planned),
                scalars,
            )?;
            let reading = prober
                .read(
                    &launch.spec,
                    (planned.rows, planned.columns),
                    &momentum,
                    whole == Some(place),
                )
                .map_err(|error| refused(&launch.spec.to_string(), &error))?;
            readings.extend(reading.map(|reading| Read {
                parameter: planned.parameter,
                reading: ProbeReading {
                    parameter: parameter.name.clone(),
                    matrix: planned.index,
                    ..reading
                },
            }));
        }
        Ok(readings)
    }

    /// Whose turn it is to be compared with its whole map.
    fn whole_matrix(&self, options: &ProbeOptions) -> Option<(usize, usize)> {
        let places = self
            .parameters
            .iter()
            .enumerate()
            .filter_map(|(index, parameter)| {
                parameter
                    .matrices
                    .map(|view| (0..view.count).map(move |place| (index, place)))
            });
        let places: Vec<_> = places.flatten().collect();
        let turn = (self.step / options.whole_every) % places.len().max(1) as u64;
        places.get(turn as usize).copied()
    }
}
