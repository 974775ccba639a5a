//! The CPU backend.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use himuon_templates::KernelSpec;

use super::{Backend, BackendError};
use crate::cpu::{self, CpuKernel, CpuVariant, Pool, Workspace};
use crate::launch::{AdamWTensor, LaunchReport, MatrixStep};
use crate::plan::{Launch, Plan, WorkspaceModel};
use crate::tensor::TensorRef;
use crate::tuning::DeviceFingerprint;

/// Runs plans on the threads of this machine.
#[derive(Debug)]
pub struct CpuBackend {
    pool: Pool,
    /// By number of threads: a launch that a budget holds to fewer threads gets a pool of its own.
    smaller_pools: BTreeMap<usize, Pool>,
    kernels: BTreeMap<(KernelSpec, Option<String>), CpuKernel>,
    workspace: Workspace,
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
    let variants = CpuKernel::variants(spec);
    let Some(variant) = variants.iter().find(|variant| variant.name() == name) else {
        let known: Vec<_> = variants.iter().map(CpuVariant::name).collect();
        return Err(unsupported(format!(
            "no variant {name} on this processor, there are {}; tune again",
            known.join(", ")
        )));
    };
    CpuKernel::with_variant(spec, *variant).map_err(|error| unsupported(error.to_string()))
}

fn kernel_key(launch: &Launch) -> (KernelSpec, Option<String>) {
    (launch.spec.clone(), launch.variant.clone())
}

impl WorkspaceModel for CpuBackend {
    fn workspace_bytes(
        &self,
        spec: &KernelSpec,
        variant: Option<&str>,
        shapes: &[(usize, usize)],
        threads: usize,
    ) -> Result<u64, BackendError> {
        let bytes = match self
            .kernels
            .get(&(spec.clone(), variant.map(str::to_owned)))
        {
            Some(kernel) => kernel.workspace_bytes(shapes, threads),
            None => kernel(spec, variant)?.workspace_bytes(shapes, threads),
        };
        Ok(bytes as u64)
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn fingerprint(&self) -> DeviceFingerprint {
        DeviceFingerprint::cpu()
    }

    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn kernel_id(&self, _spec: &KernelSpec, variant: Option<&str>) -> String {
        let version = env!("CARGO_PKG_VERSION");
        format!("cpu_{}-{version}", variant.unwrap_or("default"))
    }

    fn table_entry_bytes(&self) -> u64 {
        size_of::<MatrixStep<'_>>() as u64
    }

    fn prepare(&mut self, plan: &Plan) -> Result<(), BackendError> {
        for launch in &plan.launches {
            if let Entry::Vacant(place) = self.kernels.entry(kernel_key(launch)) {
                place.insert(kernel(&launch.spec, launch.variant.as_deref())?);
            }
            if launch.threads != self.pool.threads()
                && let Entry::Vacant(place) = self.smaller_pools.entry(launch.threads)
            {
                place.insert(pool(launch.threads)?);
            }
        }
        Ok(())
    }

    fn launch(
        &mut self,
        launch: &Launch,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, BackendError> {
        let failed = |reason: String| BackendError::Launch {
            spec: launch.spec.to_string(),
            reason,
        };
        let kernel = self.kernels.get(&kernel_key(launch));
        let pool = match self.smaller_pools.get(&launch.threads) {
            Some(pool) => Some(pool),
            None => Some(&self.pool).filter(|pool| pool.threads() == launch.threads),
        };
        let (Some(kernel), Some(pool)) = (kernel, pool) else {
            return Err(failed("the plan was not prepared".to_owned()));
        };
        kernel
            .step(pool, matrices, &mut self.workspace)
            .map_err(|error| failed(error.to_string()))
    }

    fn adamw(&mut self, tensors: &mut [AdamWTensor<'_>]) -> Result<(), BackendError> {
        let failed = |reason: String| BackendError::Launch {
            spec: "adamw".to_owned(),
            reason,
        };
        cpu::adamw_step(&self.pool, tensors).map_err(|error| failed(error.to_string()))
    }

    fn all_finite(&self, tensor: TensorRef<'_>) -> bool {
        cpu::all_finite(&self.pool, tensor)
    }
}
