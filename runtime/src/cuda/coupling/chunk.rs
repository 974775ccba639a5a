//! One chunk of coupled or row-normalised matrices, bound to the caller's tensors.

use std::sync::Arc;

use cudarc::driver::CudaStream;
use himuon_templates::KernelSpec;

use super::Form;
use super::entry::{COUPLED_BYTES, CoupledEntry};
use super::kernels::{Arguments, CouplingKernels};
use super::layout::{Layout, MatrixLayout, REPORT_BYTES, Units};
use crate::backend::BackendError;
use crate::cuda::arguments::TileArguments;
use crate::cuda::chunk::{TableRows, counted, entry, read_reports};
use crate::cuda::driver::DeviceMemory;
use crate::cuda::error::CudaError;
use crate::cuda::groups::BoundGroups;
use crate::cuda::kernel::{Method, TileKernel};
use crate::cuda::memory::Device;
use crate::cuda::ranges::BoundRanges;
use crate::cuda::scratch::{Workspace, order, tile_count};
use crate::cuda::table::{DeviceTable, Groups, MATRIX_BYTES, MatrixEntry};
use crate::launch::{CoarseFigures, MatrixDemand, MatrixStep};
use crate::plan::Launch;

/// State of a `CoarseReport`: there is a coarse part.
const CAPTURED: u32 = 1;

/// The tables of a chunk.
#[derive(Debug)]
pub(in crate::cuda) struct CoupledChunk {
    form: Form,
    /// What the launches here read.
    coupled: DeviceTable,
    /// What the tiles read: the matrices, or their remainders.
    matrices: DeviceTable,
    groups: BoundGroups,
    rows: TableRows,
    tiles: u32,
    ranges: BoundRanges,
    layout: Layout,
    /// Address of the workspace, and what the map has of it; what is here follows.
    workspace: u64,
    of_tiles: Workspace,
}

/// What the tiles have of the workspace. The launches after the map read a report of every tile.
pub(in crate::cuda) fn workspace_of_tiles(
    form: Form,
    method: &Method,
    spec: &KernelSpec,
    demands: &[MatrixDemand],
    blocks: usize,
) -> Workspace {
    let reported: Vec<_> = demands
        .iter()
        .map(|demand| MatrixDemand {
            diagnosed: demand.diagnosed || form == Form::Within,
            ..*demand
        })
        .collect();
    method.workspace(&form.tiles(spec), &reported, blocks)
}

impl CoupledChunk {
    pub(in crate::cuda) fn new(form: Form) -> Self {
        CoupledChunk {
            form,
            coupled: DeviceTable::default(),
            matrices: DeviceTable::default(),
            groups: BoundGroups::default(),
            rows: TableRows::new(),
            tiles: 0,
            ranges: BoundRanges::default(),
            layout: Layout::default(),
            workspace: 0,
            of_tiles: Workspace::default(),
        }
    }

    /// Writes what has changed since the last step; says whether anything has.
    pub(in crate::cuda) fn bind(
        &mut self,
        kernel: &TileKernel,
        launch: &Launch,
        matrices: &[MatrixStep<'_, Device>],
        stream: &Arc<CudaStream>,
        workspace: u64,
        scaled: bool,
    ) -> Result<bool, BackendError> {
        let spec = &launch.spec;
        let shapes: Vec<_> = matrices.iter().map(|m| (m.rows, m.columns)).collect();
        let order = order(spec, &shapes);
        let demands: Vec<_> = order
            .iter()
            .map(|&index| MatrixDemand::of(&matrices[index]))
            .collect();
        let (form, method) = (self.form, &kernel.method);
        self.of_tiles = workspace_of_tiles(form, method, spec, &demands, launch.threads);
        self.layout = Layout::new(form, spec, &demands)?;
        self.workspace = workspace;
        let mut groups = Groups(Vec::new());
        let mut coupled = Vec::with_capacity(COUPLED_BYTES * matrices.len());
        let mut of_tiles = Vec::with_capacity(MATRIX_BYTES * matrices.len());
        let mut firsts = Units::default();
        let mut first_tile: u64 = 0;
        self.rows.clear();
        for (&index, layout) in order.iter().zip(&self.layout.matrices) {
            let matrix = &matrices[index];
            self.rows.push((index, first_tile as u32));
            let group = groups.place(matrix.scalars);
            let entry = entry(index, matrix, first_tile as u32, (group, 0))?;
            self.of_matrix(spec, matrix, (entry, layout), firsts)
                .write(&mut coupled);
            let tiles = match form {
                Form::Within => remainder(&entry, self.parts() + layout.fine),
                Form::Alone | Form::OnePass => entry,
            };
            tiles.write(&mut of_tiles);
            for (first, units) in firsts.iter_mut().zip(layout.units) {
                *first += units as u32;
            }
            first_tile += tile_count(spec, matrix.rows, matrix.columns);
        }
        self.tiles = counted(spec, first_tile)?;
        let of_coupled = "the table of coupled matrices";
        let mut written = self.coupled.update(stream, coupled, 0, of_coupled)?;
        let table = "the table of matrices";
        written |= self.matrices.update(stream, of_tiles, 0, table)?;
        written |= self.groups.bind(stream, &groups, matrices.len(), scaled)?;
        let shapes = order.into_iter().map(|index| shapes[index]).collect();
        let tiles = form.tiles(spec);
        let wanted = (&tiles, shapes, self.of_tiles.scratch_bytes);
        let arguments = self.of_tiles(0, 0);
        self.ranges.bind(stream, kernel, wanted, &arguments)?;
        Ok(written)
    }

    /// What the launches here read of a matrix whose first units are these.
    fn of_matrix<'a>(
        &self,
        spec: &KernelSpec,
        matrix: &MatrixStep<'_, Device>,
        (entry, layout): (MatrixEntry, &'a MatrixLayout),
        firsts: Units<u32>,
    ) -> CoupledEntry<'a> {
        let tile = spec.tile.effective(matrix.rows, matrix.columns);
        let basis = matrix.coarse.as_ref();
        CoupledEntry {
            matrix: entry,
            layout,
            workspace: self.parts(),
            tile: (tile.0 as u32, tile.1 as u32),
            coarse: spec.coarse,
            basis: basis.map_or((0, 0), |basis| {
                (basis.values.extent().pointer, basis.capacity as u32)
            }),
            refresh: basis.is_some_and(|basis| basis.refresh),
            row_normalisation: matrix.row_normalisation.as_ref().map(|rows| {
                let moments = rows.second_moment.extent().pointer;
                (moments, rows.beta2, rows.epsilon)
            }),
            firsts,
            coarse_factor: matrix.scalars.coarse_factor,
            captured_decay: matrix.scalars.captured_decay,
        }
    }

