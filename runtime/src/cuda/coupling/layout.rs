//! Where everything of coupled matrices lies in the workspace, and how many thread blocks work on it.

use himuon_codegen::render::Coupling;
use himuon_templates::KernelSpec;

use super::Form;
use super::entry::is_projected;
use crate::backend::BackendError;
use crate::coarse::coarse_rank;
use crate::cuda::scratch::{aligned, tile_count};
use crate::launch::MatrixDemand;

const SKINNY: (usize, usize) = Coupling::PRODUCT;
const PATCH: usize = Coupling::PATCH;
/// Bytes of a `CoarseReport`.
pub(super) const REPORT_BYTES: usize = 16;
/// r x r matrices in f64 beside those of chunks, and in f32.
const FACTORS: usize = 4;
const SMALLS: usize = 3;

/// Units of work of each kind: blocks for products by rows and by columns, patches, parts of the Gram matrices of the left and of
/// the right factor, and 64 rows each.
pub(super) type Units<Number> = [Number; 6];

/// Chunks of rows that the Gram matrix of a factor is summed up from, as `lib/gram.cuh` cuts it.
fn gram_chunks(rows: usize, rank: usize) -> usize {
    let (panel, least, most) = Coupling::GRAM;
    let chunk = least.max(2 * rank).max(rows.div_ceil(most));
    rows.div_ceil(chunk.next_multiple_of(panel))
}

/// The parts of one matrix, as offsets from the first matrix's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MatrixLayout {
    /// The remainder, then its mapped tiles: H x W; not there in one pass.
    pub(super) fine: u64,
    left: u64,
    captured: u64,
    added: u64,
    spare_left: u64,
    right: u64,
    spare_right: u64,
    factors: u64,
    small: u64,
    largest: u64,
    pub(super) report: u64,
    row_squares: u64,
    row_factors: u64,
    /// 0: tiles alone.
    pub(super) rank: u32,
    /// Numbers from one row of r columns to the next.
    pub(super) stride: u32,
    /// Whether the rank is that of the matrix.
    full: bool,
    pub(super) units: Units<usize>,
}

impl MatrixLayout {
    /// In the order of the table's entry.
    pub(super) fn parts(&self) -> [u64; 10] {
        [
            self.left,
            self.captured,
            self.added,
            self.spare_left,
            self.right,
            self.spare_right,
            self.factors,
            self.small,
            self.largest,
            self.report,
        ]
    }

    /// What row normalisation needs, in the order of the table's entry.
    pub(super) fn of_rows(&self) -> [u64; 2] {
        [self.row_squares, self.row_factors]
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The layout of a matrix at `offset`, and where the next begins.
    fn at(form: Form, spec: &KernelSpec, demand: &MatrixDemand, offset: &mut usize) -> Self {
        let (rows, columns) = (demand.rows, demand.columns);
        let rank = coarse_rank(spec, rows, columns);
        let stride = rank.next_multiple_of(4);
        let mut take = |bytes: usize| {
            let place = *offset as u64;
            *offset += aligned(bytes);
            place
        };
        let patches = rows.div_ceil(PATCH) * columns.div_ceil(PATCH);
        let fine = match form {
            Form::OnePass => 0,
            Form::Alone | Form::Within => take(4 * columns * rows),
        };
        let row_blocks = if demand.row_normalised {
            rows.div_ceil(PATCH)
        } else {
            0
        };
        let (row_squares, row_factors) = match demand.row_normalised {
            true => {
                let sums = rows * columns.div_ceil(PATCH) + 2 * row_blocks;
                (take(8 * sums), take(4 * rows))
            }
            false => (0, 0),
        };
        if rank == 0 {
            return MatrixLayout {
                fine,
                row_squares,
                row_factors,
                units: [0, 0, patches, 0, 0, row_blocks],
                ..MatrixLayout::default()
            };
        }
        let [left, captured, added, spare_left] = [(); 4].map(|()| take(4 * rows * stride));
        let [right, spare_right] = [(); 2].map(|()| take(4 * columns * stride));
        let blocks = rank.div_ceil(SKINNY.1);
        let pairs = blocks * (blocks + 1) / 2;
        let gram = [rows, columns].map(|rows| gram_chunks(rows, rank));
        let squares = FACTORS + gram[0].max(gram[1]);
        MatrixLayout {
            fine,
            left,
            captured,
            added,
            spare_left,
            right,
            spare_right,
            factors: take(8 * squares * rank * rank),
            small: take(4 * SMALLS * rank * stride),
            largest: take(4 * tile_count(spec, rows, columns) as usize),
            report: take(REPORT_BYTES),
            row_squares,
            row_factors,
            rank: rank as u32,
            stride: stride as u32,
            full: rank == rows.min(columns),
            units: [
                rows.div_ceil(SKINNY.0) * blocks,
                columns.div_ceil(SKINNY.0) * blocks,
                patches,
                gram[0] * pairs,
                gram[1] * pairs,
                row_blocks,
            ],
        }
    }
}

/// The blocks of one launch.
fn blocks(spec: &KernelSpec, total: usize) -> Result<u32, BackendError> {
    match i32::try_from(total) {
        Ok(_) => Ok(total as u32),
        Err(_) => Err(BackendError::Unsupported {
            backend: "cuda",
            spec: spec.to_string(),
            reason: format!("{total} blocks in one launch, at most 2^31 - 1; set a memory budget"),
        }),
    }
}

/// The parts of all matrices of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cuda) struct Layout {
    pub(super) form: Form,
    pub(super) matrices: Vec<MatrixLayout>,
    pub(super) units: Units<u32>,
    pub(super) projected: bool,
    pub(super) normalised: bool,
    /// Bytes of all of it.
    pub(in crate::cuda) bytes: usize,
}

impl Layout {
    /// Of matrices in this order.
    ///
    /// # Errors
    /// More blocks in one launch than a grid has.
    pub(in crate::cuda) fn new(
        form: Form,
        spec: &KernelSpec,
        demands: &[MatrixDemand],
    ) -> Result<Self, BackendError> {
        let mut bytes = 0;
        let matrices: Vec<_> = demands
            .iter()
            .map(|demand| MatrixLayout::at(form, spec, demand, &mut bytes))
            .collect();
        let total = |kind: usize| matrices.iter().map(|matrix| matrix.units[kind]).sum();
        let mut units = Units::default();
        for (kind, unit) in units.iter_mut().enumerate() {
            *unit = blocks(spec, total(kind))?;
        }
        // One launch has those of rows and of columns.
        blocks(spec, total(0) + total(1))?;
        let projected = matrices
            .iter()
            .any(|matrix| is_projected(spec.coarse, matrix));
        Ok(Layout {
            form,
            matrices,
            units,
            projected,
            normalised: demands.iter().any(|demand| demand.row_normalised),
            bytes,
        })
    }

    /// Whether any matrix has a coarse part.
    pub(super) fn couples(&self) -> bool {
        self.units[0] > 0
    }

    /// Launches of a step beside those of the map.
    pub(in crate::cuda) fn launches(&self) -> usize {
        let factors = if self.couples() { 16 } else { 0 };
        if self.form == Form::OnePass {
            return factors;
        }
        let projection = if self.projected { 5 } else { 0 };
        let normalisation = if self.normalised { 3 } else { 0 };
        factors + 1 + projection + normalisation + 1
    }
}
