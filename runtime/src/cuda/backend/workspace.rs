//! How much workspace a launch needs, and what is known of its variants before one runs.

use himuon_templates::KernelSpec;

use super::CudaBackend;
use crate::backend::BackendError;
use crate::cuda::ranges::TileRange;
use crate::cuda::scratch::order;
use crate::cuda::table::REMAINDER_BYTES;
use crate::cuda::tuning;
use crate::launch::MatrixDemand;
use crate::plan::{ChunkCost, Prediction, WorkspaceModel};

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
        let method = self.method(spec, variant)?;
        Ok(method.workspace(spec, matrices, threads).bytes as u64)
    }

    fn chunk_cost(
        &self,
        spec: &KernelSpec,
        variant: Option<&str>,
        matrices: &[MatrixDemand],
        threads: usize,
    ) -> Result<ChunkCost, BackendError> {
        let method = self.method(spec, variant)?;
        let layout = method.workspace(spec, matrices, threads);
        let shapes: Vec<_> = matrices.iter().map(|m| (m.rows, m.columns)).collect();
        let order = order(spec, &shapes).into_iter();
        let shapes: Vec<_> = order.map(|index| shapes[index]).collect();
        let ranges = method.ranges(spec, &shapes, layout.scratch_bytes);
        let kernels = method.kernels(ranges.len(), layout.reported);
        let tables = ranges.iter().map(TileRange::table_bytes);
        let wider = match spec.storage.master_weights {
            true => (REMAINDER_BYTES * matrices.len()) as u64,
            false => 0,
        };
        Ok(ChunkCost {
            kernels: (kernels + usize::from(self.scale.is_some())) as u64,
            table_bytes: wider
                + if method.has_tile_tables() {
                    tables.sum::<usize>() as u64
                } else {
                    0
                },
        })
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
