//! The optimizer: parameters in groups, one step over all of them.

mod buffers;
mod builder;
mod check;
mod coarse;
mod commit;
mod differences;
mod error;
mod explain;
mod fallback;
mod gather;
mod group;
mod group_options;
mod metadata;
mod parameter;
mod persist;
mod placement;
mod planning;
mod prepare;
mod probe;
mod rates;
mod record;
mod report;
mod routing;
mod selection;
mod snapshot;
mod tensors;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use builder::HiMuonBuilder;
pub use check::check_learning_rate;
pub(crate) use coarse::CoarsePhase;
pub use coarse::CoarseSchedule;
pub use error::{BuildError, StepError};
pub use explain::{Explanation, ParameterLine, Totals};
pub use group::{
    AdamWOptions, GroupOptions, Layout, LearningRate, MomentumConvention, MuonOptions, NorMuon,
    View,
};
pub use probe::{DriftPolicy, ProbeCallback, ProbeOptions, ProbeReading};
pub use report::{LoadReport, StepReport};

use himuon_templates::KernelSpec;

use crate::backend::Backend;
use crate::cpu::Pool;
use crate::error::Error;
use crate::launch::{TileCounts, TileDiagnostics};
use crate::memory::{Host, Memory};
use crate::plan::Plan;
use crate::tuning::{TuneJob, TuningTable};
use parameter::Parameter;
use planning::PlanKey;
use record::RecordedSteps;
use snapshot::Snapshot;

/// What a NaN or an infinity in a gradient or a momentum does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFinitePolicy {
    /// The tile that holds it (for AdamW: the parameter) is left unchanged and counted.
    #[default]
    SkipTile,
    /// The whole step changes nothing but the step counter. Costs one more read of gradient and momentum.
    SkipStep,
    /// The step is refused. Costs one more read of gradient and momentum.
    Error,
}

/// What a failure of the device in the middle of a step leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// A torn step: the error says so, and further steps are refused until a state is loaded.
    #[default]
    None,
    /// Everything as before the step, for a copy of weights and state.
    Snapshot,
}

/// One parameter of a step, in the declared order.
#[derive(Debug)]
pub struct ParameterStep<'a, M: Memory = Host> {
    /// The weight, row-major; updated in place.
    pub weight: M::Mut<'a>,
    /// The gradient, of the weight's shape and type; `None`: the parameter is left unchanged.
    pub gradient: Option<M::Ref<'a>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) pattern: String,
    pub(crate) options: GroupOptions,
}

/// Launches submitted before a failure, and launches of that step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TornStep {
    pub(crate) launched: usize,
    pub(crate) total: usize,
}

/// Hierarchical Muon over the parameters of a model.
///
/// Each matrix is cut into tiles, the momentum of each tile is mapped to nearly its orthogonal factor, and
/// all tiles of all layers of one specification run in one launch. Parameters without a matrix, embeddings
/// and output heads are updated by AdamW.
///
/// A step first checks and allocates everything (a failure there changes nothing), then only submits.
#[derive(Debug)]
pub struct HiMuon<M: Memory = Host> {
    parameters: Vec<Parameter<M>>,
    groups: Vec<Group>,
    learning_rate: f64,
    step: u64,
    backend: Box<dyn Backend<M>>,
    tuning: TuningTable,
    budget_bytes: Option<u64>,
    non_finite: NonFinitePolicy,
    protection: Protection,
    diagnostics: bool,
    probe: Option<ProbeOptions>,
    /// From the first reading on.
    probe_pool: Option<Pool>,
    /// By the specifications and ranks that groups and raised parameters use.
    plans: BTreeMap<Vec<PlanKey>, Arc<Plan>>,
    snapshot: Option<Snapshot<M>>,
    torn: Option<TornStep>,
    recorded: Option<RecordedSteps>,
    /// Whether the kernels of later phases have been loaded.
    loaded_ahead: bool,
    /// Kernels of the state that was loaded, by the text of their specification.
    resumed_kernels: BTreeMap<String, crate::state::KernelRecord>,
    /// What reports of steps have told; a device may hold more.
    counts: TileCounts,
    warnings: Vec<String>,
}

