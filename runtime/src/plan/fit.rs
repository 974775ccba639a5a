//! One launch within the budget: its threads and its chunks.

use himuon_templates::KernelSpec;

use super::{Chunk, PlanError, PlannedMatrix, PlannedParameter, WorkspaceModel};
use crate::backend::BackendError;
use crate::launch::MatrixDemand;
use crate::text::tile_text;

/// Fits one launch into the budget.
pub(super) struct Fit<'a, Model: ?Sized> {
    pub(super) model: &'a Model,
    pub(super) spec: &'a KernelSpec,
    pub(super) variant: Option<&'a str>,
    pub(super) budget: u64,
}

impl<Model: WorkspaceModel + ?Sized> Fit<'_, Model> {
    fn bytes(&self, matrices: &[MatrixDemand], threads: usize) -> Result<u64, BackendError> {
        self.model
            .workspace_bytes(self.spec, self.variant, matrices, threads)
    }

    /// The most threads with which every matrix fits on its own.
    pub(super) fn threads<'p>(
        &self,
        parameters: impl Iterator<Item = &'p PlannedParameter>,
        available: usize,
    ) -> Result<usize, PlanError> {
        let mut threads = available;
        for parameter in parameters {
            let demand = [MatrixDemand {
                row_normalised: parameter.row_normalised,
                diagnosed: parameter.diagnosed,
                ..MatrixDemand::new(parameter.rows, parameter.columns)
            }];
            if self.bytes(&demand, threads)? <= self.budget {
                continue;
            }
            let needed = self.bytes(&demand, 1)?;
            if needed > self.budget {
                return Err(PlanError::Budget {
                    parameter: parameter.name.clone(),
                    rows: parameter.rows,
                    columns: parameter.columns,
                    tiles: format!("tile {}", tile_text(self.spec.tile)),
                    needed,
                    budget: self.budget,
                });
            }
            let (mut fits, mut fails) = (1, threads);
            while fails - fits > 1 {
                let middle = fits + (fails - fits) / 2;
                if self.bytes(&demand, middle)? <= self.budget {
                    fits = middle;
                } else {
                    fails = middle;
                }
            }
            threads = fits;
        }
        Ok(threads)
    }

    /// Consecutive matrices, as many to a chunk as the budget allows.
    pub(super) fn chunks(
        &self,
        matrices: &[PlannedMatrix],
        threads: usize,
    ) -> Result<Vec<Chunk>, PlanError> {
        let demands: Vec<_> = matrices.iter().map(PlannedMatrix::demand).collect();
        let mut chunks = Vec::new();
        let mut first = 0;
        while first < matrices.len() {
            let count = self.longest(&demands[first..], threads)?;
            let part = &matrices[first..first + count];
            let demands = &demands[first..first + count];
            let cost = self
                .model
                .chunk_cost(self.spec, self.variant, demands, threads)?;
            chunks.push(Chunk {
                first_matrix: first,
                matrices: count,
                first_tile: part[0].first_tile,
                tiles: part.iter().map(PlannedMatrix::tiles).sum(),
                workspace_bytes: self.bytes(demands, threads)?,
                kernels: cost.kernels,
                table_bytes: cost.table_bytes,
            });
            first += count;
        }
        Ok(chunks)
    }

    /// The length of the longest prefix that fits, at least 1 (one matrix fits: `threads` saw to it).
    fn longest(&self, demands: &[MatrixDemand], threads: usize) -> Result<usize, BackendError> {
        if self.bytes(demands, threads)? <= self.budget {
            return Ok(demands.len());
        }
        let (mut fits, mut fails) = (1, demands.len());
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            if self.bytes(&demands[..middle], threads)? <= self.budget {
                fits = middle;
            } else {
                fails = middle;
            }
        }
        Ok(fits)
    }
}
