//! A step of matrices of the host: their tensors to the device, the launches, and back.

use super::backend::CudaBackend;
use super::device::Memory;
use super::kernels::Loaded;
use super::tables::{OnDevice, diagnosed};
use crate::storage::{bytes, bytes_mut};
use himuon::KernelSpec;
use himuon::launch::{LaunchReport, MatrixStep};
use himuon::templates::{Element, Storage};

/// The tensors of one matrix on the device.
struct Tensors {
    gradient: Memory,
    momentum: Memory,
    weight: Memory,
    mapped: Memory,
    /// Of master weights.
    remainder: Option<Memory>,
}

impl Tensors {
    fn upload(
        backend: &CudaBackend,
        storage: &Storage,
        matrix: &MatrixStep<'_>,
    ) -> Result<Self, String> {
        let numbers = matrix.rows * matrix.columns;
        Ok(Tensors {
            gradient: backend.tensor(storage.weight, bytes(matrix.gradient))?,
            momentum: backend.tensor(storage.momentum, bytes(matrix.momentum.as_ref()))?,
            weight: backend.tensor(storage.weight, bytes(matrix.weight.as_ref()))?,
            mapped: backend.device.uninitialised(4 * numbers)?,
            remainder: match &matrix.remainder {
                Some(kept) => Some(backend.tensor(Element::Bf16, bytemuck::cast_slice(kept))?),
                None => None,
            },
        })
    }

    /// The line of the table of matrices.
    fn line(
        &self,
        backend: &CudaBackend,
        storage: &Storage,
        matrix: &MatrixStep<'_>,
        group: u32,
    ) -> OnDevice {
        let gradient = backend.address(&self.gradient, storage.weight);
        let consumed = backend.consumes_gradient
            && storage.weight == Element::F32
            && matrix.gradient_leading == matrix.columns;
        OnDevice {
            rows: matrix.rows as u32,
            columns: matrix.columns as u32,
            gradient,
            gradient_leading: matrix.gradient_leading as u32,
            momentum: backend.address(&self.momentum, storage.momentum),
            weight: backend.address(&self.weight, storage.weight),
            weight_leading: matrix.weight_leading as u32,
            mapped: if consumed {
                gradient
            } else {
                self.mapped.address()
            },
            group,
            remainder: match &self.remainder {
                Some(kept) => backend.address(kept, Element::Bf16),
                None => 0,
            },
        }
    }

    /// Copies back what a step changes.
    fn fetch(
        &self,
        backend: &CudaBackend,
        storage: &Storage,
        matrix: &mut MatrixStep<'_>,
    ) -> Result<(), String> {
        let momentum = bytes_mut(matrix.momentum.reborrow());
        backend.fetch(&self.momentum, storage.momentum, momentum)?;
        let weight = bytes_mut(matrix.weight.reborrow());
        backend.fetch(&self.weight, storage.weight, weight)?;
        if let (Some(kept), Some(remainder)) = (&self.remainder, &mut matrix.remainder) {
            backend.fetch(kept, Element::Bf16, bytemuck::cast_slice_mut(remainder))?;
        }
        Ok(())
    }
}

impl CudaBackend {
    pub(super) fn step_loaded(
        &self,
        spec: &KernelSpec,
        loaded: &Loaded,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, String> {
        let storage = &spec.storage;
        let (mut tensors, mut on_device, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for matrix in matrices.iter() {
            let placed = Tensors::upload(self, storage, matrix)?;
            on_device.push(placed.line(self, storage, matrix, groups.len() as u32));
            groups.push(matrix.scalars);
            tensors.push(placed);
        }
        let outcome = self.run(loaded, "step", &on_device, &groups)?;
        let manifest = &loaded.bundle.manifest;
        let mut first_tile = 0;
        for (matrix, placed) in matrices.iter_mut().zip(&tensors) {
            placed.fetch(self, storage, matrix)?;
            if let Some(diagnostics) = &mut matrix.diagnostics {
                for (tile, place) in diagnostics.iter_mut().enumerate() {
                    *place = diagnosed(manifest, &outcome.tile_reports, first_tile + tile)?;
                }
            }
            let tiles = manifest.tiles(matrix.rows as u32, matrix.columns as u32);
            first_tile += tiles as usize;
        }
        Ok(outcome.report)
    }
}