    /// Where the parts of the matrices begin.
    fn parts(&self) -> u64 {
        self.workspace + self.of_tiles.bytes as u64
    }

    /// From now on the tables stay where they are.
    pub(in crate::cuda) fn pin(&mut self) {
        self.coupled.pin();
        self.matrices.pin();
        self.groups.pin();
        self.ranges.pin();
    }

    pub(in crate::cuda) fn tiles(&self) -> usize {
        self.tiles as usize
    }

    pub(in crate::cuda) fn groups(&self) -> &BoundGroups {
        &self.groups
    }

    /// Submits the step; returns how many kernels that were.
    pub(in crate::cuda) fn submit(
        &self,
        (kernel, coupling): (&TileKernel, &CouplingKernels),
        stream: &CudaStream,
        counters: u64,
        active: u64,
    ) -> Result<usize, CudaError> {
        let arguments = Arguments {
            matrices: self.coupled.pointer(),
            matrix_count: self.rows.len() as u32,
            groups: self.groups.pointer(),
            reports: self.workspace,
            counters,
            active,
        };
        coupling.submit_before(stream, &self.layout, &arguments)?;
        let of_tiles = self.of_tiles(counters, active);
        let mapped = kernel.submit(stream, &of_tiles, self.ranges.get())?;
        coupling.submit_after(stream, &self.layout, &arguments)?;
        Ok(mapped + self.layout.launches())
    }

    /// What the launches of the tiles are handed.
    fn of_tiles(&self, counters: u64, active: u64) -> TileArguments {
        let whole_step = |table: u64| match self.form {
            Form::Within => 0,
            Form::Alone | Form::OnePass => table,
        };
        TileArguments {
            matrices: self.matrices.pointer(),
            matrix_count: self.rows.len() as u32,
            groups: whole_step(self.groups.pointer()),
            coupled: whole_step(self.coupled.pointer()),
            reports: match self.of_tiles.reported {
                true => self.workspace,
                false => 0,
            },
            tile_count: self.tiles,
            counters,
            workspace: self.workspace + self.of_tiles.scratch_offset as u64,
            workspace_of_block: self.of_tiles.units_of_block as u64,
            blocks: self.of_tiles.blocks as u32,
            active,
        }
    }

    /// Waits for what is reported of tiles and coarse parts where any matrix wants it, and hands it out.
    pub(in crate::cuda) fn diagnose(
        &self,
        workspace: &DeviceMemory,
        matrices: &mut [MatrixStep<'_, Device>],
    ) -> Result<(), BackendError> {
        if self.of_tiles.reported {
            read_reports(workspace, 0, (&self.rows, self.tiles), matrices)?;
        }
        for (&(index, _), layout) in self.rows.iter().zip(&self.layout.matrices) {
            let matrix = matrices.get_mut(index);
            let basis = matrix.and_then(|matrix| matrix.coarse.as_mut());
            let Some(figures) = basis.and_then(|basis| basis.figures.as_deref_mut()) else {
                continue;
            };
            *figures = CoarseFigures::default();
            if layout.rank > 0 {
                let mut report = [0; REPORT_BYTES];
                workspace.read(self.of_tiles.bytes + layout.report as usize, &mut report)?;
                *figures = figures_of(&report, layout.rank as usize);
            }
        }
        Ok(())
    }
}

/// The entry of a remainder, which is mapped in place.
fn remainder(matrix: &MatrixEntry, fine: u64) -> MatrixEntry {
    MatrixEntry {
        gradient: fine,
        momentum: 0,
        weight: fine,
        mapped: 0,
        gradient_leading: matrix.columns,
        weight_leading: matrix.columns,
        group: 0,
        remainder: None,
        ..*matrix
    }
}

/// What a `CoarseReport` says.
fn figures_of(report: &[u8; REPORT_BYTES], rank: usize) -> CoarseFigures {
    let word = |index: usize| {
        let at = 4 * index;
        u32::from_le_bytes([report[at], report[at + 1], report[at + 2], report[at + 3]])
    };
    if word(0) != CAPTURED {
        return CoarseFigures::default();
    }
    CoarseFigures {
        norm: f32::from_bits(word(1)),
        nuclear_norm: f32::from_bits(word(2)),
        rank,
        collapsed: word(3) as usize,
    }
}
