//! The CPU backend.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use himuon_templates::KernelSpec;

use super::{Backend, BackendError};
use crate::cpu::{self, CpuKernel, Pool, Workspace};
use crate::launch::{AdamWTensor, LaunchReport, MatrixDemand, MatrixStep, TileCounts};
use crate::memory::Host;
use crate::plan::{Chunk, Launch, Plan, PlannedMatrix, Prediction, WorkspaceModel};
use crate::tensor::TensorRef;
use crate::tuning::{
    CpuTarget, DeviceFingerprint, TuningTarget, cpu_digest_of, predicted_on_cpu, variant_named,
};

/// Runs plans on the threads of this machine.
#[derive(Debug)]
pub struct CpuBackend {
    pool: Pool,
    /// By number of threads: a launch that a budget holds to fewer threads gets a pool of its own.
    smaller_pools: BTreeMap<usize, Pool>,
    kernels: BTreeMap<(KernelSpec, Option<String>), CpuKernel>,
    workspace: Workspace,
    /// Numbers that AdamW left alone.
    left_alone: u64,
}

impl CpuBackend {
    /// A backend on `threads` threads; `None`: as many as the system has.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn new(threads: Option<usize>) -> Result<Self, BackendError> {
        Ok(CpuBackend {
            pool: pool(threads.unwrap_or(0))?,
            smaller_pools: BTreeMap::new(),
            kernels: BTreeMap::new(),
            workspace: Workspace::new(),
            left_alone: 0,
        })
    }
}

fn pool(threads: usize) -> Result<Pool, BackendError> {
    Pool::new(threads).map_err(|error| BackendError::Launch {
        spec: "the thread pool".to_owned(),
        reason: error.to_string(),
    })
}

/// The kernel of a specification, in a named variant or the default one.
fn kernel(spec: &KernelSpec, variant: Option<&str>) -> Result<CpuKernel, BackendError> {
    let unsupported = |reason: String| BackendError::Unsupported {
        backend: "cpu",
        spec: spec.to_string(),
        reason,
    };
    let kernel = CpuKernel::new(spec).map_err(|error| unsupported(error.to_string()))?;
    let Some(name) = variant else {
        return Ok(kernel);
    };
    let Some(variant) = variant_named(name) else {
        return Err(unsupported(format!(
            "no variant {name}, as {} is one; tune again",
            kernel.variant().name()
        )));
    };
    CpuKernel::with_variant(spec, variant).map_err(|error| unsupported(error.to_string()))
}

fn kernel_key(launch: &Launch) -> (KernelSpec, Option<String>) {
    (launch.spec.clone(), launch.variant.clone())
}

impl WorkspaceModel for CpuBackend {
    fn workspace_bytes(
        &self,
        spec: &KernelSpec,
        variant: Option<&str>,
        matrices: &[MatrixDemand],
        threads: usize,
    ) -> Result<u64, BackendError> {
        let bytes = match self
            .kernels
            .get(&(spec.clone(), variant.map(str::to_owned)))
        {
            Some(kernel) => kernel.workspace_bytes(matrices, threads),
            None => kernel(spec, variant)?.workspace_bytes(matrices, threads),
        };
        Ok(bytes as u64)
    }

    fn source_digest(&self, _spec: &KernelSpec, variant: &str) -> Option<String> {
        cpu_digest_of(variant)
    }

    fn predicted(
        &self,
        spec: &KernelSpec,
        shapes: &[(usize, usize)],
        threads: usize,
    ) -> Vec<Prediction> {
        predicted_on_cpu(spec, shapes, threads)
    }
}

