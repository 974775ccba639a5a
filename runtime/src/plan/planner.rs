//! From shapes, specifications, tuning table and budget to a [`Plan`].

use himuon_templates::KernelSpec;

use super::fit::Fit;
use super::{Launch, Plan, PlanError, PlannedMatrix, coarse_operations, operations};
use crate::backend::BackendError;
use crate::launch::MatrixDemand;
use crate::text::bytes_text;
use crate::tuning::{ShapeClass, TuningTable};

/// How much scratch memory a launch needs; each backend knows its own.
pub trait WorkspaceModel {
    /// Bytes for the matrices of one chunk, run together on `threads` threads.
    ///
    /// Adding a matrix or a thread must not lower the answer.
    ///
    /// # Errors
    /// A specification or variant that the backend has no kernel for.
    fn workspace_bytes(
        &self,
        spec: &KernelSpec,
        variant: Option<&str>,
        matrices: &[MatrixDemand],
        threads: usize,
    ) -> Result<u64, BackendError>;

    /// What the launches of one chunk are beside its workspace; by default one kernel without tables of its own.
    ///
    /// # Errors
    /// As [`workspace_bytes`](Self::workspace_bytes).
    fn chunk_cost(
        &self,
        _spec: &KernelSpec,
        _variant: Option<&str>,
        _matrices: &[MatrixDemand],
        _threads: usize,
    ) -> Result<ChunkCost, BackendError> {
        Ok(ChunkCost {
            kernels: 1,
            table_bytes: 0,
        })
    }

    /// Digest of the source that a variant is made from, so that times of another source are not believed;
    /// `None`: the backend does not tell.
    fn source_digest(&self, _spec: &KernelSpec, _variant: &str) -> Option<String> {
        None
    }

    /// The variants that a model of the device expects to be faster than the default for a launch of matrices of
    /// these shapes (rows, columns), the best first. Nothing has been measured. Empty: the default, or no model.
    fn predicted(
        &self,
        _spec: &KernelSpec,
        _shapes: &[(usize, usize)],
        _threads: usize,
    ) -> Vec<Prediction> {
        Vec::new()
    }
}

/// A variant that a model expects to be faster than the default.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The variant's name.
    pub variant: String,
    /// The default's predicted time over its own.
    pub speedup: f64,
}

/// What a chunk is beside its workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkCost {
    /// Kernels that it submits.
    pub kernels: u64,
    /// Bytes of tables that it keeps, beside the one of matrices.
    pub table_bytes: u64,
}

/// A parameter with the specification that its schedule chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedParameter {
    /// Index of the parameter.
    pub parameter: usize,
    /// Name, for errors.
    pub name: String,
    /// Matrices of this shape that the parameter holds: 1, or the length of a stack.
    pub matrices: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub columns: usize,
    /// Whether rows are normalised.
    pub row_normalised: bool,
    /// Whether tiles are reported one by one.
    pub diagnosed: bool,
    /// What is computed.
    pub spec: KernelSpec,
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct PlanRequest<'a> {
    /// The matrices.
    pub parameters: &'a [PlannedParameter],
    /// The parameters of the element-wise update, by index.
    pub elementwise: &'a [usize],
    /// Which variant to use for which specification.
    pub tuning: &'a TuningTable,
    /// Bytes of workspace that no chunk may pass.
    pub budget_bytes: Option<u64>,
    /// Threads that the backend has.
    pub threads: usize,
    /// Bytes of a matrix's entry in the launch table.
    pub table_entry_bytes: u64,
}

/// Makes plans for a backend.
#[derive(Debug)]
pub struct Planner<'a, Model: ?Sized>(
    /// The backend's memory.
    pub &'a Model,
);

impl<Model: WorkspaceModel + ?Sized> Planner<'_, Model> {
    /// The launches of one step: one per specification, each cut into chunks that keep the budget.
    ///
    /// # Errors
    /// A budget too small for one matrix on one thread; a specification without a kernel.
    pub fn plan(&self, request: &PlanRequest<'_>) -> Result<Plan, PlanError> {
        let mut plan = Plan {
            elementwise: request.elementwise.to_vec(),
            budget_bytes: request.budget_bytes,
            ..Plan::default()
        };
        let mut specs: Vec<&KernelSpec> = Vec::new();
        for parameter in request.parameters {
            if !specs.contains(&&parameter.spec) {
                specs.push(&parameter.spec);
            }
        }
        for spec in specs {
            let launch = self.launch(request, spec)?;
            let largest = launch
                .chunks
                .iter()
                .map(|chunk| chunk.workspace_bytes)
                .max();
            plan.workspace_bytes = plan.workspace_bytes.max(largest.unwrap_or(0));
            plan.table_bytes += launch.matrices.len() as u64 * request.table_entry_bytes;
            let own = launch.chunks.iter().map(|chunk| chunk.table_bytes);
            plan.table_bytes += own.sum::<u64>();
            plan.launches.push(launch);
        }
        Ok(plan)
    }

    fn launch(&self, request: &PlanRequest<'_>, spec: &KernelSpec) -> Result<Launch, PlanError> {
        let parameters = || request.parameters.iter().filter(|p| p.spec == *spec);
        let matrices = matrices_of(parameters());
        let (mut of_tiles, mut of_coarse) = (0_u64, 0_u64);
        let refused = |source| PlanError::Spec {
            spec: spec.to_string(),
            source,
        };
        for parameter in parameters() {
            let (rows, columns) = (parameter.rows, parameter.columns);
            let each = operations(spec, rows, columns).map_err(refused)?;
            let coarse = coarse_operations(spec, rows, columns).map_err(refused)?;
            of_tiles = each
                .saturating_mul(parameter.matrices as u64)
                .saturating_add(of_tiles);
            of_coarse = coarse
                .saturating_mul(parameter.matrices as u64)
                .saturating_add(of_coarse);
        }
        let mut reasons = Vec::new();
        let variant = self.variant(request, spec, &matrices, &mut reasons);
        let fit = Fit {
            model: self.0,
            spec,
            variant: variant.as_deref(),
            budget: request.budget_bytes.unwrap_or(u64::MAX),
        };
        let threads = fit.threads(parameters(), request.threads.max(1))?;
        if threads < request.threads {
            reasons.push(format!(
                "{threads} of {} threads: more would pass the budget of {}",
                request.threads,
                bytes_text(fit.budget)
            ));
        }
        let chunks = fit.chunks(&matrices, threads)?;
        if chunks.len() > 1 {
            reasons.push(format!(
                "{} chunks: one would pass the budget of {}",
                chunks.len(),
                bytes_text(fit.budget)
            ));
        }
        Ok(Launch {
            spec: spec.clone(),
            variant,
            threads,
            tiles: matrices.iter().map(PlannedMatrix::tiles).sum(),
            matrices,
            chunks,
            operations: of_tiles,
            coarse_operations: of_coarse,
            reasons,
        })
    }
}

