//! The CUDA backend: plans run on the caller's stream, over the caller's pointers.

mod bound;
mod kernels;
mod prepare;
mod recording;
mod submit;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cudarc::driver::CudaStream;
use himuon_templates::{CompiledKernel, KernelSpec, Storage};

use super::companion::{AdamWTables, Companion, GradientScale};
use super::coupling::{CouplingKernels, Form};
use super::device::{DeviceInfo, devices};
use super::driver::{DeviceMemory, is_capturing, is_of_its_context, stream_state};
use super::error::CudaError;
use super::kernel::Method;
use super::memory::{Device, DeviceAllocator};
use super::module::Shipped;
use super::per_thread::LastThread;
use super::recorded::Recorded;
use super::table::MATRIX_BYTES;
use super::tensor::DeviceRef;
use super::tuning::CudaTarget;
use crate::backend::{Backend, BackendError, KernelRequest, Recording};
use crate::launch::{AdamWTensor, LaunchReport, MatrixStep, StepWork, TileCounts};
use crate::plan::{Chunk, Launch, Plan};
use crate::tuning::{DeviceFingerprint, TuningTarget};
use bound::{Bound, StepKernels};

/// Blocks of the plain kernels that a multiprocessor is given at once.
const BLOCKS_OF_MULTIPROCESSOR: u32 = 4;
/// Words that kernels count in: tiles not finite, tiles not orthogonalised, numbers of AdamW not finite, matrices without their
/// coarse part.
const COUNTERS: usize = 4;

type KernelKey = (KernelSpec, Option<String>, Form);
/// Phase, kernel, and the first matrix of the chunk in its launch.
type ChunkKey = (Option<u32>, KernelKey, usize);

/// Runs plans on a CUDA device.
#[derive(Debug)]
pub struct CudaBackend {
    device: DeviceInfo,
    stream: Arc<CudaStream>,
    last_thread: LastThread,
    shipped: Shipped,
    fixed: Option<Fixed>,
    workspace: Option<DeviceMemory>,
    chunks: BTreeMap<ChunkKey, Bound>,
    adamw: AdamWTables,
    recorded: Option<Recorded>,
    /// The phase that is bound or recorded now.
    phase: Option<u32>,
    scale: Option<GradientScale>,
    consumes_gradients: bool,
    uploads: u64,
    // Dropped last: freeing the memory above waits for launches that still run, whose code this is.
    kernels: BTreeMap<KernelKey, StepKernels>,
    /// By the types of what they read.
    couplings: Vec<(Storage, Arc<CouplingKernels>)>,
    companion: Option<Companion>,
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
    /// As [`devices`]; a stream of another context than it was wrapped for.
    pub fn new(stream: &Arc<CudaStream>) -> Result<Self, CudaError> {
        let ordinal = stream.context().ordinal();
        let devices = devices()?;
        let count = devices.len();
        let device = devices.into_iter().nth(ordinal).ok_or(CudaError::Ordinal {
            found: ordinal,
            count,
        })?;
        device.architecture()?;
        if !is_of_its_context(stream)? {
            return Err(CudaError::ForeignStream { expected: ordinal });
        }
        Ok(CudaBackend {
            device,
            stream: Arc::clone(stream),
            last_thread: LastThread::this(),
            shipped: Shipped::default(),
            kernels: BTreeMap::new(),
            couplings: Vec::new(),
            companion: None,
            fixed: None,
            workspace: None,
            chunks: BTreeMap::new(),
            adamw: AdamWTables::default(),
            recorded: None,
            phase: None,
            scale: None,
            consumes_gradients: false,
            uploads: 0,
        })
    }

    /// Uses kernels that the program carries compiled, as `himuon::bundles!()` gives them, or finds in a folder
    /// ([`read_bundles`](super::read_bundles)), in preference to the cache and to NVRTC. Called again, it adds to them.
    ///
    /// A kernel is found by its identity. Of what is there the device gets machine code of exactly its architecture, else of
    /// the same major and a lower minor version, else PTX of the highest architecture that is not above its own; what is
    /// specific to one device (`sm_90a`) is taken by that device alone. A kernel that is not among them comes from where all
    /// kernels come from otherwise.
    ///
    /// ```no_run
    /// # use himuon::cuda::{self, CudaBackend};
    /// # static KERNELS: [himuon::templates::CompiledKernel; 0] = [];
    /// let stream = cuda::open(0)?.default_stream();
    /// let backend = CudaBackend::new(&stream)?.kernels(&KERNELS); // himuon::bundles!()
    /// # Ok::<(), himuon::cuda::CudaError>(())
    /// ```
    pub fn kernels(mut self, kernels: &'static [CompiledKernel]) -> Self {
        self.shipped.add(kernels);
        self
    }

    /// Takes the scale of a scaled loss out of every gradient on the device. `inverse` is the address of one f32,
    /// one over the factor that gradients carry. Where `found_non_finite` is given, an f32 there that is not 0
    /// when a step begins makes the whole step do nothing; it still counts as an update in the bias corrections
    /// of AdamW, in a step, a replay and a graph that is launched alone alike: the host does not wait to learn of it.
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

