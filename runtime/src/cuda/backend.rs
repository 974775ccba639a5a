//! The CUDA backend: plans run on the caller's stream, over the caller's pointers.

use std::collections::BTreeMap;
use std::sync::Arc;

use cudarc::driver::CudaStream;
use himuon_templates::KernelSpec;

use super::chunk::BoundChunk;
use super::companion::{
    AdamWTables, CLOCK_PHASES, CLOCK_UPDATE, Companion, GradientScale, PhaseTable,
};
use super::device::{DeviceInfo, devices};
use super::driver::{DeviceMemory, stream_state};
use super::error::CudaError;
use super::kernel::{Method, TileKernel};
use super::memory::{Device, DeviceAllocator};
use super::recorded::Recorded;
use super::table::MATRIX_BYTES;
use super::tensor::DeviceRef;
use crate::backend::{Backend, BackendError, Recording};
use crate::launch::{AdamWTensor, LaunchReport, MatrixDemand, MatrixStep, StepWork, TileCounts};
use crate::plan::{Chunk, Launch, Plan, WorkspaceModel};
use crate::tuning::DeviceFingerprint;

/// Blocks of the plain kernels that a multiprocessor is given at once.
const BLOCKS_OF_MULTIPROCESSOR: u32 = 4;
/// Words that kernels count in: tiles not finite, tiles not orthogonalised, numbers of AdamW not finite.
const COUNTERS: usize = 3;

type KernelKey = (KernelSpec, Option<String>);
/// Phase, kernel, and the first matrix of the chunk in its launch.
type ChunkKey = (Option<u32>, KernelKey, usize);

/// Runs plans on a CUDA device.
#[derive(Debug)]
pub struct CudaBackend {
    device: DeviceInfo,
    stream: Arc<CudaStream>,
    kernels: BTreeMap<KernelKey, Arc<TileKernel>>,
    companion: Option<Companion>,
    fixed: Option<Fixed>,
    workspace: Option<DeviceMemory>,
    chunks: BTreeMap<ChunkKey, BoundChunk>,
    adamw: AdamWTables,
    recorded: Option<Recorded>,
    /// The phase that is bound or recorded now.
    phase: Option<u32>,
    scale: Option<GradientScale>,
    uploads: u64,
}

/// Memory that is needed whatever the plan.
#[derive(Debug)]
struct Fixed {
    counters: DeviceMemory,
    clock: DeviceMemory,
}

impl CudaBackend {
    /// A backend whose launches are submitted to `stream`, in the order of whatever else the caller submits there.
    ///
    /// # Errors
    /// As [`devices`].
    pub fn new(stream: &Arc<CudaStream>) -> Result<Self, CudaError> {
        let ordinal = stream.context().ordinal();
        let devices = devices()?;
        let count = devices.len();
        let device = devices.into_iter().nth(ordinal).ok_or(CudaError::Ordinal {
            found: ordinal,
            count,
        })?;
        device.architecture()?;
        Ok(CudaBackend {
            device,
            stream: Arc::clone(stream),
            kernels: BTreeMap::new(),
            companion: None,
            fixed: None,
            workspace: None,
            chunks: BTreeMap::new(),
            adamw: AdamWTables::default(),
            recorded: None,
            phase: None,
            scale: None,
            uploads: 0,
        })
    }

    /// Takes the scale of a scaled loss out of every gradient on the device. `inverse` is the address of one f32,
    /// one over the factor that gradients carry. Where `found_non_finite` is given, an f32 there that is not 0
    /// when a step begins makes the whole step do nothing; it still counts as an update in the bias corrections
    /// of AdamW.
    ///
    /// A step then has a launch more for each specification, and one before all.
    ///
    /// # Safety
    /// The addresses are those of f32 numbers on this device that live as long as the backend and its graphs.
    #[allow(unsafe_code)]
    pub unsafe fn unscaled_by(mut self, inverse: u64, found_non_finite: Option<u64>) -> Self {
        self.scale = Some(GradientScale {
            inverse,
            found_non_finite: found_non_finite.unwrap_or(0),
        });
        self
    }

