//! This processor under the tuner.

use std::collections::BTreeMap;
use std::time::Instant;

use half::{bf16, f16};
use himuon_templates::{Element, KernelSpec, Operand};

use super::core::Core;
use super::space::{variant_named, variants};
use super::{digest, model};
use crate::cpu::{ApplyScale, CpuKernel, Pool, Workspace};
use crate::launch::MatrixStep;
use crate::tensor::{TensorMut, TensorRef};
use crate::tuning::fingerprint::DeviceFingerprint;
use crate::tuning::level::Clock;
use crate::tuning::samples::StepSample;
use crate::tuning::target::{CacheState, Candidate, StepCase, TuningTarget};

/// Bytes that are read between two cold runs: more than the last-level cache of most processors gives one core.
const EVICTED: usize = 64 << 20;
const LINE: usize = 64;

/// The CPU kernels on a pool of threads.
#[derive(Debug)]
pub struct CpuTarget {
    pool: Pool,
    workspace: Workspace,
    kernels: BTreeMap<(KernelSpec, String), CpuKernel>,
    sample: Option<StepSample>,
    evictor: Vec<u8>,
}

impl CpuTarget {
    /// The kernels on `threads` threads; `None`: as many as the system has.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn new(threads: Option<usize>) -> Result<Self, crate::cpu::CpuError> {
        Ok(CpuTarget {
            pool: Pool::new(threads.unwrap_or(0))?,
            workspace: Workspace::new(),
            kernels: BTreeMap::new(),
            sample: None,
            evictor: Vec::new(),
        })
    }

    fn kernel(&mut self, spec: &KernelSpec, variant: &str) -> Result<CpuKernel, String> {
        let key = (spec.clone(), variant.to_owned());
        if let Some(kernel) = self.kernels.get(&key) {
            return Ok(kernel.clone());
        }
        let named = variant_named(variant).ok_or_else(|| format!("no variant {variant}"))?;
        let kernel = CpuKernel::with_variant(spec, named).map_err(|error| error.to_string())?;
        self.kernels.insert(key, kernel.clone());
        Ok(kernel)
    }

    /// Reads more memory than the caches hold, so that the launch's tensors are no longer in them.
    fn evict(&mut self) {
        if self.evictor.is_empty() {
            self.evictor = vec![1; EVICTED];
        }
        let lines = self.evictor.chunks(LINE);
        let sum: u64 = lines.map(|line| u64::from(line[0])).sum();
        std::hint::black_box(sum);
    }
}

impl TuningTarget for CpuTarget {
    fn fingerprint(&self) -> DeviceFingerprint {
        DeviceFingerprint::cpu()
    }

    fn clock(&self) -> Clock {
        Clock::Monotonic
    }

    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn same_bits(&self) -> bool {
        true
    }

    /// The kernels multiply in `f32` whatever the specification says.
    fn operand(&self, _spec: &KernelSpec) -> Operand {
        Operand::F32
    }

    fn candidates(
        &self,
        spec: &KernelSpec,
        shapes: &[(usize, usize)],
    ) -> Result<Vec<Candidate>, String> {
        let table = spec.step_table().map_err(|error| error.to_string())?;
        let threads = self.pool.threads();
        let mut candidates: Vec<Candidate> = variants(spec)
            .into_iter()
            .map(|variant| {
                let core = Core::measured(variant.instruction_set);
                let seconds = model::seconds(spec, &table, variant, shapes, threads, &core);
                Candidate {
                    variant: variant.name(),
                    digest: digest(variant.instruction_set),
                    predicted: Some(seconds),
                }
            })
            .collect();
        // The default stays in front.
        if let Some((_, others)) = candidates.split_first_mut() {
            let time = |candidate: &Candidate| candidate.predicted.unwrap_or(f64::INFINITY);
            others.sort_by(|a, b| time(a).total_cmp(&time(b)));
        }
        Ok(candidates)
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        (rows, columns): (usize, usize),
        input: &[f32],
        output: &mut [f32],
    ) -> Result<(), String> {
        let kernel = self.kernel(spec, variant)?;
        let input = TensorRef::F32(input);
        let scale = ApplyScale::None;
        let workspace = &mut self.workspace;
        kernel
            .map(&self.pool, input, rows, columns, output, scale, workspace)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        variant: &str,
        case: &mut StepCase,
    ) -> Result<(), String> {
        let kernel = self.kernel(spec, variant)?;
        let gradient = Stored::new(spec.storage.weight, &case.gradient);
        let mut weight = Stored::new(spec.storage.weight, &case.weight);
        let mut momentum = Stored::new(spec.storage.momentum, &case.momentum);
        let kept = spec.storage.master_weights;
        let mut remainder = vec![0; usize::from(kept) * case.rows * case.columns];
        let mut matrices = [MatrixStep {
            rows: case.rows,
            columns: case.columns,
            gradient: gradient.as_ref(),
            gradient_leading: case.columns,
            momentum: momentum.as_mut(),
            weight: weight.as_mut(),
            weight_leading: case.columns,
            remainder: kept.then_some(remainder.as_mut_slice()),
            row_normalisation: None,
            coarse: None,
            scalars: case.scalars,
            diagnostics: None,
        }];
        kernel
            .step(&self.pool, &mut matrices, &mut self.workspace)
            .map_err(|error| error.to_string())?;
        weight.copy_to(&mut case.weight);
        momentum.copy_to(&mut case.momentum);
        Ok(())
    }

    fn load(&mut self, spec: &KernelSpec, shapes: &[(usize, usize)]) -> Result<(), String> {
        self.sample = Some(StepSample::new(spec, shapes));
        Ok(())
    }

    fn run(&mut self, spec: &KernelSpec, variant: &str, caches: CacheState) -> Result<u64, String> {
        let kernel = self.kernel(spec, variant)?;
        if caches == CacheState::Cold {
            self.evict();
        }
        let Some(sample) = &mut self.sample else {
            return Err("no tensors are loaded".to_owned());
        };
        let mut matrices = sample.matrices();
        let start = Instant::now();
        kernel
            .step(&self.pool, &mut matrices, &mut self.workspace)
            .map_err(|error| error.to_string())?;
        Ok(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Numbers in a storage type, from `f32` and back.
enum Stored {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Stored {
    fn new(element: Element, values: &[f32]) -> Self {
        let values = values.iter().copied();
        match element {
            Element::F32 => Stored::F32(values.collect()),
            Element::Bf16 => Stored::Bf16(values.map(bf16::from_f32).collect()),
            Element::F16 => Stored::F16(values.map(f16::from_f32).collect()),
        }
    }

    fn as_ref(&self) -> TensorRef<'_> {
        match self {
            Stored::F32(values) => TensorRef::F32(values),
            Stored::Bf16(values) => TensorRef::Bf16(values),
            Stored::F16(values) => TensorRef::F16(values),
        }
    }

    fn as_mut(&mut self) -> TensorMut<'_> {
        match self {
            Stored::F32(values) => TensorMut::F32(values),
            Stored::Bf16(values) => TensorMut::Bf16(values),
            Stored::F16(values) => TensorMut::F16(values),
        }
    }

    fn copy_to(&self, target: &mut [f32]) {
        match self {
            Stored::F32(values) => target.copy_from_slice(values),
            Stored::Bf16(values) => {
                for (target, value) in target.iter_mut().zip(values) {
                    *target = value.to_f32();
                }
            }
            Stored::F16(values) => {
                for (target, value) in target.iter_mut().zip(values) {
                    *target = value.to_f32();
                }
            }
        }
    }
}
