//! How much workspace a launch needs, and what is known of its variants before one runs.

use himuon_templates::KernelSpec;

use super::CudaBackend;
use crate::backend::BackendError;
use crate::cuda::coupling::{COUPLED_BYTES, Layout, couples, workspace_of_tiles};
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
        if couples(spec) {
            let tiles = workspace_of_tiles(&method, spec, matrices, threads);
            let parts = Layout::new(spec, matrices)?;
            return Ok((tiles.bytes + parts.bytes) as u64);
        }
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
        let layout = match couples(spec) {
            true => workspace_of_tiles(&method, spec, matrices, threads),
            false => method.workspace(spec, matrices, threads),
        };
        let shapes: Vec<_> = matrices.iter().map(|m| (m.rows, m.columns)).collect();
        let tiles = if couples(spec) {
            spec.remainder_map()
        } else {
            spec.clone()
        };
        let order = order(spec, &shapes).into_iter();
        let shapes: Vec<_> = order.map(|index| shapes[index]).collect();
        let ranges = method.ranges(&tiles, &shapes, layout.scratch_bytes);
        let (kernels, of_matrix) = if couples(spec) {
            let around = Layout::new(spec, matrices)?.launches();
            let map = method.kernels("map", ranges.len(), layout.reported);
            (around + map, COUPLED_BYTES)
        } else {
            let step = method.kernels("step", ranges.len(), layout.reported);
            let wider = if spec.storage.master_weights {
                REMAINDER_BYTES
            } else {
                0
            };
            (step, wider)
        };
        let tables: usize = match method.has_tile_tables() {
            true => ranges.iter().map(TileRange::table_bytes).sum(),
            false => 0,
        };
        Ok(ChunkCost {
            kernels: (kernels + usize::from(self.scale.is_some())) as u64,
            table_bytes: (of_matrix * matrices.len() + tables) as u64,
        })
    }

    fn source_digest(&self, spec: &KernelSpec, variant: &str) -> Option<String> {
        // Tables know variants by their tiles alone.
        tuning::digest(&self.device, &spec.tiles_alone(), &variant.parse().ok()?)
    }

    fn predicted(
        &self,
        spec: &KernelSpec,
        shapes: &[(usize, usize)],
        _threads: usize,
    ) -> Vec<Prediction> {
        let map = couples(spec).then(|| spec.remainder_map());
        tuning::predicted(&self.device, map.as_ref().unwrap_or(spec), shapes)
    }
}
