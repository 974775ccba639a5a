//! A chunk bound to the caller's tensors, whichever way its tiles are computed.

use std::sync::Arc;

use cudarc::driver::CudaStream;

use crate::backend::BackendError;
use crate::cuda::chunk::BoundChunk;
use crate::cuda::coupling::{CoupledChunk, CouplingKernels, Form};
use crate::cuda::driver::DeviceMemory;
use crate::cuda::error::CudaError;
use crate::cuda::groups::BoundGroups;
use crate::cuda::kernel::TileKernel;
use crate::cuda::memory::Device;
use crate::launch::MatrixStep;
use crate::plan::Launch;

/// The kernels of a specification.
#[derive(Clone, Debug)]
pub(super) struct StepKernels {
    /// The whole step of tiles, or the map of what a coarse part leaves of them.
    pub(super) tiles: Arc<TileKernel>,
    pub(super) coupling: Option<Arc<CouplingKernels>>,
}

/// The tables of a chunk.
#[derive(Debug)]
pub(super) enum Bound {
    /// Of tiles alone.
    Tiles(BoundChunk),
    /// Of tiles that a coarse part couples, or whose rows are normalised.
    Coupled(CoupledChunk),
}

impl Bound {
    pub(super) fn new(form: Form) -> Self {
        match form {
            Form::Alone => Bound::Tiles(BoundChunk::default()),
            Form::OnePass | Form::Within => Bound::Coupled(CoupledChunk::new(form)),
        }
    }

    /// Writes what has changed since the last step; says whether anything has.
    pub(super) fn bind(
        &mut self,
        kernels: &StepKernels,
        launch: &Launch,
        matrices: &[MatrixStep<'_, Device>],
        stream: &Arc<CudaStream>,
        workspace: u64,
        scaled: bool,
    ) -> Result<bool, BackendError> {
        let tiles = &kernels.tiles;
        match self {
            Bound::Tiles(bound) => bound.bind(tiles, launch, matrices, stream, workspace, scaled),
            Bound::Coupled(bound) => bound.bind(tiles, launch, matrices, stream, workspace, scaled),
        }
    }

    /// From now on the tables stay where they are.
    pub(super) fn pin(&mut self) {
        match self {
            Bound::Tiles(bound) => bound.pin(),
            Bound::Coupled(bound) => bound.pin(),
        }
    }

    pub(super) fn tiles(&self) -> usize {
        match self {
            Bound::Tiles(bound) => bound.tiles(),
            Bound::Coupled(bound) => bound.tiles(),
        }
    }

    pub(super) fn groups(&self) -> &BoundGroups {
        match self {
            Bound::Tiles(bound) => bound.groups(),
            Bound::Coupled(bound) => bound.groups(),
        }
    }

    /// Submits the step; returns how many kernels that were.
    pub(super) fn submit(
        &self,
        kernels: &StepKernels,
        stream: &CudaStream,
        counters: u64,
        active: u64,
    ) -> Result<usize, CudaError> {
        match (self, &kernels.coupling) {
            (Bound::Tiles(bound), _) => bound.submit(&kernels.tiles, stream, counters, active),
            (Bound::Coupled(bound), Some(coupling)) => {
                bound.submit((&kernels.tiles, coupling), stream, counters, active)
            }
            (Bound::Coupled(_), None) => Err(CudaError::Layout {
                id: kernels.tiles.id.clone(),
                reason: "coupled matrices without the kernels that couple them".to_owned(),
            }),
        }
    }

    /// Waits for what is reported where any matrix wants it, and hands it out.
    pub(super) fn diagnose(
        &self,
        workspace: &DeviceMemory,
        matrices: &mut [MatrixStep<'_, Device>],
    ) -> Result<(), BackendError> {
        match self {
            Bound::Tiles(bound) => bound.diagnose(workspace, matrices),
            Bound::Coupled(bound) => bound.diagnose(workspace, matrices),
        }
    }
}
