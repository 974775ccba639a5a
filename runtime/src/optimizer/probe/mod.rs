//! A look at a few tiles every so many steps: whether the tiled update is still close to the map of the whole
//! matrix, without a singular value decomposition.

mod drift;
mod momentum;
mod options;
mod prober;

use std::collections::BTreeSet;

pub use options::{DriftPolicy, ProbeCallback, ProbeOptions, ProbeReading};

use super::buffers::ParameterState;
use super::prepare::{Ready, Scalars};
use super::{HiMuon, ParameterStep};
use crate::backend::BackendError;
use crate::cpu::{CpuError, Pool, Workspace};
use crate::error::Error;
use crate::memory::Memory;
use crate::plan::Plan;
use momentum::{mapped_momentum, matrix_of};
use prober::{Prober, reading_bytes};

/// The probe's kernels refused; the step has not begun.
fn refused(spec: &str, error: &CpuError) -> BackendError {
    BackendError::Refused {
        spec: spec.to_owned(),
        reason: error.to_string(),
    }
}

/// As many threads as the backend has, which on a GPU are blocks in flight, but no more than the system offers.
fn threads(backend_threads: usize) -> usize {
    let offered = std::thread::available_parallelism().map_or(1, usize::from);
    backend_threads.clamp(1, offered)
}

/// A reading, and whose it is.
pub(in crate::optimizer) struct Read {
    parameter: usize,
    reading: ProbeReading,
}

impl<M: Memory> HiMuon<M> {
    /// Reads what a prepared step is about to map. Nothing changes.
    pub(in crate::optimizer) fn probe(
        &mut self,
        ready: &Ready,
        parameters: &[ParameterStep<'_, M>],
    ) -> Result<Vec<Read>, Error> {
        let Some(options) = self.probe.clone() else {
            return Ok(Vec::new());
        };
        let whole = self
            .due(options.whole_every)
            .then(|| self.whole_matrix(&options))
            .flatten();
        if (!self.due(options.every) && whole.is_none()) || ready.skipped_for.is_some() {
            return Ok(Vec::new());
        }
        let pool = match self.probe_pool.take() {
            Some(pool) => pool,
            None => Pool::new(threads(self.backend.threads()))
                .map_err(|error| refused("the probe", &error))?,
        };
        let mut prober = Prober {
            pool: &pool,
            workspace: Workspace::new(),
            options: &options,
            step: self.step,
        };
        let readings = self.readings(&mut prober, whole, ready, parameters);
        self.probe_pool = Some(pool);
        readings
    }

    /// Bytes that a reading of this plan's matrices takes at most, for as long as it lasts.
    pub(in crate::optimizer) fn probe_bytes(&self, plan: &Plan) -> Result<u64, Error> {
        let Some(options) = &self.probe else {
            return Ok(0);
        };
        let (threads, compared) = (threads(self.backend.threads()), options.whole_every > 0);
        let mut most = 0;
        for launch in &plan.launches {
            let shapes: BTreeSet<_> = launch
                .matrices
                .iter()
                .map(|m| (m.rows, m.columns))
                .collect();
            for shape in shapes {
                let bytes = reading_bytes(&launch.spec, shape, threads, compared)
                    .map_err(|error| refused(&launch.spec.to_string(), &error))?;
                most = most.max(bytes as u64);
            }
        }
        Ok(most)
    }

    /// Whether something of this period, 0 for never, happens at this step.
    fn due(&self, period: u64) -> bool {
        period > 0 && self.step.is_multiple_of(period)
    }

    /// What the prober sees of the matrices whose turn it is.
    fn readings(
        &self,
        prober: &mut Prober<'_>,
        whole: Option<(usize, usize)>,
        ready: &Ready,
        parameters: &[ParameterStep<'_, M>],
    ) -> Result<Vec<Read>, Error> {
        let every_matrix = self.due(prober.options.every);
        let allocator = self.backend.allocator();
        let mut readings = Vec::new();
        let launches = ready.plan.launches.iter();
        for (launch, planned) in launches.flat_map(|l| l.matrices.iter().map(move |m| (l, m))) {
            let place = (planned.parameter, planned.index);
            let parameter = &self.parameters[planned.parameter];
            if !every_matrix && whole != Some(place) {
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

#[cfg(test)]
mod tests {
    use himuon_templates::{KernelSpec, Tile};

    use super::ProbeOptions;
    use crate::HiMuon;
    use crate::optimizer::{MuonOptions, ParameterStep};
    use crate::tensor::{TensorMut, TensorRef};

    /// A GPU of 132 multiprocessors has 528 blocks in flight, which are no threads of the host.
    #[test]
    fn threads_are_those_of_the_host() {
        let offered = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(super::threads(528), offered.min(528));
        assert_eq!(super::threads(1), 1);
    }

    #[test]
    fn the_pool_outlives_a_reading() {
        let mut optimizer = HiMuon::builder()
            .parameter("w", &[8, 8])
            .group_with("w", MuonOptions::specs([KernelSpec::new(Tile::square(4))]))
            .probe(ProbeOptions::every(1))
            .build()
            .unwrap();
        let mut weight = [1.0; 64];
        let mut parameters = [ParameterStep {
            weight: TensorMut::F32(&mut weight),
            gradient: Some(TensorRef::F32(&[0.5; 64])),
        }];
        assert!(optimizer.probe_pool.is_none());
        optimizer.step(&mut parameters).unwrap();
        assert!(optimizer.probe_pool.is_some());
    }
}
