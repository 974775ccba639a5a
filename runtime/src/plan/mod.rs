//! What one step launches, decided before anything runs: plain data that can be compared and stored.
//!
//! All matrices of all layers that share a specification form one launch (one list of tiles), whatever
//! their shapes. A launch is cut into chunks where its workspace would pass the byte budget.

mod fit;
mod operations;
mod planner;

use himuon_templates::KernelSpec;
use serde::{Deserialize, Serialize};

pub use operations::{coarse_operations, operations};
pub use planner::{ChunkCost, PlanRequest, PlannedParameter, Planner, Prediction, WorkspaceModel};

use crate::backend::{BackendError, KernelRequest};
use crate::launch::MatrixDemand;

/// One step's launches, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One launch per specification, in the order of the specifications' first parameters.
    pub launches: Vec<Launch>,
    /// Parameters of the element-wise AdamW update, by index.
    pub elementwise: Vec<usize>,
    /// The largest workspace of any chunk, in bytes: launches run one after the other and share it.
    pub workspace_bytes: u64,
    /// The budget that the plan keeps, in bytes; `None`: none was set.
    pub budget_bytes: Option<u64>,
    /// Bytes of the tables of matrices and tiles that the launches read.
    pub table_bytes: u64,
}

/// Everything of one specification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// What is computed.
    pub spec: KernelSpec,
    /// How: the name of the variant, `None` for the backend's default.
    pub variant: Option<String>,
    /// Threads that share the launch's tiles.
    pub threads: usize,
    /// The matrices, by parameter and then by place in a stack.
    pub matrices: Vec<PlannedMatrix>,
    /// Consecutive parts that run one after the other; every tile lies in exactly one.
    pub chunks: Vec<Chunk>,
    /// Tiles of all matrices.
    pub tiles: u64,
    /// Nominal operations of the map's matrix products (see [`operations`]).
    pub operations: u64,
    /// Nominal operations of the coarse part at a refresh (see [`coarse_operations`]); 0 without one.
    #[serde(default)]
    pub coarse_operations: u64,
    /// Why this variant, these threads, these chunks.
    pub reasons: Vec<String>,
}

impl Launch {
    /// The matrices of a chunk.
    pub fn matrices_of(&self, chunk: &Chunk) -> &[PlannedMatrix] {
        let range = chunk.first_matrix..chunk.first_matrix + chunk.matrices;
        self.matrices.get(range).unwrap_or_default()
    }

    /// The kernel that computes a chunk: the whole of it where the rows of any matrix are normalised.
    pub fn kernel_of(&self, chunk: &Chunk) -> KernelRequest {
        let mut matrices = self.matrices_of(chunk).iter();
        KernelRequest {
            spec: self.spec.clone(),
            variant: self.variant.clone(),
            row_normalised: matrices.any(|matrix| matrix.row_normalised),
        }
    }
}

/// One matrix of a launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMatrix {
    /// Index of the parameter.
    pub parameter: usize,
    /// Place in the parameter's stack of matrices; 0 for one matrix.
    pub index: usize,
    /// Rows H.
    pub rows: usize,
    /// Columns W.
    pub columns: usize,
    /// Tiles down.
    pub tile_rows: u64,
    /// Tiles across.
    pub tile_columns: u64,
    /// The number of the matrix's first tile in the launch.
    pub first_tile: u64,
    /// Whether rows are normalised.
    pub row_normalised: bool,
    /// Whether tiles are reported one by one.
    pub diagnosed: bool,
}

impl PlannedMatrix {
    /// Number of tiles.
    pub fn tiles(&self) -> u64 {
        self.tile_rows * self.tile_columns
    }

    /// What the matrix asks of the scratch memory.
    pub fn demand(&self) -> MatrixDemand {
        MatrixDemand {
            rows: self.rows,
            columns: self.columns,
            row_normalised: self.row_normalised,
            diagnosed: self.diagnosed,
        }
    }
}

/// Consecutive matrices of a launch that run together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Index of the first matrix in the launch.
    pub first_matrix: usize,
    /// Number of matrices.
    pub matrices: usize,
    /// The first tile's number in the launch.
    pub first_tile: u64,
    /// Number of tiles.
    pub tiles: u64,
    /// Scratch memory that the chunk needs, in bytes.
    pub workspace_bytes: u64,
    /// Kernels that it submits where every matrix has a gradient.
    #[serde(default)]
    pub kernels: u64,
    /// Bytes of tables that it keeps, beside the one of matrices.
    #[serde(default)]
    pub table_bytes: u64,
}

impl Plan {
    /// Nominal operations of all matrix products of the step, coarse parts at a refresh included.
    pub fn operations(&self) -> u64 {
        let launches = self.launches.iter();
        launches
            .flat_map(|launch| [launch.operations, launch.coarse_operations])
            .fold(0, u64::saturating_add)
    }

    /// Tiles of all launches.
    pub fn tiles(&self) -> u64 {
        self.launches.iter().map(|launch| launch.tiles).sum()
    }

    /// Kernels of a step's tiles where every matrix has a gradient.
    pub fn kernels(&self) -> u64 {
        let chunks = self.launches.iter().flat_map(|launch| &launch.chunks);
        chunks.map(|chunk| chunk.kernels).sum()
    }

    /// Whether a launch runs a specification in this variant.
    pub(crate) fn uses(&self, spec: &KernelSpec, variant: &str) -> bool {
        self.launches
            .iter()
            .any(|launch| launch.spec == *spec && launch.variant.as_deref() == Some(variant))
    }

    /// For each matrix, as (parameter, place in its stack): the launch and the chunk that hold it.
    pub(crate) fn places(&self) -> impl Iterator<Item = ((usize, usize), (usize, usize))> + '_ {
        self.launches
            .iter()
            .enumerate()
            .flat_map(|(index, launch)| {
                let chunks = launch.chunks.iter().enumerate();
                chunks.flat_map(move |(chunk_index, chunk)| {
                    let range = chunk.first_matrix..chunk.first_matrix + chunk.matrices;
                    let matrices = launch.matrices[range].iter();
                    matrices.map(move |m| ((m.parameter, m.index), (index, chunk_index)))
                })
            })
    }
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// One matrix alone, one tile at a time, needs more scratch memory than the budget allows.
    #[error(
        "parameter {parameter} ({rows} x {columns}, {tiles}) needs {needed} bytes of workspace even one tile at a time, \
         the budget is {budget} bytes; raise the budget to at least {needed} or choose a smaller tile"
    )]
    Budget {
        /// Name of the parameter.
        parameter: String,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
        /// Its tiles, in words.
        tiles: String,
        /// Bytes that it needs.
        needed: u64,
        /// The budget in bytes.
        budget: u64,
    },
    /// The recurrence of a specification has no coefficients.
    #[error("{spec}: {source}")]
    Spec {
        /// The specification.
        spec: String,
        /// What is wrong with it.
        #[source]
        source: himuon_templates::spec::SpecError,
    },
    /// The backend cannot say what a specification needs.
    #[error(transparent)]
    Backend(#[from] BackendError),
}
