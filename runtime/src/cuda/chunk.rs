//! One chunk of a launch, bound to the caller's tensors: its tables on the device.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use himuon_templates::KernelSpec;

use super::arguments::TileArguments;
use super::driver::DeviceMemory;
use super::error::CudaError;
use super::groups::BoundGroups;
use super::kernel::{MapsIn, TileKernel};
use super::memory::Device;
use super::ranges::BoundRanges;
use super::scratch::{order, tile_count};
use super::table::{DeviceTable, Groups, MATRIX_BYTES, MatrixEntry, REMAINDER_BYTES, REPORT_BYTES};
use super::tile_report::diagnostics;
use crate::backend::BackendError;
use crate::launch::{MatrixDemand, MatrixStep};
use crate::plan::Launch;

/// Where each row of the table stands in the chunk, and its first tile.
pub(super) type TableRows = Vec<(usize, u32)>;

/// The tables of a chunk.
#[derive(Debug, Default)]
pub(super) struct BoundChunk {
    matrices: DeviceTable,
    groups: BoundGroups,
    rows: TableRows,
    tiles: u32,
    ranges: BoundRanges,
    reports_offset: Option<usize>,
    workspace: u64,
    scratch: u64,
    block_numbers: u64,
    blocks: u32,
}

impl BoundChunk {
    /// Writes what has changed since the last step; says whether anything has.
    pub(super) fn bind(
        &mut self,
        kernel: &TileKernel,
        launch: &Launch,
        matrices: &[MatrixStep<'_, Device>],
        stream: &Arc<CudaStream>,
        workspace: u64,
        scaled: bool,
    ) -> Result<bool, BackendError> {
        let spec = &launch.spec;
        // Matrices without a gradient are not here; the workspace of the plan's chunk has room for all of them.
        let present: Vec<_> = matrices.iter().map(MatrixDemand::of).collect();
        let layout = kernel.method.workspace(spec, &present, launch.threads);
        let shapes: Vec<_> = matrices.iter().map(|m| (m.rows, m.columns)).collect();
        let order = order(spec, &shapes);
        let maps = kernel.method.maps();
        let mut groups = Groups(Vec::new());
        let entry_bytes = match spec.storage.master_weights {
            true => MATRIX_BYTES + REMAINDER_BYTES,
            false => MATRIX_BYTES,
        };
        let mut image = Vec::with_capacity(entry_bytes * matrices.len());
        let mut first_tile: u64 = 0;
        self.rows.clear();
        for &index in &order {
            let matrix = &matrices[index];
            self.rows.push((index, first_tile as u32));
            let mapped = match maps {
                MapsIn::Registers => 0,
                MapsIn::Workspace => {
                    workspace + (layout.mapped_offset + layout.mapped[index]) as u64
                }
                MapsIn::Gradients => consumed(index, matrix)?,
            };
            let group = groups.place(matrix.scalars);
            entry(index, matrix, first_tile as u32, (group, mapped))?.write(&mut image);
            first_tile += tile_count(spec, matrix.rows, matrix.columns);
        }
        self.tiles = counted(spec, first_tile)?;
        self.workspace = workspace;
        self.reports_offset = layout.reported.then_some(0);
        self.scratch = workspace + layout.scratch_offset as u64;
        self.block_numbers = layout.units_of_block as u64;
        self.blocks = layout.blocks as u32;
        let count = matrices.len();
        let matrices = self
            .matrices
            .update(stream, image, 0, "the table of matrices")?;
        let groups = self.groups.bind(stream, &groups, count, scaled)?;
        let shapes = order.into_iter().map(|index| shapes[index]).collect();
        let wanted = (spec, shapes, layout.scratch_bytes);
        let arguments = self.arguments(0, 0);
        self.ranges.bind(stream, kernel, wanted, &arguments)?;
        Ok(matrices || groups)
    }

    /// From now on the tables stay where they are.
    pub(super) fn pin(&mut self) {
        self.matrices.pin();
        self.groups.pin();
        self.ranges.pin();
    }

    pub(super) fn tiles(&self) -> usize {
        self.tiles as usize
    }

    /// Submits the step; returns how many kernels that were.
    pub(super) fn submit(
        &self,
        kernel: &TileKernel,
        stream: &CudaStream,
        counters: u64,
        active: u64,
    ) -> Result<usize, CudaError> {
        kernel.submit(stream, &self.arguments(counters, active), self.ranges.get())
    }

    fn arguments(&self, counters: u64, active: u64) -> TileArguments {
        TileArguments {
            matrices: self.matrices.pointer(),
            matrix_count: self.rows.len() as u32,
            groups: self.groups.pointer(),
            coupled: 0,
            reports: self
                .reports_offset
                .map_or(0, |offset| self.workspace + offset as u64),
            tile_count: self.tiles,
            counters,
            workspace: self.scratch,
            workspace_of_block: self.block_numbers,
            blocks: self.blocks,
            active,
        }
    }

    pub(super) fn groups(&self) -> &BoundGroups {
        &self.groups
    }

    /// Waits for the reports of the tiles where any matrix wants them, and hands them out.
    pub(super) fn diagnose(
        &self,
        workspace: &DeviceMemory,
        matrices: &mut [MatrixStep<'_, Device>],
    ) -> Result<(), BackendError> {
        match self.reports_offset {
            Some(offset) => read_reports(workspace, offset, (&self.rows, self.tiles), matrices),
            None => Ok(()),
        }
    }
}

/// Waits for the reports of the tiles of a chunk where any matrix wants them, and hands them out.
pub(super) fn read_reports(
    workspace: &DeviceMemory,
    offset: usize,
    (rows, tiles): (&TableRows, u32),
    matrices: &mut [MatrixStep<'_, Device>],
) -> Result<(), BackendError> {
    if !matrices.iter().any(|matrix| matrix.diagnostics.is_some()) {
        return Ok(());
    }
    let mut bytes = vec![0; REPORT_BYTES * tiles as usize];
    workspace.read(offset, &mut bytes)?;
    for &(index, first_tile) in rows {
        let reports = bytes.chunks_exact(REPORT_BYTES).skip(first_tile as usize);
        let wanted = matrices
            .get_mut(index)
            .and_then(|matrix| matrix.diagnostics.as_deref_mut());
        for (place, report) in wanted.into_iter().flatten().zip(reports) {
            *place = diagnostics(report);
        }
    }
    Ok(())
}

/// The tiles of a launch, as kernels count them.
pub(super) fn counted(spec: &KernelSpec, tiles: u64) -> Result<u32, BackendError> {
    u32::try_from(tiles).map_err(|_| BackendError::Unsupported {
        backend: "cuda",
        spec: spec.to_string(),
        reason: format!(
            "{tiles} tiles in one launch, at most 2^32 - 1; set a memory budget or larger tiles"
        ),
    })
}

/// The address of a gradient that is overwritten by the map.
fn consumed(index: usize, matrix: &MatrixStep<'_, Device>) -> Result<u64, BackendError> {
    if matrix.gradient_leading == matrix.columns {
        return Ok(matrix.gradient.extent().pointer);
    }
    Err(BackendError::Tensor {
        tensor: format!("gradient of the {index}th matrix of a launch"),
        reason: format!(
            "rows start {} numbers apart, expected {}; a gradient that is consumed is contiguous",
            matrix.gradient_leading, matrix.columns
        ),
    })
}

/// The entry of a matrix, from its tensors.
pub(super) fn entry(
    index: usize,
    matrix: &MatrixStep<'_, Device>,
    first_tile: u32,
    (group, mapped): (u32, u64),
) -> Result<MatrixEntry, BackendError> {
    let side = |what: &str, value: usize| {
        u32::try_from(value).map_err(|_| BackendError::Tensor {
            tensor: format!("{what} of the {index}th matrix of a launch"),
            reason: format!("{value}, expected at most 2^32 - 1"),
        })
    };
    Ok(MatrixEntry {
        gradient: matrix.gradient.extent().pointer,
        momentum: matrix.momentum.extent().pointer,
        weight: matrix.weight.extent().pointer,
        mapped,
        rows: side("rows", matrix.rows)?,
        columns: side("columns", matrix.columns)?,
        gradient_leading: side("leading dimension of the gradient", matrix.gradient_leading)?,
        weight_leading: side("leading dimension of the weight", matrix.weight_leading)?,
        first_tile,
        group,
        remainder: matrix
            .remainder
            .as_ref()
            .map(|remainder| remainder.extent().pointer),
    })
}
