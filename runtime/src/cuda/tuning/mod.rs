//! A CUDA device under the tuner: candidates by the model, verification and timing through the backend that training
//! uses, times from events.
//!
//! On an emulated device everything is the same but the meaning of the times: its events count instructions, so the
//! entries carry [`Clock::Emulated`], lie in a file of their own and choose nothing.

mod matrix;
mod predicted;

use std::sync::Arc;

use cudarc::driver::CudaStream;
use cudarc::driver::sys::CUevent_flags_enum::CU_EVENT_DEFAULT;
use himuon_templates::variant::effective_operand;
use himuon_templates::{KernelSpec, Operand, Variant};

use super::backend::CudaBackend;
use super::device::{DeviceInfo, open};
use super::driver::DeviceMemory;
use super::error::CudaError;
use super::kernel::Method;
use super::map::CudaMap;
use super::memory::DeviceAllocator;
use super::module::{Shipped, compile_ahead};
use crate::backend::{Backend, BackendError};
use crate::launch::GroupScalars;
use crate::plan::{Plan, PlanRequest, PlannedParameter, Planner};
use crate::tuning::{
    CacheState, Candidate, Clock, DeviceFingerprint, Gaussian, SAMPLE_SCALARS, StepCase, Trouble,
    TuningTable, TuningTarget,
};

use matrix::{DeviceMatrix, read, work};
use predicted::launchable;
pub(super) use predicted::{digest, predicted};

/// Candidates that are offered: each costs a compilation or, with its map, two. The model's order decides which.
const MOST_CANDIDATES: usize = 64;
/// Bytes that are written between two cold runs where the driver does not tell the size of the L2 cache.
const UNKNOWN_L2: usize = 64 << 20;
/// Launches that a host submits while a device overwrites twice its L2 cache: seven microseconds each of the thirty that an H200
/// needs for it, both by estimate.
const LAUNCHES_OF_AN_EVICTION: u64 = 4;

/// The CUDA kernels on a device.
#[derive(Debug)]
pub struct CudaTarget {
    device: DeviceInfo,
    stream: Arc<CudaStream>,
    backend: CudaBackend,
    sample: Vec<DeviceMatrix>,
    evictor: Option<DeviceMemory>,
    /// The map that was asked for last; a candidate is judged by several.
    map: Option<(KernelSpec, String, CudaMap)>,
    trouble: Option<Trouble>,
}

impl CudaTarget {
    /// The device of this number, on a stream of its own.
    ///
    /// # Errors
    /// As [`open`].
    pub fn new(ordinal: usize) -> Result<Self, CudaError> {
        let stream = open(ordinal)?
            .new_stream()
            .map_err(CudaError::call("making a stream"))?;
        let backend = CudaBackend::new(&stream)?;
        Ok(CudaTarget {
            device: backend.device().clone(),
            stream,
            backend,
            sample: Vec::new(),
            evictor: None,
            map: None,
            trouble: None,
        })
    }

    /// The device.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// Kernel, workspace and tables of one launch in a variant.
    fn prepare(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        matrices: &mut [DeviceMatrix],
        scalars: GroupScalars,
    ) -> Result<Plan, BackendError> {
        let plan = self.plan(spec, variant, matrices)?;
        self.backend.prepare(&plan)?;
        let work = work(matrices, scalars);
        self.backend.bind(&plan, &work)?;
        Ok(plan)
    }

    fn plan(
        &self,
        spec: &KernelSpec,
        variant: &str,
        matrices: &[DeviceMatrix],
    ) -> Result<Plan, BackendError> {
        // The planner would pass over a variant that does not fit; here that is an answer.
        Method::of(&self.device, spec, Some(variant))?;
        let mut table = TuningTable::new(self.device.fingerprint());
        table.pin(&spec.to_string(), Some(variant));
        let parameter = |(index, matrix): (usize, &DeviceMatrix)| PlannedParameter {
            parameter: index,
            name: index.to_string(),
            matrices: 1,
            rows: matrix.rows,
            columns: matrix.columns,
            row_normalised: false,
            diagnosed: false,
            spec: spec.clone(),
        };
        let parameters: Vec<_> = matrices.iter().enumerate().map(parameter).collect();
        Planner(&self.backend)
            .plan(&PlanRequest {
                parameters: &parameters,
                elementwise: &[],
                tuning: &table,
                budget_bytes: None,
                threads: self.backend.threads(),
                table_entry_bytes: self.backend.table_entry_bytes(),
            })
            .map_err(|error| BackendError::Launch {
                spec: spec.to_string(),
                reason: error.to_string(),
            })
    }