impl<Model: WorkspaceModel + ?Sized> Planner<'_, Model> {
    /// The first variant of the tuning table that the device still has, without an entry the model's choice, and why;
    /// `None`: the default.
    fn variant(
        &self,
        request: &PlanRequest<'_>,
        spec: &KernelSpec,
        matrices: &[PlannedMatrix],
        reasons: &mut Vec<String>,
    ) -> Option<String> {
        let tuning = request.tuning;
        let class = ShapeClass::of(spec.tile, matrices.iter().map(|m| (m.rows, m.columns)));
        let choices = tuning.choices(spec, class);
        for choice in &choices {
            let name = &choice.variant;
            if let Err(error) = self.available(spec, name, matrices) {
                tracing::warn!("{error}; the next choice is used");
                reasons.push(format!(
                    "variant {name} of the tuning table is not available"
                ));
                continue;
            }
            let digest = self.0.source_digest(spec, name).unwrap_or_default();
            if !choice.digest.is_empty() && !digest.is_empty() && choice.digest != digest {
                reasons.push(format!(
                    "variant {name} was measured with other source; tune again"
                ));
                continue;
            }
            reasons.push(format!("variant {name}: {}", choice.reason));
            return Some(choice.variant.clone());
        }
        if choices.is_empty()
            && let Some(found) = self.by_model(request, spec, matrices)
        {
            reasons.push(format!(
                "variant {}: the model's choice, predicted {:.2} times as fast as the default; {}",
                found.variant,
                found.speedup,
                tuning.why_default(spec)
            ));
            return Some(found.variant);
        }
        reasons.push(match choices.is_empty() {
            true => format!("default variant: {}", tuning.why_default(spec)),
            false => "default variant: no choice of the tuning table is left".to_owned(),
        });
        None
    }

    /// What the model puts far enough before the default.
    fn by_model(
        &self,
        request: &PlanRequest<'_>,
        spec: &KernelSpec,
        matrices: &[PlannedMatrix],
    ) -> Option<Prediction> {
        let least = request.tuning.least_predicted_speedup(spec)?;
        let shapes: Vec<_> = matrices.iter().map(|m| (m.rows, m.columns)).collect();
        let predicted = self.0.predicted(spec, &shapes, request.threads);
        let far = predicted.into_iter().take_while(|p| p.speedup >= least);
        far.filter(|found| !request.tuning.is_dropped(spec, &found.variant))
            .find(|found| self.available(spec, &found.variant, matrices).is_ok())
    }

    /// Whether the backend has a variant for what a launch asks of it: rows that are normalised may be computed by another
    /// kernel, with other limits.
    fn available(
        &self,
        spec: &KernelSpec,
        variant: &str,
        matrices: &[PlannedMatrix],
    ) -> Result<(), BackendError> {
        let of_kind = |normalised| matrices.iter().find(|m| m.row_normalised == normalised);
        for matrix in [false, true].into_iter().filter_map(of_kind) {
            self.0
                .workspace_bytes(spec, Some(variant), &[matrix.demand()], 1)?;
        }
        Ok(())
    }
}

fn matrices_of<'a>(parameters: impl Iterator<Item = &'a PlannedParameter>) -> Vec<PlannedMatrix> {
    let mut matrices = Vec::new();
    let mut first_tile = 0;
    for parameter in parameters {
        let (height, width) = parameter
            .spec
            .tile
            .effective(parameter.rows, parameter.columns);
        for index in 0..parameter.matrices {
            let matrix = PlannedMatrix {
                parameter: parameter.parameter,
                index,
                rows: parameter.rows,
                columns: parameter.columns,
                tile_rows: parameter.rows.div_ceil(height.max(1)) as u64,
                tile_columns: parameter.columns.div_ceil(width.max(1)) as u64,
                first_tile,
                row_normalised: parameter.row_normalised,
                diagnosed: parameter.diagnosed,
            };
            first_tile += matrix.tiles();
            matrices.push(matrix);
        }
    }
    matrices
}
