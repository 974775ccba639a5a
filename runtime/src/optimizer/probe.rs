//! A look at a few tiles every so many steps: whether the tiled update is still close to the map of the whole
//! matrix, without a singular value decomposition.

use std::fmt;
use std::sync::Arc;

use half::{bf16, f16};
use himuon_templates::{Criterion, Element, KernelSpec, Power};
use serde::{Deserialize, Serialize};

use super::buffers::ParameterState;
use super::error::BuildError;
use super::group::{GroupOptions, MuonOptions};
use super::parameter::{MatrixView, Parameter};
use super::prepare::{Ready, Scalars};
use super::{HiMuon, ParameterStep};
use crate::backend::BackendError;
use crate::cpu::{ApplyScale, CpuError, CpuKernel, Pool, Workspace};
use crate::error::Error;
use crate::launch::GroupScalars;
use crate::memory::Memory;
use crate::plan::PlannedMatrix;
use crate::reference::{TileBounds, tiles};
use crate::tensor::{TensorRef, TensorView};

/// What becomes of a reading.
pub type ProbeCallback = dyn Fn(&ProbeReading) + Send + Sync;

/// What a layer gets whose update has drifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftPolicy {
    /// A warning.
    #[default]
    Warn,
    /// A warning, and from the next step on the next larger tile that its group declares.
    RaiseTile,
}

/// When the probe looks, and at how much.
#[derive(Clone)]
pub struct ProbeOptions {
    every: u64,
    tiles: usize,
    whole_every: u64,
    threshold: f64,
    policy: DriftPolicy,
    callback: Option<Arc<ProbeCallback>>,
}

/// What the probe saw of one matrix at one step, before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeReading {
    /// The step's number, from 0.
    pub step: u64,
    /// Name of the parameter.
    pub parameter: String,
    /// Place in its stack of matrices; 0 for one matrix.
    pub matrix: usize,
    /// Its tile, as text.
    pub tile: String,
    /// How many tiles were looked at; those with a NaN or an infinity and those of zeros do not count.
    pub tiles: usize,
    /// Least and greatest ||M||_F of them.
    pub norms: (f64, f64),
    /// Mean of <X, O>^2/||O||_F^2, the squared cosine of update and momentum: at p = 0 ||X||_*^2/r, which is 1 for
    /// equal singular values and 1/r at rank 1.
    pub nuclear_rank: f64,
    /// p = 0: mean of |1 - ||O||_F^2/r|, r = min(h, w): what the recurrence leaves short, on tiles of low rank most.
    pub defect: Option<f64>,
    /// Cosine of the tiled update to that of the whole matrix, at the longer period; none otherwise, and where the
    /// tile is the matrix.
    pub whole_cosine: Option<f64>,
    /// The tile that the layer gets from the next step on, as text, where the policy raised it.
    pub raised_to: Option<String>,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        ProbeOptions {
            every: 100,
            tiles: 4,
            whole_every: 1000,
            threshold: 0.4,
            policy: DriftPolicy::default(),
            callback: None,
        }
    }
}

impl ProbeOptions {
    /// Looks at a few tiles of every matrix each `steps` steps, from step 0 on.
    pub fn every(steps: u64) -> Self {
        ProbeOptions {
            every: steps,
            ..ProbeOptions::default()
        }
    }

    /// Tiles of each matrix to look at; other ones each time. 4 by default.
    pub fn tiles(mut self, tiles: usize) -> Self {
        self.tiles = tiles;
        self
    }

    /// Compares one matrix, in turn, with its whole map each `steps` steps (1000 by default; 0: never). That costs
    /// one step of full-matrix Muon on that matrix.
    pub fn whole_every(mut self, steps: u64) -> Self {
        self.whole_every = steps;
        self
    }

    /// A layer whose cosine to its whole map falls below this has drifted: it is named once, in the log and in
    /// [`HiMuon::warnings`]. 0.4 by default: noise alone gives 0.7, whatever the tile.
    pub fn threshold(mut self, cosine: f64) -> Self {
        self.threshold = cosine;
        self
    }