impl HiMuon {
    /// Starts a declaration.
    pub fn builder() -> HiMuonBuilder {
        HiMuonBuilder::default()
    }
}

impl<M: Memory> HiMuon<M> {
    /// Takes one step over all parameters, passed in the declared order.
    ///
    /// # Errors
    /// Anything wrong with the parameters, the scalars, the schedule or the memory; nothing has changed
    /// then. [`StepError::Torn`] when the device fails after the first launch.
    pub fn step(&mut self, parameters: &mut [ParameterStep<'_, M>]) -> Result<StepReport, Error> {
        let ready = self.prepare(parameters)?;
        let readings = self.probe(&ready, parameters)?;
        let report = self.commit(ready, parameters)?;
        self.settle(readings);
        Ok(report)
    }

    /// Steps taken so far; the number of the next one.
    pub fn steps_taken(&self) -> u64 {
        self.step
    }

    /// Names of the parameters, in the declared order.
    pub fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.parameters
            .iter()
            .map(|parameter| parameter.name.as_str())
    }

    /// What became of the tiles of a parameter at the last step in which it took part: of each matrix row by
    /// row, one matrix after the other. Empty unless the optimizer was built with
    /// [`HiMuonBuilder::diagnostics`], and for parameters of AdamW.
    pub fn tile_diagnostics(&self, parameter: usize) -> &[TileDiagnostics] {
        let parameter = self.parameters.get(parameter);
        parameter.map_or(&[], |parameter| parameter.diagnostics.as_slice())
    }

    /// Tiles that were left alone or not orthogonalised by all steps so far. Where a step's report says that its
    /// counts are pending this waits for the device.
    ///
    /// # Errors
    /// The device failed, or its stream is being captured.
    pub fn tile_counts(&mut self) -> Result<TileCounts, Error> {
        self.check_not_captured()?;
        let on_device = self.backend.counts()?;
        Ok(TileCounts {
            non_finite_tiles: self.counts.non_finite_tiles + on_device.non_finite_tiles,
            unorthogonalised_tiles: self.counts.unorthogonalised_tiles
                + on_device.unorthogonalised_tiles,
            non_finite_numbers: self.counts.non_finite_numbers + on_device.non_finite_numbers,
            uncoupled_matrices: self.counts.uncoupled_matrices + on_device.uncoupled_matrices,
        })
    }

    /// Tables of matrices and scalars that were written to the device so far: only those that changed.
    pub fn table_uploads(&self) -> u64 {
        self.backend.table_uploads()
    }

    /// What deserves a second look, as logged: in the declaration when the optimizer was built, and layers that the
    /// probe found to have drifted.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every specification that a schedule may use, with the shapes of its matrices.
    fn tune_jobs(&self) -> Vec<TuneJob> {
        let mut jobs: BTreeMap<KernelSpec, Vec<(usize, usize)>> = BTreeMap::new();
        for parameter in &self.parameters {
            let GroupOptions::Muon(options) = &self.groups[parameter.group].options else {
                continue;
            };
            let Some(view) = &parameter.matrices else {
                continue;
            };
            for spec in options.specs.iter() {
                let shapes = jobs.entry(view.spec(spec).into_owned()).or_default();
                shapes.extend(std::iter::repeat_n((view.rows, view.columns), view.count));
            }
        }
        let job = |(spec, shapes)| TuneJob { spec, shapes };
        jobs.into_iter().map(job).collect()
    }
}

#[cfg(feature = "cuda")]
impl HiMuon<crate::cuda::Device> {
    /// The stream that everything is submitted to.
    pub(crate) fn stream(&self) -> Arc<crate::cuda::CudaStream> {
        self.backend.allocator().stream()
    }
}