    /// Submits the launches of a prepared plan.
    fn submit(
        &mut self,
        plan: &Plan,
        matrices: &mut [DeviceMatrix],
        scalars: GroupScalars,
    ) -> Result<(), BackendError> {
        let mut work = work(matrices, scalars);
        for (launch, chunks) in plan.launches.iter().zip(&mut work.launches) {
            for (chunk, matrices) in launch.chunks.iter().zip(chunks) {
                self.backend.launch(launch, chunk, matrices)?;
            }
        }
        Ok(())
    }

    /// Nanoseconds of the launches of a step over `matrices`, by events around them.
    fn timed(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        matrices: &mut [DeviceMatrix],
        caches: CacheState,
    ) -> Result<u64, BackendError> {
        let plan = self.prepare(spec, variant, matrices, SAMPLE_SCALARS)?;
        // The host has submitted what follows before the device gets there, so that the events do not measure the host; an
        // emulator's count instructions, whoever waits.
        let evictions = match caches {
            _ if self.device.emulated => u64::from(caches == CacheState::Cold),
            CacheState::Cold => 1 + plan.kernels() / LAUNCHES_OF_AN_EVICTION,
            CacheState::Warm => 1 + 2 * plan.kernels() / LAUNCHES_OF_AN_EVICTION,
        };
        for _ in 0..evictions {
            self.evict()?;
        }
        if caches == CacheState::Warm {
            self.submit(&plan, matrices, SAMPLE_SCALARS)?;
        }
        let action = "timing by events";
        let mark = || self.stream.record_event(Some(CU_EVENT_DEFAULT));
        let start = mark().map_err(CudaError::call(action))?;
        self.submit(&plan, matrices, SAMPLE_SCALARS)?;
        let mark = || self.stream.record_event(Some(CU_EVENT_DEFAULT));
        let end = mark().map_err(CudaError::call(action))?;
        let milliseconds = start.elapsed_ms(&end).map_err(CudaError::call(action))?;
        Ok((1e6 * f64::from(milliseconds)) as u64)
    }

    /// Overwrites more memory than the L2 cache holds.
    fn evict(&mut self) -> Result<(), BackendError> {
        let evictor = match &mut self.evictor {
            Some(evictor) => evictor,
            place => {
                let bytes = match self.device.l2_bytes {
                    0 => UNKNOWN_L2,
                    bytes => 2 * bytes as usize,
                };
                place.insert(DeviceMemory::zeroed(&self.stream, bytes, "emptying L2")?)
            }
        };
        Ok(evictor.set(1)?)
    }

    fn allocator(&self) -> DeviceAllocator {
        DeviceAllocator(Arc::clone(&self.stream))
    }

    /// A result as the tuner takes it; what its error says of the device is kept.
    fn told<T>(&mut self, result: Result<T, BackendError>) -> Result<T, String> {
        self.trouble = match &result {
            Err(BackendError::Device { lost: true, .. }) => Some(Trouble::Lost),
            Err(BackendError::OutOfMemory { .. }) => Some(Trouble::OutOfMemory),
            Ok(_) | Err(_) => None,
        };
        result.map_err(|error| error.to_string())
    }

    fn mapped(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        (rows, columns): (usize, usize),
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), BackendError> {
        let held = self.map.take();
        let known = held.filter(|(held, name, _)| held == spec && name == variant);
        let map = match known {
            Some((.., map)) => map,
            None => CudaMap::with_variant(&self.stream, spec, Some(variant))?,
        };
        map.map(input, rows, columns, output)?;
        self.map = Some((spec.clone(), variant.to_owned(), map));
        Ok(())
    }

