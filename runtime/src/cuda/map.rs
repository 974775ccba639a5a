//! The map alone, of a matrix in this process's memory: for files, comparisons, and a first look at a device.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use himuon_templates::{Element, KernelSpec};

use super::arguments::TileArguments;
use super::device::{DeviceInfo, devices};
use super::driver::DeviceMemory;
use super::error::CudaError;
use super::kernel::{Method, TileKernel};
use super::module::{Loader, Shipped};
use super::ranges::BoundRanges;
use super::scratch::tile_count;
use super::table::{MatrixEntry, REPORT_BYTES};
use super::tile_report::diagnostics;
use crate::backend::BackendError;
use crate::launch::{MatrixDemand, TileDiagnostics};

/// The map of a specification on a device, from f32 to f32.
#[derive(Debug)]
pub struct CudaMap {
    device: DeviceInfo,
    stream: Arc<CudaStream>,
    spec: KernelSpec,
    kernel: TileKernel,
}

impl CudaMap {
    /// Loads the kernel of `spec`, whose weights and gradients are taken to be f32 whatever it says.
    ///
    /// # Errors
    /// A specification that no kernel computes, no compiler, or the device fails.
    pub fn new(stream: &Arc<CudaStream>, spec: &KernelSpec) -> Result<Self, BackendError> {
        Self::with_variant(stream, spec, None)
    }

    /// As [`CudaMap::new`], in a named variant; `None`: the default.
    ///
    /// # Errors
    /// As there; no such variant on this device.
    pub fn with_variant(
        stream: &Arc<CudaStream>,
        spec: &KernelSpec,
        variant: Option<&str>,
    ) -> Result<Self, BackendError> {
        let ordinal = stream.context().ordinal();
        let found = devices()?;
        let count = found.len();
        let device = found.into_iter().nth(ordinal).ok_or(CudaError::Ordinal {
            found: ordinal,
            count,
        })?;
        let spec = Self::spec_of(spec);
        let method = Method::of(&device, &spec, variant)?;
        let loader = Loader {
            context: stream.context(),
            device: &device,
            shipped: &Shipped::default(),
        };
        let kernel = TileKernel::load(loader, &spec, method, "map")?;
        Ok(CudaMap {
            device,
            stream: Arc::clone(stream),
            spec,
            kernel,
        })
    }

    /// The specification whose kernel maps f32 to f32.
    pub(super) fn spec_of(spec: &KernelSpec) -> KernelSpec {
        let mut spec = spec.clone();
        spec.storage.weight = Element::F32;
        spec.storage.master_weights = false;
        spec
    }

    /// The device.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// Writes the map of X = tile / ||tile||_F of every tile of a `rows` x `columns` matrix to `output`, and says
    /// what became of each tile, row by row. A tile that is not finite is left out: its place keeps what `output` held.
    ///
    /// # Errors
    /// Slices of another length, not enough memory, or the device fails.
    pub fn map(
        &self,
        input: &[f32],
        rows: usize,
        columns: usize,
        output: &mut [f32],
    ) -> Result<Vec<TileDiagnostics>, BackendError> {
        let len = rows * columns;
        if input.len() != len || output.len() != len || len == 0 {
            return Err(BackendError::Tensor {
                tensor: "matrix".to_owned(),
                reason: format!(
                    "{} numbers in, {} out, expected {rows} x {columns}",
                    input.len(),
                    output.len()
                ),
            });
        }
        let demand = MatrixDemand {
            diagnosed: true,
            ..MatrixDemand::new(rows, columns)
        };
        let blocks = 4 * self.device.multiprocessors as usize;
        let layout = self.kernel.method.workspace(&self.spec, &[demand], blocks);
        let tiles = tile_count(&self.spec, rows, columns) as usize;
        let memory = |bytes, purpose| DeviceMemory::zeroed(&self.stream, bytes, purpose);
        let from = memory(4 * len, "the matrix")?;
        let to = memory(4 * len, "the map")?;
        let workspace = memory(layout.bytes, "workspace")?;
        from.write(0, bytemuck::cast_slice(input))?;
        to.write(0, bytemuck::cast_slice(output))?;
        let mut image = Vec::new();
        MatrixEntry {
            gradient: from.pointer(),
            momentum: 0,
            weight: to.pointer(),
            mapped: 0,
            rows: rows as u32,
            columns: columns as u32,
            gradient_leading: columns as u32,
            weight_leading: columns as u32,
            first_tile: 0,
            group: 0,
            remainder: None,
        }
        .write(&mut image);
        let table = memory(image.len(), "the table of matrices")?;
        table.write(0, &image)?;
        let arguments = TileArguments {
            matrices: table.pointer(),
            matrix_count: 1,
            groups: 0,
            coupled: 0,
            reports: workspace.pointer(),
            tile_count: tiles as u32,
            counters: 0,
            workspace: workspace.pointer() + layout.scratch_offset as u64,
            workspace_of_block: layout.units_of_block as u64,
            blocks: layout.blocks as u32,
            active: 0,
        };
        let wanted = (&self.spec, vec![(rows, columns)], layout.scratch_bytes);
        let mut ranges = BoundRanges::default();
        ranges.bind(&self.stream, &self.kernel, wanted, &arguments)?;
        self.kernel.submit(&self.stream, &arguments, ranges.get())?;
        to.read(0, bytemuck::cast_slice_mut(output))?;
        let mut reports = vec![0; REPORT_BYTES * tiles];
        workspace.read(0, &mut reports)?;
        Ok(reports
            .chunks_exact(REPORT_BYTES)
            .map(diagnostics)
            .collect())
    }
}
