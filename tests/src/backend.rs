//! What a backend must offer to be judged.

use half::{bf16, f16};
use himuon::KernelSpec;
use himuon::launch::{LaunchReport, MatrixStep, TileDiagnostics};
use himuon::reference::{Matrix, Normalisation, ReferenceMap, RowMoments, StepState, step};
use himuon::templates::Element;
use himuon::tensor::{TensorMut, TensorRef};

/// Why a backend gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no kernel for the specification: the case is skipped, and printed.
    Unsupported(String),
    /// It failed: the case fails.
    Failed(String),
}

/// A backend under judgement.
pub trait Backend {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// The type that the numbers of a map have been rounded to.
    fn map_element(&self, _spec: &KernelSpec) -> Element {
        Element::F32
    }

    /// Whether tiles of all sizes sum in one order, so that a tile that covers its matrix gives the bits of
    /// [`himuon::Tile::Full`].
    fn sums_in_one_order(&self) -> bool {
        true
    }

    /// Maps every tile of a contiguous `rows` x `columns` matrix.
    ///
    /// # Errors
    /// [`Refusal`].
    fn map(
        &mut self,
        spec: &KernelSpec,
        matrix: TensorRef<'_>,
        rows: usize,
        columns: usize,
        normalisation: Normalisation,
    ) -> Result<(Vec<f32>, LaunchReport), Refusal>;

    /// One optimizer step of all matrices in one launch.
    ///
    /// # Errors
    /// [`Refusal`].
    fn step(
        &mut self,
        spec: &KernelSpec,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, Refusal>;
}

/// The `f64` reference rounded to storage: judging it measures the suite, not a kernel. With operand types
/// other than `f32` it shows what those alone cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceBackend;

impl ReferenceBackend {
    fn of(spec: &KernelSpec) -> Result<ReferenceMap, Refusal> {
        ReferenceMap::new(spec)
            .map(ReferenceMap::with_rounded_operands)
            .map_err(|e| Refusal::Unsupported(e.to_string()))
    }
}

impl Backend for ReferenceBackend {
    fn name(&self) -> &str {
        "f64 reference"
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        matrix: TensorRef<'_>,
        rows: usize,
        columns: usize,
        normalisation: Normalisation,
    ) -> Result<(Vec<f32>, LaunchReport), Refusal> {
        let map = Self::of(spec)?;
        let matrix = Matrix::from_tensor(matrix, rows, columns, columns);
        let mapped = map.matrix(&matrix);
        let report = LaunchReport {
            kernels: 1,
            pending: false,
            tiles: mapped.tiles.len(),
            non_finite_tiles: mapped.non_finite_tiles(),
            unorthogonalised_tiles: mapped.unorthogonalised_tiles(),
            uncoupled_matrices: 0,
        };
        Ok((map.apply(&matrix, normalisation).to_f32(), report))
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, Refusal> {
        let map = Self::of(spec)?;
        let mut report = LaunchReport::default();
        for matrix in matrices {
            let (rows, columns) = (matrix.rows, matrix.columns);
            let read = |tensor, leading| Matrix::from_tensor(tensor, rows, columns, leading);
            let mut state = StepState {
                weight: read(as_ref(&matrix.weight), matrix.weight_leading),
                momentum: read(as_ref(&matrix.momentum), columns),
                row_moments: matrix.row_normalisation.as_ref().map(|moments| RowMoments {
                    values: moments
                        .second_moment
                        .iter()
                        .map(|v| f64::from(*v))
                        .collect(),
                    beta2: f64::from(moments.beta2),
                    epsilon: f64::from(moments.epsilon),
                }),
            };
            let gradient = read(matrix.gradient, matrix.gradient_leading);
            let mapped = step(&map, &matrix.scalars, &gradient, &mut state)
                .map_err(|e| Refusal::Failed(e.to_string()))?;
            report.tiles += mapped.tiles.len();
            report.non_finite_tiles += mapped.non_finite_tiles();
            report.unorthogonalised_tiles += mapped.unorthogonalised_tiles();
            if let Some(diagnostics) = &mut matrix.diagnostics {
                for (place, (_, tile)) in diagnostics.iter_mut().zip(&mapped.tiles) {
                    *place = TileDiagnostics {
                        norm: tile.norm as f32,
                        inner_product: tile.inner_product as f32,
                        mapped_norm_squared: tile.values.norm_squared() as f32,
                        non_finite: tile.non_finite,
                        orthogonalised: tile.orthogonalised,
                    };
                }
            }
            store(&state.weight, &mut matrix.weight, matrix.weight_leading);
            store(&state.momentum, &mut matrix.momentum, columns);
            if let (Some(to), Some(from)) = (&mut matrix.row_normalisation, state.row_moments) {
                for (place, value) in to.second_moment.iter_mut().zip(from.values) {
                    *place = value as f32;
                }
            }
        }
        Ok(report)
    }
}

/// Read access to a tensor that may be written.
pub fn as_ref<'a>(tensor: &'a TensorMut<'_>) -> TensorRef<'a> {
    match tensor {
        TensorMut::F32(values) => TensorRef::F32(values),
        TensorMut::Bf16(values) => TensorRef::Bf16(values),
        TensorMut::F16(values) => TensorRef::F16(values),
    }
}

/// Rounds `matrix` into a tensor whose row `i` starts at `i * leading`.
pub fn store(matrix: &Matrix, tensor: &mut TensorMut<'_>, leading: usize) {
    for row in 0..matrix.rows() {
        for (column, value) in matrix.row(row).iter().enumerate() {
            let index = row * leading + column;
            match tensor {
                TensorMut::F32(values) => values[index] = *value as f32,
                TensorMut::Bf16(values) => values[index] = bf16::from_f64(*value),
                TensorMut::F16(values) => values[index] = f16::from_f64(*value),
            }
        }
    }
}