impl Backend<Host> for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn fingerprint(&self) -> DeviceFingerprint {
        DeviceFingerprint::cpu()
    }

    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn tuning_target(&self) -> Option<Box<dyn TuningTarget>> {
        let target = CpuTarget::new(Some(self.pool.threads())).ok()?;
        Some(Box::new(target))
    }

    fn kernel_id(&self, _spec: &KernelSpec, variant: Option<&str>) -> String {
        let version = env!("CARGO_PKG_VERSION");
        format!("cpu_{}-{version}", variant.unwrap_or("default"))
    }

    fn table_entry_bytes(&self) -> u64 {
        size_of::<MatrixStep<'_>>() as u64
    }

    fn allocator(&self) {}

    fn prepare(&mut self, plan: &Plan) -> Result<(), BackendError> {
        self.workspace
            .limit(usize::try_from(plan.workspace_bytes).unwrap_or(usize::MAX));
        for launch in &plan.launches {
            if launch.threads != self.pool.threads()
                && let Entry::Vacant(place) = self.smaller_pools.entry(launch.threads)
            {
                place.insert(pool(launch.threads)?);
            }
            let kernel = match self.kernels.entry(kernel_key(launch)) {
                Entry::Occupied(place) => place.into_mut(),
                Entry::Vacant(place) => {
                    place.insert(kernel(&launch.spec, launch.variant.as_deref())?)
                }
            };
            for chunk in &launch.chunks {
                let matrices = launch.matrices_of(chunk).iter();
                let demands: Vec<_> = matrices.map(PlannedMatrix::demand).collect();
                kernel
                    .reserve(&demands, launch.threads, &mut self.workspace)
                    .map_err(|_| BackendError::OutOfMemory {
                        purpose: "workspace".to_owned(),
                        bytes: chunk.workspace_bytes,
                    })?;
            }
        }
        Ok(())
    }

    fn launch(
        &mut self,
        launch: &Launch,
        _chunk: &Chunk,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, BackendError> {
        let refused = |reason: String| BackendError::Refused {
            spec: launch.spec.to_string(),
            reason,
        };
        let kernel = self.kernels.get(&kernel_key(launch));
        let pool = match self.smaller_pools.get(&launch.threads) {
            Some(pool) => Some(pool),
            None => Some(&self.pool).filter(|pool| pool.threads() == launch.threads),
        };
        let (Some(kernel), Some(pool)) = (kernel, pool) else {
            return Err(refused("the plan was not prepared".to_owned()));
        };
        kernel
            .step(pool, matrices, &mut self.workspace)
            .map_err(|error| refused(error.to_string()))
    }

    fn adamw(&mut self, tensors: &mut [AdamWTensor<'_>]) -> Result<(), BackendError> {
        let refused = |reason: String| BackendError::Refused {
            spec: "adamw".to_owned(),
            reason,
        };
        self.left_alone +=
            cpu::adamw_step(&self.pool, tensors).map_err(|error| refused(error.to_string()))?;
        Ok(())
    }

    fn counts(&mut self) -> Result<TileCounts, BackendError> {
        Ok(TileCounts {
            non_finite_numbers: self.left_alone,
            ..TileCounts::default()
        })
    }

    fn all_finite(&mut self, tensors: &[TensorRef<'_>]) -> Result<Vec<bool>, BackendError> {
        let tensors = tensors.iter();
        Ok(tensors
            .map(|tensor| cpu::all_finite(&self.pool, *tensor))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{GroupScalars, ScaleRule};
    use crate::plan::{PlanRequest, PlannedParameter, Planner};
    use crate::tensor::TensorMut;
    use crate::tuning::TuningTable;
    use himuon_templates::{Power, Recurrence, Tile};

    const SCALARS: GroupScalars = GroupScalars {
        learning_rate: 0.02,
        weight_decay: 0.1,
        mu: 0.95,
        c: 1.0,
        alpha: 1.0,
        beta: 0.95,
        scale_factor: 0.2,
        scale: ScaleRule::Exact,
        coarse_factor: 1.0,
        captured_decay: 0.0,
    };

    fn parameter(
        parameter: usize,
        spec: KernelSpec,
        rows: usize,
        columns: usize,
    ) -> PlannedParameter {
        PlannedParameter {
            parameter,
            name: parameter.to_string(),
            matrices: 1,
            rows,
            columns,
            row_normalised: false,
            diagnosed: false,
            spec,
        }
    }

    /// A launch with much per-thread scratch and one with a whole mapped matrix share the workspace; what is
    /// held must stay within the plan even so.
    #[test]
    fn the_workspace_never_holds_more_than_the_plan_says() {
        let power = KernelSpec {
            steps: 6,
            power: Power::new(1, 2).unwrap(),
            recurrence: Recurrence::Fitted,
            ..KernelSpec::new(Tile::square(8))
        };
        let parameters = [
            parameter(0, KernelSpec::new(Tile::Full), 96, 80),
            parameter(1, power, 200, 120),
        ];
        let mut backend = CpuBackend::new(Some(2)).unwrap();
        let plan = Planner(&backend)
            .plan(&PlanRequest {
                parameters: &parameters,
                elementwise: &[],
                tuning: &TuningTable::new(DeviceFingerprint::cpu()),
                budget_bytes: None,
                threads: 2,
                table_entry_bytes: 0,
            })
            .unwrap();
        let mut held = Vec::new();
        for _ in 0..2 {
            backend.prepare(&plan).unwrap();
            held.push(backend.workspace.bytes());
            for launch in &plan.launches {
                let matrix = &launch.matrices[0];
                let len = matrix.rows * matrix.columns;
                let gradient: Vec<f32> = (0..len).map(|i| (i % 17) as f32 - 8.0).collect();
                let (mut momentum, mut weight) = (vec![0.0; len], vec![1.0; len]);
                let report = backend.launch(
                    launch,
                    &launch.chunks[0],
                    &mut [MatrixStep {
                        rows: matrix.rows,
                        columns: matrix.columns,
                        gradient: TensorRef::F32(&gradient),
                        gradient_leading: matrix.columns,
                        momentum: TensorMut::F32(&mut momentum),
                        weight: TensorMut::F32(&mut weight),
                        weight_leading: matrix.columns,
                        remainder: None,
                        row_normalisation: None,
                        coarse: None,
                        scalars: SCALARS,
                        diagnostics: None,
                    }],
                );
                assert_eq!(report.unwrap().tiles as u64, launch.tiles);
                held.push(backend.workspace.bytes());
            }
        }
        assert!(
            held.iter()
                .all(|bytes| *bytes as u64 <= plan.workspace_bytes),
            "{held:?} beside {}",
            plan.workspace_bytes
        );
        assert!(held.iter().all(|bytes| *bytes > 0));
    }
}
