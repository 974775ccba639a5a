//! How much workspace a launch needs, and what is known of its variants before one runs.

use himuon_templates::KernelSpec;

use super::CudaBackend;
use crate::backend::BackendError;
use crate::cuda::kernel::Method;
use crate::cuda::tuning;
use crate::launch::MatrixDemand;
use crate::plan::{Prediction, WorkspaceModel};

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

    fn source_digest(&self, spec: &KernelSpec, variant: &str) -> Option<String> {
        tuning::digest(&self.device, spec, &variant.parse().ok()?)
    }

    fn predicted(
        &self,
        spec: &KernelSpec,
        shapes: &[(usize, usize)],
        _threads: usize,
    ) -> Vec<Prediction> {
        tuning::predicted(&self.device, spec, shapes)
    }
}