    /// Lets steps overwrite gradients: for powers above 0 the map of a matrix then waits in its gradient for the norm of
    /// the whole matrix, where that is f32 and contiguous, and takes no workspace. A strided f32 gradient is refused;
    /// those of 16 bits are not touched.
    ///
    /// # Safety
    /// Whatever gradients steps are passed, nobody else reads or writes them from the step on until they are written
    /// anew, although steps borrow them shared. A step that fails after its first launch leaves gradients overwritten, under
    /// [`Protection::Snapshot`](crate::optimizer::Protection::Snapshot) too: only weights and state are put back.
    #[allow(unsafe_code)]
    pub unsafe fn consuming_gradients(mut self) -> Self {
        self.consumes_gradients = true;
        self
    }

    /// How this backend computes a specification.
    fn method(
        &self,
        spec: &KernelSpec,
        variant: Option<&str>,
        form: Form,
    ) -> Result<Method, BackendError> {
        form.check(spec)?;
        let method = Method::of(&self.device, &form.tiles(spec), variant)?;
        let consumes = self.consumes_gradients && form == Form::Alone;
        Ok(method.consuming_gradients(spec, consumes))
    }

    pub(super) fn device(&self) -> &DeviceInfo {
        &self.device
    }

    fn chunk_key(&self, launch: &Launch, chunk: &Chunk) -> ChunkKey {
        let kernel = self.key_of(&launch.kernel_of(chunk));
        (self.phase, kernel, chunk.first_matrix)
    }

    fn key_of(&self, request: &KernelRequest) -> KernelKey {
        let KernelRequest { spec, variant, .. } = request;
        let variant_name = variant.as_deref();
        let form = Form::of(&self.device, spec, variant_name, request.row_normalised);
        (spec.clone(), variant.clone(), form)
    }

    fn unprepared(spec: String) -> BackendError {
        BackendError::Launch {
            spec,
            reason: "the plan was not prepared".to_owned(),
        }
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

    fn tuning_target(&self) -> Option<Box<dyn TuningTarget>> {
        let target = CudaTarget::new(self.device.ordinal).ok()?;
        Some(Box::new(target))
    }

    fn kernel_id(&self, spec: &KernelSpec, variant: Option<&str>) -> String {
        let key = self.key_of(&KernelRequest {
            spec: spec.clone(),
            variant: variant.map(str::to_owned),
            row_normalised: false,
        });
        let form = key.2;
        if let Some(kernel) = self.kernels.get(&key) {
            return kernel.tiles.id.clone();
        }
        let rendered = self.method(spec, variant, form).ok().and_then(|method| {
            let architecture = self.device.architecture().ok()?;
            himuon_codegen::render::render(&form.tiles(spec), &method.variant, architecture).ok()
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
        self.last_thread.follow(&self.stream)?;
        stream_state(&self.stream)?;
        Ok(())
    }

    fn is_capturing(&self) -> Result<bool, BackendError> {
        Ok(is_capturing(&self.stream)?)
    }

    fn compile_ahead(&mut self, kernels: &BTreeSet<KernelRequest>, adamw: bool) {
        self.compile_kernels(kernels, adamw);
    }

    fn load_ahead(&mut self, kernel: &KernelRequest) -> Result<(), BackendError> {
        self.load_kernel(&self.key_of(kernel)).map(drop)
    }

    fn prepare(&mut self, plan: &Plan) -> Result<(), BackendError> {
        self.prepare_plan(plan)
    }

    fn bind(&mut self, plan: &Plan, work: &StepWork<'_, Device>) -> Result<(), BackendError> {
        self.bind_chunks(plan, work)?;
        self.bind_adamw(work)
    }

    fn begin_step(&mut self) -> Result<usize, BackendError> {
        self.submit_begin()
    }

    fn launch(
        &mut self,
        launch: &Launch,
        chunk: &Chunk,
        matrices: &mut [MatrixStep<'_, Device>],
    ) -> Result<LaunchReport, BackendError> {
        self.submit_chunk(launch, chunk, matrices)
    }

    fn adamw(&mut self, _tensors: &mut [AdamWTensor<'_, Device>]) -> Result<(), BackendError> {
        self.submit_adamw()
    }

    fn all_finite(&mut self, tensors: &[DeviceRef<'_>]) -> Result<Vec<bool>, BackendError> {
        self.companion()?;
        let extents: Vec<_> = tensors.iter().map(DeviceRef::extent).collect();
        match &mut self.companion {
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
            uncoupled_matrices: u64::from(words[3]),
        })
    }

    fn table_uploads(&self) -> u64 {
        self.uploads
    }

    fn prepare_recording(&mut self, recording: Recording) -> Result<(), BackendError> {
        self.begin_recording(recording)
    }

    fn select_phase(&mut self, phase: Option<u32>) -> Result<(), BackendError> {
        self.phase = phase;
        Ok(())
    }

    fn check_recordable(&self, plan: &Plan) -> Result<(), BackendError> {
        self.check_kernels_follow_the_device(plan)
    }

    fn set_clock(&mut self, step: u64) -> Result<(), BackendError> {
        self.last_thread.follow(&self.stream)?;
        match &self.recorded {
            Some(recorded) => Ok(recorded.set_clock(step)?),
            None => Err(Self::unprepared("a recorded step".to_owned())),
        }
    }

    fn record_clock(&mut self) -> Result<(), BackendError> {
        self.submit_clock()
    }

    fn replayed_past_end(&mut self) -> Result<bool, BackendError> {
        match &self.recorded {
            Some(recorded) => Ok(recorded.past_end()?),
            None => Ok(false),
        }
    }
}