    fn load_kernel(&mut self, key: &KernelKey) -> Result<Arc<TileKernel>, BackendError> {
        if let Some(kernel) = self.kernels.get(key) {
            return Ok(Arc::clone(kernel));
        }
        let (spec, variant) = key;
        let method = Method::of(&self.device, spec, variant.as_deref())?;
        let context = self.stream.context();
        let kernel = Arc::new(TileKernel::load(
            context,
            &self.device,
            spec,
            method,
            "step",
        )?);
        self.kernels.insert(key.clone(), Arc::clone(&kernel));
        Ok(kernel)
    }

    fn companion(&mut self) -> Result<&Companion, BackendError> {
        match &mut self.companion {
            Some(companion) => Ok(companion),
            place => {
                let context = self.stream.context();
                Ok(place.insert(Companion::load(context, &self.device.target())?))
            }
        }
    }

    /// Exactly as much workspace as the plan says, or what there is if that is more and no budget forbids it.
    fn reserve(&mut self, plan: &Plan) -> Result<(), BackendError> {
        let wanted = usize::try_from(plan.workspace_bytes).unwrap_or(usize::MAX);
        let held = self.workspace.as_ref().map_or(0, DeviceMemory::bytes);
        let budget = plan.budget_bytes.unwrap_or(u64::MAX);
        if held >= wanted && held as u64 <= budget {
            return Ok(());
        }
        match (self.workspace.take(), &mut self.recorded) {
            (Some(memory), Some(recorded)) => recorded.outgrown.push(memory),
            // Both at once may not fit.
            (memory, _) => drop(memory),
        }
        if wanted > 0 {
            let memory = DeviceMemory::zeroed(&self.stream, wanted, "workspace")?;
            self.workspace = Some(memory);
        }
        Ok(())
    }

    fn chunk_key(&self, launch: &Launch, chunk: &Chunk) -> ChunkKey {
        (self.phase, kernel_key(launch), chunk.first_matrix)
    }

    /// The word that tells the launches of the present phase whether to run; 0 outside of a recording.
    fn active(&self, word: impl FnOnce(u32, u32) -> u32) -> u64 {
        match (&self.recorded, self.phase) {
            (Some(recorded), Some(phase)) => recorded.word(word(phase, recorded.phase_count())),
            _ => match (&self.fixed, self.scale) {
                (Some(fixed), Some(_)) => {
                    let index = CLOCK_PHASES as u64 + u64::from(word(0, 1));
                    fixed.clock.pointer() + 4 * index
                }
                _ => 0,
            },
        }
    }

    fn unprepared(spec: String) -> BackendError {
        BackendError::Launch {
            spec,
            reason: "the plan was not prepared".to_owned(),
        }
    }
}

fn kernel_key(launch: &Launch) -> KernelKey {
    (launch.spec.clone(), launch.variant.clone())
}

impl WorkspaceModel for CudaBackend {
    fn workspace_bytes(
        &self,
        spec: &KernelSpec,
        variant: Option<&str>,
        matrices: &[MatrixDemand],
        threads: usize,
    ) -> Result<u64, BackendError> {
        if matrices.iter().any(|matrix| matrix.row_normalised) {
            return Err(BackendError::Unsupported {
                backend: "cuda",
                spec: spec.to_string(),
                reason: "row normalisation is computed by the CPU backend alone; leave it out"
                    .to_owned(),
            });
        }
        let method = Method::of(&self.device, spec, variant)?;
        Ok(method.workspace(spec, matrices, threads).bytes as u64)
    }
}

impl Backend<Device> for CudaBackend {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn fingerprint(&self) -> DeviceFingerprint {
        self.device.fingerprint()
    }

    fn threads(&self) -> usize {
        (self.device.multiprocessors * BLOCKS_OF_MULTIPROCESSOR).max(1) as usize
    }

    fn kernel_id(&self, spec: &KernelSpec, variant: Option<&str>) -> String {
        let key = (spec.clone(), variant.map(str::to_owned));
        if let Some(kernel) = self.kernels.get(&key) {
            return kernel.id.clone();
        }
        let rendered = Method::of(&self.device, spec, variant)
            .ok()
            .and_then(|method| {
                let architecture = self.device.architecture().ok()?;
                himuon_codegen::render::render(spec, &method.variant, architecture).ok()
            });
        rendered.map_or_else(|| "none".to_owned(), |rendered| rendered.id.to_string())
    }

    fn table_entry_bytes(&self) -> u64 {
        MATRIX_BYTES as u64
    }

