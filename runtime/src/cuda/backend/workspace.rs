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
        let row_normalised = matrices.iter().any(|matrix| matrix.row_normalised);
        let form = Form::of(&self.device, spec, variant, row_normalised);
        let method = self.method(spec, variant, form)?;
        let tiles = workspace_of_tiles(form, &method, spec, matrices, threads);
        let parts = match form {
            Form::Alone => Layout::default(),
            Form::OnePass | Form::Within => Layout::new(form, spec, matrices)?,
        };
        Ok((tiles.bytes + parts.bytes) as u64)
    }

    fn chunk_cost(
        &self,
        spec: &KernelSpec,
        variant: Option<&str>,
        matrices: &[MatrixDemand],
        threads: usize,
    ) -> Result<ChunkCost, BackendError> {
        let row_normalised = matrices.iter().any(|matrix| matrix.row_normalised);
        let form = Form::of(&self.device, spec, variant, row_normalised);
        let method = self.method(spec, variant, form)?;
        let layout = workspace_of_tiles(form, &method, spec, matrices, threads);
        let shapes: Vec<_> = matrices.iter().map(|m| (m.rows, m.columns)).collect();
        let tiles = form.tiles(spec);
        let order = order(spec, &shapes).into_iter();
        let shapes: Vec<_> = order.map(|index| shapes[index]).collect();
        let ranges = method.ranges(&tiles, &shapes, layout.scratch_bytes);
        let around = match form {
            Form::Alone => 0,
            Form::OnePass | Form::Within => Layout::new(form, spec, matrices)?.launches(),
        };
        let kernels = around + method.kernels(form.purpose(), ranges.len(), layout.reported);
        let of_coupling = if form == Form::Alone {
            0
        } else {
            COUPLED_BYTES
        };
        let wider = match tiles.storage.master_weights {
            true => REMAINDER_BYTES,
            false => 0,
        };
        let of_matrix = of_coupling + wider;
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
        let tiles = Form::of(&self.device, spec, None, false).tiles(spec);
        let mut predicted = tuning::predicted(&self.device, &tiles, shapes);
        // Nobody has to be told that a guess is not among what the program carries.
        predicted.retain(|found| self.is_at_hand(spec, &found.variant));
        predicted
    }
}