    /// Momentum and weight after a step.
    fn stepped(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        case: &StepCase,
    ) -> Result<(Vec<f32>, Vec<f32>), BackendError> {
        let allocator = self.allocator();
        let shape = (case.rows, case.columns);
        let tensors = [&case.gradient, &case.momentum, &case.weight];
        let matrix = DeviceMatrix::new(&allocator, spec, shape, tensors.map(Vec::as_slice))?;
        let mut matrices = [matrix];
        let plan = self.prepare(spec, variant, &mut matrices, case.scalars)?;
        self.submit(&plan, &mut matrices, case.scalars)?;
        let [matrix] = matrices;
        let momentum = read(&allocator, spec.storage.momentum, &matrix.momentum)?;
        let weight = read(&allocator, spec.storage.weight, &matrix.weight)?;
        Ok((momentum, weight))
    }
}

impl TuningTarget for CudaTarget {
    fn fingerprint(&self) -> DeviceFingerprint {
        self.device.fingerprint()
    }

    fn clock(&self) -> Clock {
        match self.device.emulated {
            true => Clock::Emulated,
            false => Clock::CudaEvents,
        }
    }

    fn threads(&self) -> usize {
        1
    }

    /// Variants differ in the order of their sums.
    fn same_bits(&self) -> bool {
        false
    }

    fn operand(&self, spec: &KernelSpec) -> Operand {
        effective_operand(spec)
    }

    fn candidates(
        &self,
        spec: &KernelSpec,
        shapes: &[(usize, usize)],
    ) -> Result<Vec<Candidate>, String> {
        let default = Method::of(&self.device, spec, None)
            .map_err(|error| error.to_string())?
            .variant;
        let estimates = launchable(&self.device, spec, shapes);
        let predicted = |variant: &Variant| {
            let mut estimates = estimates.iter();
            estimates
                .find(|estimate| estimate.variant == *variant)
                .map(|estimate| estimate.seconds)
        };
        let others = estimates.iter().map(|estimate| estimate.variant);
        let others = others.filter(|variant| *variant != default);
        std::iter::once(default)
            .chain(others)
            .take(MOST_CANDIDATES)
            .map(|variant| {
                Ok(Candidate {
                    digest: digest(&self.device, spec, &variant)
                        .ok_or_else(|| format!("{variant} of {spec} has no text"))?,
                    predicted: predicted(&variant),
                    variant: variant.to_string(),
                })
            })
            .collect()
    }

    fn compile_ahead(&mut self, spec: &KernelSpec, variants: &[&str]) {
        let map_spec = CudaMap::spec_of(spec);
        let text = |spec, variant, purpose| {
            let method = Method::of(&self.device, spec, Some(variant)).ok()?;
            method.text(&self.device, spec, purpose).ok()
        };
        let texts = variants.iter().flat_map(|variant| {
            let (step, map) = (text(spec, variant, "step"), text(&map_spec, variant, "map"));
            step.into_iter().chain(map)
        });
        compile_ahead(&self.device, &Shipped::default(), texts.collect());
    }

    fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        shape: (usize, usize),
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), String> {
        let mapped = self.mapped(spec, variant, shape, input, output);
        self.told(mapped)
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        case: &mut StepCase,
    ) -> Result<(), String> {
        let stepped = self.stepped(spec, variant, case);
        (case.momentum, case.weight) = self.told(stepped)?;
        Ok(())
    }

    fn load(&mut self, spec: &KernelSpec, shapes: &[(usize, usize)]) -> Result<(), String> {
        let allocator = self.allocator();
        // The old ones go first: both together may not fit.
        self.sample.clear();
        let mut gaussian = Gaussian::new(2);
        for &(rows, columns) in shapes {
            let tensors = [(); 3].map(|()| gaussian.vector(rows * columns));
            let tensors = tensors.each_ref().map(Vec::as_slice);
            let matrix = DeviceMatrix::new(&allocator, spec, (rows, columns), tensors)
                .map_err(|error| error.to_string())?;
            self.sample.push(matrix);
        }
        Ok(())
    }

    fn run(&mut self, spec: &KernelSpec, variant: &str, caches: CacheState) -> Result<u64, String> {
        let mut matrices = std::mem::take(&mut self.sample);
        if matrices.is_empty() {
            return Err("no tensors are loaded".to_owned());
        }
        let timed = self.timed(spec, variant, &mut matrices, caches);
        self.sample = matrices;
        self.told(timed)
    }
}