    fn allocator(&self) -> DeviceAllocator {
        DeviceAllocator(Arc::clone(&self.stream))
    }

    fn check(&mut self) -> Result<(), BackendError> {
        stream_state(&self.stream)?;
        Ok(())
    }

    fn load_ahead(&mut self, spec: &KernelSpec, variant: Option<&str>) -> Result<(), BackendError> {
        let key = (spec.clone(), variant.map(str::to_owned));
        self.load_kernel(&key).map(drop)
    }

    fn prepare(&mut self, plan: &Plan) -> Result<(), BackendError> {
        for launch in &plan.launches {
            self.load_kernel(&kernel_key(launch))?;
        }
        if !plan.elementwise.is_empty() || self.scale.is_some() {
            self.companion()?;
        }
        if self.fixed.is_none() {
            let stream = &self.stream;
            self.fixed = Some(Fixed {
                counters: DeviceMemory::zeroed(stream, 4 * COUNTERS, "counters")?,
                clock: DeviceMemory::zeroed(stream, 4 * (CLOCK_PHASES + 2), "the step clock")?,
            });
        }
        self.reserve(plan)
    }

    fn bind(&mut self, plan: &Plan, work: &StepWork<'_, Device>) -> Result<(), BackendError> {
        let workspace = self.workspace.as_ref().map_or(0, DeviceMemory::pointer);
        for (launch, chunks) in plan.launches.iter().zip(&work.launches) {
            for (chunk, matrices) in launch.chunks.iter().zip(chunks) {
                if matrices.is_empty() {
                    continue;
                }
                let kernel = self.load_kernel(&kernel_key(launch))?;
                let key = self.chunk_key(launch, chunk);
                let bound = self.chunks.entry(key).or_default();
                let scaled = self.scale.is_some();
                let stream = &self.stream;
                let uploaded = bound.bind(&kernel, launch, matrices, stream, workspace, scaled)?;
                self.uploads += u64::from(uploaded);
                if self.phase.is_some() {
                    bound.pin();
                }
            }
        }
        if work.elementwise.is_empty() {
            return Ok(());
        }
        self.companion()?;
        let (Some(companion), Some(fixed)) = (&self.companion, &self.fixed) else {
            return Err(Self::unprepared("adamw".to_owned()));
        };
        let uploaded = match (&mut self.recorded, self.phase) {
            (Some(recorded), Some(_)) => {
                let tables = &mut recorded.adamw;
                let uploaded = tables.bind(companion, &self.stream, &work.elementwise)?;
                tables.pin();
                uploaded
            }
            _ => {
                let uploaded = self
                    .adamw
                    .bind(companion, &self.stream, &work.elementwise)?;
                fixed.clock.set_word(CLOCK_UPDATE, self.adamw.updates)?;
                uploaded
            }
        };
        self.uploads += u64::from(uploaded);
        Ok(())
    }

    fn begin_step(&mut self) -> Result<usize, BackendError> {
        let (Some(scale), Some(companion), Some(fixed)) =
            (self.scale, &self.companion, &self.fixed)
        else {
            return Ok(0);
        };
        let always = PhaseTable {
            phases: 0,
            first_step: 0,
            end_step: u32::MAX,
            phase_count: 1,
            advances: false,
        };
        companion
            .begin(&self.stream, &fixed.clock, &always, Some(scale))
            .map_err(|error| launch_failed("himuon_begin".to_owned(), error))?;
        Ok(1)
    }