    /// What a layer gets that has drifted.
    pub fn on_drift(mut self, policy: DriftPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Is called with every reading.
    pub fn callback(mut self, callback: impl Fn(&ProbeReading) + Send + Sync + 'static) -> Self {
        self.callback = Some(Arc::new(callback));
        self
    }

    pub(super) fn check(&self) -> Result<(), BuildError> {
        let refuse = |option, found, expected| BuildError::Option {
            group: "(probe)".to_owned(),
            option,
            found,
            expected,
        };
        if self.every == 0 || self.tiles == 0 {
            let option = if self.every == 0 {
                "the period"
            } else {
                "the number of tiles"
            };
            return Err(refuse(option, 0.0, "at least 1"));
        }
        if !(-1.0..=1.0).contains(&self.threshold) {
            return Err(refuse(
                "the threshold",
                self.threshold,
                "a cosine, from -1 to 1",
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for ProbeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeOptions")
            .field("every", &self.every)
            .field("tiles", &self.tiles)
            .field("whole_every", &self.whole_every)
            .field("threshold", &self.threshold)
            .field("policy", &self.policy)
            .field("callback", &self.callback.is_some())
            .finish()
    }
}

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

/// Maps what is looked at, on the CPU.
struct Prober<'a> {
    pool: Pool,
    workspace: Workspace,
    options: &'a ProbeOptions,
    step: u64,
}

/// Sums over the tiles that count.
#[derive(Default)]
struct Sums {
    tiles: usize,
    least: f64,
    greatest: f64,
    nuclear_rank: f64,
    defect: f64,
}

impl Prober<'_> {
    /// None where no tile counts.
    fn read(
        &mut self,
        spec: &KernelSpec,
        (rows, columns): (usize, usize),
        momentum: &[f32],
        whole: bool,
    ) -> Result<Option<ProbeReading>, CpuError> {
        // What a criterion would leave alone says nothing of the map.
        let spec = KernelSpec {
            criterion: Criterion::Always,
            ..spec.clone()
        };
        let kernel = CpuKernel::new(&spec)?;
        let bounds = tiles(spec.tile, rows, columns);
        let mut sums = Sums::default();
        let wanted = self.options.tiles.min(bounds.len());
        for place in 0..wanted {
            // Evenly spaced, and others at the next time.
            let turn = (self.step / self.options.every) as usize;
            let tile = &bounds[(place * bounds.len() / wanted + turn) % bounds.len()];
            self.add(&kernel, momentum, columns, tile, &mut sums)?;
        }
        if sums.tiles == 0 {
            return Ok(None);
        }
        let covers = spec.tile.effective(rows, columns) == (rows, columns);
        let whole_cosine = if whole && !covers {
            self.whole_cosine(&kernel, momentum, rows, columns)?
        } else {
            None
        };
        let count = sums.tiles as f64;
        Ok(Some(ProbeReading {
            step: self.step,
            parameter: String::new(),
            matrix: 0,
            tile: spec.tile.to_string(),
            tiles: sums.tiles,
            norms: (sums.least, sums.greatest),
            nuclear_rank: sums.nuclear_rank / count,
            defect: (spec.power == Power::ZERO).then_some(sums.defect / count),
            whole_cosine,
            raised_to: None,
        }))
    }

    fn add(
        &mut self,
        kernel: &CpuKernel,
        momentum: &[f32],
        columns: usize,
        tile: &TileBounds,
        sums: &mut Sums,
    ) -> Result<(), CpuError> {
        let rows = (tile.row..tile.row + tile.rows).map(|row| row * columns + tile.column);
        let cut: Vec<f32> = rows
            .flat_map(|start| momentum[start..start + tile.columns].iter().copied())
            .collect();
        let norm = norm(&cut);
        if !norm.is_finite() || norm == 0.0 {
            return Ok(());
        }
        let mapped = self.map(kernel, &cut, (tile.rows, tile.columns), ApplyScale::None)?;
        let squared = inner_product(&mapped, &mapped);
        let rank = tile.rows.min(tile.columns) as f64;
        let cosine = inner_product(&cut, &mapped) / (norm * squared.sqrt());
        sums.least = if sums.tiles == 0 {
            norm
        } else {
            sums.least.min(norm)
        };
        sums.greatest = sums.greatest.max(norm);
        sums.nuclear_rank += cosine * cosine;
        sums.defect += (1.0 - squared / rank).abs();
        sums.tiles += 1;
        Ok(())
    }

    /// None where the momentum is not finite.
    fn whole_cosine(
        &mut self,
        kernel: &CpuKernel,
        momentum: &[f32],
        rows: usize,
        columns: usize,
    ) -> Result<Option<f64>, CpuError> {
        if !norm(momentum).is_finite() {
            return Ok(None);
        }
        let spec = kernel.spec();
        let scale = if spec.power == Power::ZERO {
            ApplyScale::Tile
        } else {
            ApplyScale::Rms
        };
        let whole = CpuKernel::new(&KernelSpec {
            tile: himuon_templates::Tile::Full,
            ..spec.clone()
        })?;
        let tiled = self.map(kernel, momentum, (rows, columns), scale)?;
        let whole = self.map(&whole, momentum, (rows, columns), scale)?;
        let norms = norm(&tiled) * norm(&whole);
        Ok((norms > 0.0).then(|| inner_product(&tiled, &whole) / norms))
    }

    fn map(
        &mut self,
        kernel: &CpuKernel,
        input: &[f32],
        (rows, columns): (usize, usize),
        scale: ApplyScale,
    ) -> Result<Vec<f32>, CpuError> {
        let mut output = vec![0.0; input.len()];
        let input = TensorRef::F32(input);
        kernel.map(
            &self.pool,
            input,
            rows,
            columns,
            &mut output,
            scale,
            &mut self.workspace,
        )?;
        Ok(output)
    }
}

fn inner_product(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

fn norm(values: &[f32]) -> f64 {
    inner_product(values, values).sqrt()
}
