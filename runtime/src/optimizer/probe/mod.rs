//! A look at a few tiles every so many steps: whether the tiled update is still close to the map of the whole
//! matrix, without a singular value decomposition.

mod options;
mod prober;

use half::{bf16, f16};
use himuon_templates::Element;

pub use options::{DriftPolicy, ProbeCallback, ProbeOptions, ProbeReading};

use super::buffers::ParameterState;
use super::group::{GroupOptions, MuonOptions};
use super::parameter::{MatrixView, Parameter};
use super::prepare::{Ready, Scalars};
use super::{HiMuon, ParameterStep};
use crate::backend::BackendError;
use crate::cpu::{CpuError, Pool, Workspace};
use crate::error::Error;
use crate::launch::GroupScalars;
use crate::memory::Memory;
use crate::plan::PlannedMatrix;
use crate::tensor::TensorView;
use prober::Prober;

/// The probe's kernels refused; the step has not begun.
fn refused(spec: &str, error: &CpuError) -> BackendError {
    BackendError::Launch {
        spec: spec.to_owned(),
        reason: error.to_string(),
    }
}

/// A reading, and whose it is.
pub(super) struct Read {
    parameter: usize,
    reading: ProbeReading,
}

impl<M: Memory> HiMuon<M> {
    /// Reads what a prepared step is about to map. Nothing changes.
    pub(super) fn probe(
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
                parameters[planned.parameter].gradient,
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

    /// Warns, raises, and hands the readings on; once the step is done.
    pub(super) fn settle(&mut self, readings: Vec<Read>) {
        let Some(options) = self.probe.clone() else {
            return;
        };
        for Read {
            parameter,
            mut reading,
        } in readings
        {
            if reading
                .whole_cosine
                .is_some_and(|cosine| cosine < options.threshold)
            {
                self.drifted(parameter, &options, &mut reading);
            }
            if let Some(callback) = &options.callback {
                callback(&reading);
            }
        }
    }

    fn drifted(&mut self, index: usize, options: &ProbeOptions, reading: &mut ProbeReading) {
        let larger = self.next_larger(index, &reading.tile);
        let parameter = &mut self.parameters[index];
        let cosine = reading.whole_cosine.unwrap_or(f64::NAN);
        let advice = match &larger {
            Some((_, tile)) if options.policy == DriftPolicy::RaiseTile => {
                format!("from the next step on it gets tile {tile}")
            }
            Some((_, tile)) => format!("its group declares tile {tile}, which would be closer"),
            None => "declare a larger tile for it".to_owned(),
        };
        if !parameter.drift_named {
            let warning = format!(
                "{}: at step {} the update of tile {} has a cosine of {cosine:.3} to that of the whole matrix, \
                 below {}; {advice}",
                parameter.name, reading.step, reading.tile, options.threshold
            );
            tracing::warn!("{warning}");
            self.warnings.push(warning);
            parameter.drift_named = true;
        }
        if let (DriftPolicy::RaiseTile, Some((spec, tile))) = (options.policy, larger) {
            parameter.raised = Some(spec);
            reading.raised_to = Some(tile);
        }
    }

    /// The smallest declared tile that covers more of a parameter's matrix than `tile` does.
    fn next_larger(&self, index: usize, tile: &str) -> Option<(usize, String)> {
        let parameter = &self.parameters[index];
        let view = parameter.matrices?;
        let GroupOptions::Muon(options) = &self.groups[parameter.group].options else {
            return None;
        };
        let text = |spec: usize| view.spec(&options.specs[spec]).tile.to_string();
        let present = (0..options.specs.len()).find(|spec| text(*spec) == tile)?;
        let area = |spec: &usize| covered(options, view, *spec);
        (0..options.specs.len())
            .filter(|spec| area(spec) > area(&present))
            .min_by_key(area)
            .map(|spec| (spec, text(spec)))
    }
}

impl<M: Memory> Parameter<M> {
    /// The specification of a step: the schedule's, or the raised one where that covers more.
    pub(super) fn spec_in(
        &self,
        options: &MuonOptions,
        view: MatrixView,
        scheduled: usize,
    ) -> usize {
        match self.raised {
            Some(raised) if covered(options, view, raised) > covered(options, view, scheduled) => {
                raised
            }
            _ => scheduled,
        }
    }
}

/// Elements of a matrix that one whole tile covers.
fn covered(options: &MuonOptions, view: MatrixView, spec: usize) -> usize {
    let tile = view.spec(&options.specs[spec]).tile;
    let (rows, columns) = tile.effective(view.rows, view.columns);
    rows * columns
}

/// What a step maps of one matrix: alpha g + beta (mu buf + c g).
fn mapped_momentum<M: Memory>(
    allocator: &M::Allocator,
    gradient: Option<M::Ref<'_>>,
    momentum: Option<M::Ref<'_>>,
    scalars: &GroupScalars,
) -> Result<Vec<f32>, BackendError> {
    let read = |tensor: Option<M::Ref<'_>>| match tensor {
        Some(tensor) => numbers::<M>(allocator, tensor),
        None => Ok(Vec::new()),
    };
    let buffers = read(momentum)?.into_iter().chain(std::iter::repeat(0.0));
    let pairs = read(gradient)?.into_iter().zip(buffers);
    Ok(pairs
        .map(|(g, buffer)| scalars.alpha * g + scalars.beta * (scalars.mu * buffer + scalars.c * g))
        .collect())
}

/// One matrix of a parameter's tensor.
fn matrix_of<'a, M: Memory>(tensor: M::Ref<'a>, planned: &PlannedMatrix) -> Option<M::Ref<'a>> {
    let matrices = M::matrices(tensor, planned.rows, planned.columns);
    matrices.get(planned.index).copied()
}

/// A tensor, wherever it lives, widened to `f32`.
fn numbers<M: Memory>(
    allocator: &M::Allocator,
    tensor: M::Ref<'_>,
) -> Result<Vec<f32>, BackendError> {
    let element = tensor.element();
    let mut copy = M::empty(element);
    M::save(allocator, tensor, &mut copy, "the probe")?;
    let bytes = M::bytes(allocator, &copy)?;
    Ok(match element {
        Element::F32 => {
            let numbers = bytes.as_chunks().0.iter();
            numbers.map(|b| f32::from_le_bytes(*b)).collect()
        }
        Element::Bf16 => {
            let numbers = bytes.as_chunks().0.iter();
            numbers.map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
        }
        Element::F16 => {
            let numbers = bytes.as_chunks().0.iter();
            numbers.map(|b| f16::from_le_bytes(*b).to_f32()).collect()
        }
    })
}