    fn launch(
        &mut self,
        launch: &Launch,
        chunk: &Chunk,
        matrices: &mut [MatrixStep<'_, Device>],
    ) -> Result<LaunchReport, BackendError> {
        let bound = self.chunks.get(&self.chunk_key(launch, chunk));
        let kernel = self.kernels.get(&kernel_key(launch));
        let (Some(bound), Some(kernel), Some(fixed)) = (bound, kernel, &self.fixed) else {
            return Err(Self::unprepared(launch.spec.to_string()));
        };
        let active = self.active(|phase, _| phase);
        let counters = fixed.counters.pointer();
        if let (Some(scale), Some(companion)) = (self.scale, &self.companion) {
            bound
                .unscale(companion, &self.stream, scale)
                .map_err(|error| launch_failed("himuon_unscale".to_owned(), error))?;
        }
        bound
            .submit(kernel, &self.stream, counters, active)
            .map_err(|error| launch_failed(launch.spec.to_string(), error))?;
        if let Some(workspace) = &self.workspace {
            bound.diagnose(workspace, matrices)?;
        }
        Ok(LaunchReport {
            kernels: kernel.launches() + usize::from(self.scale.is_some()),
            pending: true,
            tiles: bound.tiles(),
            ..LaunchReport::default()
        })
    }

    fn adamw(&mut self, _tensors: &mut [AdamWTensor<'_, Device>]) -> Result<(), BackendError> {
        let (Some(companion), Some(fixed)) = (&self.companion, &self.fixed) else {
            return Err(Self::unprepared("adamw".to_owned()));
        };
        let active = self.active(|_, count| count);
        let (tables, clock) = match (&self.recorded, self.phase) {
            (Some(recorded), Some(_)) => (&recorded.adamw, &recorded.clock),
            _ => (&self.adamw, &fixed.clock),
        };
        tables
            .submit(
                companion,
                &self.stream,
                clock,
                &fixed.counters,
                active,
                self.scale,
            )
            .map_err(|error| launch_failed("adamw".to_owned(), error))
    }

    fn all_finite(&mut self, tensors: &[DeviceRef<'_>]) -> Result<Vec<bool>, BackendError> {
        self.companion()?;
        let extents: Vec<_> = tensors.iter().map(DeviceRef::extent).collect();
        match &self.companion {
            Some(companion) => companion.all_finite(&self.stream, &extents),
            None => Err(Self::unprepared("himuon_finite".to_owned())),
        }
    }

    fn adamw_skips_non_finite(&self) -> bool {
        true
    }

    fn counts(&mut self) -> Result<TileCounts, BackendError> {
        let Some(fixed) = &self.fixed else {
            return Ok(TileCounts::default());
        };
        let words = fixed.counters.read_words(COUNTERS)?;
        Ok(TileCounts {
            non_finite_tiles: u64::from(words[0]),
            unorthogonalised_tiles: u64::from(words[1]),
            non_finite_numbers: u64::from(words[2]),
        })
    }

    fn table_uploads(&self) -> u64 {
        self.uploads
    }

    fn prepare_recording(&mut self, recording: Recording) -> Result<(), BackendError> {
        self.companion()?;
        self.chunks.retain(|(phase, ..), _| phase.is_none());
        self.recorded = Some(Recorded::new(&self.stream, recording)?);
        Ok(())
    }

    fn select_phase(&mut self, phase: Option<u32>) -> Result<(), BackendError> {
        self.phase = phase;
        Ok(())
    }

    fn check_recordable(&self, plan: &Plan) -> Result<(), BackendError> {
        for launch in &plan.launches {
            let kernel = self.kernels.get(&kernel_key(launch));
            if !kernel.is_some_and(|kernel| kernel.follows_the_device()) {
                return Err(BackendError::Unsupported {
                    backend: "cuda",
                    spec: launch.spec.to_string(),
                    reason: "its kernel does not read the step on the device, so a graph cannot hold it beside \
                             other phases; use a tile that is resident"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }

    fn set_clock(&mut self, step: u64) -> Result<(), BackendError> {
        match &self.recorded {
            Some(recorded) => Ok(recorded.set_clock(step)?),
            None => Err(Self::unprepared("a recorded step".to_owned())),
        }
    }

    fn record_clock(&mut self) -> Result<(), BackendError> {
        let (Some(recorded), Some(companion)) = (&self.recorded, &self.companion) else {
            return Err(Self::unprepared("a recorded step".to_owned()));
        };
        recorded
            .submit_clock(companion, &self.stream, self.scale)
            .map_err(|error| launch_failed("himuon_begin".to_owned(), error))
    }

    fn replayed_past_end(&mut self) -> Result<bool, BackendError> {
        match &self.recorded {
            Some(recorded) => Ok(recorded.past_end()?),
            None => Ok(false),
        }
    }
}

fn launch_failed(spec: String, error: CudaError) -> BackendError {
    match BackendError::from(error) {
        BackendError::Device {
            reason,
            lost: false,
            ..
        } => BackendError::Launch { spec, reason },
        lost => lost,
    }
}
