//! How much workspace a launch needs, and what is known of its variants before one runs.

use himuon_templates::KernelSpec;

use super::CudaBackend;
use crate::backend::BackendError;
use crate::cuda::coupling::{COUPLED_BYTES, Form, Layout, workspace_of_tiles};
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
        let form = Form::of_demands(spec, matrices);
        let method = self.method(spec, variant, form)?;
        if form == Form::Within {
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
        let form = Form::of_demands(spec, matrices);
        let method = self.method(spec, variant, form)?;
        let layout = match form {
            Form::Within => workspace_of_tiles(&method, spec, matrices, threads),
            Form::Alone => method.workspace(spec, matrices, threads),
        };
        let shapes: Vec<_> = matrices.iter().map(|m| (m.rows, m.columns)).collect();
        let tiles = form.tiles(spec);
        let order = order(spec, &shapes).into_iter();
        let shapes: Vec<_> = order.map(|index| shapes[index]).collect();
        let ranges = method.ranges(&tiles, &shapes, layout.scratch_bytes);
        let (kernels, of_matrix) = if form == Form::Within {
            let around = Layout::new(spec, matrices)?.launches();
            let map = method.kernels(form.purpose(), ranges.len(), layout.reported);
            (around + map, COUPLED_BYTES)
        } else {
            let step = method.kernels(form.purpose(), ranges.len(), layout.reported);
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
        let tiles = Form::of(spec, false).tiles(spec);
        tuning::predicted(&self.device, &tiles, shapes)
    }
}
