//! What `resident.cu.tera` is given.

use super::context::{criterion, element, operand};
use super::literal::float;
use himuon_templates::variant::{Resident, effective_operand};
use himuon_templates::{Coarse, KernelSpec, Mode, Operand, SpecError, StepTable, Tile};
use serde::Serialize;

/// The variables of `resident.cu.tera`. Numbers that are floats in the kernel are finished literals.
#[derive(Debug, Serialize)]
pub(super) struct ResidentContext {
    pub(super) banner: String,
    pub(super) weight: &'static str,
    pub(super) momentum: &'static str,
    pub(super) operand: &'static str,
    pub(super) reference: bool,
    pub(super) tile_rows: u32,
    pub(super) tile_columns: u32,
    /// The end of a name in `criterion.cuh`.
    pub(super) recurrence: &'static str,
    pub(super) step_comment: &'static str,
    /// The coefficients of each step, see [`Iteration`].
    pub(super) steps: Vec<Vec<String>>,
    pub(super) coupled_m: u32,
    pub(super) coupled_n: u32,
    /// X is divided by ||X X^T||_F^(1/2) after the first Gram matrix.
    pub(super) rescale: bool,
    pub(super) power: String,
    /// One norm of the whole matrix sets the scale (power > 0): three launches.
    pub(super) matrix_normalised: bool,
    pub(super) folded: bool,
    pub(super) output_scale: String,
    /// Some c is not zero: three products a step.
    pub(super) quintic: bool,
    pub(super) turbo: bool,
    /// The end of a name in `criterion.cuh`.
    pub(super) criterion: &'static str,
    pub(super) threshold: String,
    /// The end of a name in `criterion.cuh`.
    pub(super) otherwise: &'static str,
    pub(super) row_blocks: u32,
    pub(super) warps: u32,
    pub(super) column_blocks: u32,
    pub(super) tiles_per_block: u32,
    pub(super) threads: u32,
    pub(super) shared_bytes: u32,
    pub(super) chunk: u32,
    pub(super) batch: u32,
    pub(super) tall: bool,
    pub(super) symmetric: bool,
    pub(super) keep_gram: bool,
    pub(super) reload_x: bool,
    pub(super) double_buffer: bool,
    pub(super) stage_momentum: bool,
    /// The coarse part is subtracted on the way in and added on the way out.
    pub(super) coupled: bool,
}

impl ResidentContext {
    pub(super) fn new(
        spec: &KernelSpec,
        settings: &Resident,
        banner: String,
    ) -> Result<Self, SpecError> {
        let table = spec.step_table()?;
        let iteration = Iteration::new(spec, &table);
        let (tile_rows, tile_columns) = match spec.tile {
            Tile::Full => (u32::MAX, u32::MAX),
            Tile::Sized { rows, columns } => (rows, columns),
        };
        let shape = settings.shape(spec);
        let of_shape = |field: fn(&himuon_templates::variant::ResidentShape) -> u32| {
            shape.as_ref().map_or(0, field)
        };
        let (criterion, threshold, otherwise) = criterion(spec.criterion);
        Ok(ResidentContext {
            banner,
            weight: element(spec.storage.weight),
            momentum: element(spec.storage.momentum),
            operand: operand(effective_operand(spec)),
            reference: spec.mode == Mode::Reference,
            tile_rows,
            tile_columns,
            quintic: iteration.quintic,
            turbo: matches!(table, StepTable::Turbo(_)),
            recurrence: iteration.name,
            step_comment: iteration.comment,
            steps: iteration.steps,
            folded: iteration.folded,
            output_scale: iteration.output_scale,
            coupled_m: iteration.coupled.0,
            coupled_n: iteration.coupled.1,
            rescale: matches!(table, StepTable::Fitted(_)),
            power: float(spec.power.to_f64() as f32),
            matrix_normalised: spec.power.numerator() > 0,
            criterion,
            threshold,
            otherwise,
            row_blocks: settings.row_blocks,
            warps: of_shape(|shape| shape.warps),
            column_blocks: of_shape(|shape| shape.column_blocks),
            tiles_per_block: of_shape(|shape| shape.tiles_per_block),
            threads: of_shape(|shape| shape.threads),
            shared_bytes: of_shape(|shape| shape.shared_bytes),
            batch: of_shape(|shape| shape.batch),
            tall: shape.is_some_and(|shape| shape.tall),
            chunk: settings.chunk,
            symmetric: settings.symmetric,
            keep_gram: settings.keep_gram,
            reload_x: settings.reload_x,
            double_buffer: settings.double_buffer,
            stage_momentum: settings.stage_momentum,
            coupled: spec.coarse != Coarse::Off,
        })
    }
}

/// What is iterated, with finished coefficients.
pub(super) struct Iteration {
    pub(super) name: &'static str,
    pub(super) comment: &'static str,
    pub(super) steps: Vec<Vec<String>>,
    folded: bool,
    output_scale: String,
    pub(super) quintic: bool,
    pub(super) coupled: (u32, u32),
}

impl Iteration {
    /// With the factors a folded into the other coefficients where that is safe.
    fn new(spec: &KernelSpec, table: &StepTable) -> Iteration {
        match table {
            StepTable::Odd(list) | StepTable::Turbo(list) => {
                Iteration::odd(list, foldable(spec, list))
            }
            _ => Iteration::unfolded(table),
        }
    }

    /// With the coefficients as they are.
    pub(super) fn unfolded(table: &StepTable) -> Iteration {
        match table {
            StepTable::Odd(list) | StepTable::Turbo(list) => Iteration::odd(list, false),
            StepTable::Fitted(list) => Iteration::two_matrices(
                "FITTED",
                "a, b, d, e of each step: Y <- a Y + d X + A (b Y + e X), A = Y Y^T.",
                list.iter().map(|step| step.map(float).to_vec()).collect(),
                (0, 0),
            ),
            StepTable::Authors { steps, damping } => Iteration::two_matrices(
                "FITTED",
                "a, b, d, e of each step: Y <- a Y + d X + A (b Y + e X), A = Y Y^T.",
                vec![[1.0, -damping, *damping, 0.0].map(float).to_vec(); *steps as usize],
                (0, 0),
            ),
            StepTable::Coupled { m, n, steps } => Iteration::two_matrices(
                "COUPLED",
                "a, b of each step: Q = a I - b Y Y^T; Z <- Q^n Z; Y <- Q^m Y.",
                steps.iter().map(|step| step.map(float).to_vec()).collect(),
                (*m, *n),
            ),
            StepTable::Identity => Iteration::two_matrices("IDENTITY", "", Vec::new(), (0, 0)),
        }
    }

    fn two_matrices(
        name: &'static str,
        comment: &'static str,
        steps: Vec<Vec<String>>,
        coupled: (u32, u32),
    ) -> Iteration {
        Iteration {
            name,
            comment,
            steps,
            folded: false,
            output_scale: float(1.0),
            quintic: false,
            coupled,
        }
    }

    /// Odd polynomials.
    ///
    /// Folded: with X = s X', s the product of the a so far, a step X <- a X + (b A + c A^2) X is
    /// X' <- X' + (b s^2/a A' + c s^4/a A'^2) X', A' = X' X'^T: the same numbers up to powers of s, and no
    /// multiplication of X.
    fn odd(list: &[[f32; 3]], folded: bool) -> Iteration {
        let mut scale = 1.0_f64;
        let fold = |step: &[f32; 3]| {
            if !folded {
                return step.map(float).to_vec();
            }
            let [a, b, c] = step.map(f64::from);
            let square = scale * scale;
            let values = [1.0, b * square / a, c * square * square / a];
            scale *= a;
            values.map(|value| float(value as f32)).to_vec()
        };
        let steps = list.iter().map(fold).collect();
        Iteration {
            name: "ODD",
            comment: "a, b, c of each step: X <- a X + (b A + c A^2) X, A = X X^T.",
            steps,
            folded,
            output_scale: float(scale as f32),
            quintic: list.iter().any(|step| step[2] != 0.0),
            coupled: (0, 0),
        }
    }
}

/// Folding is not for f16, whose range X' would leave, nor where X is rounded between steps.
fn foldable(spec: &KernelSpec, list: &[[f32; 3]]) -> bool {
    let product: f64 = list.iter().map(|step| f64::from(step[0])).product();
    let in_range = list.iter().all(|step| step[0].abs() >= 0.1) && product.abs() <= 1e6;
    in_range && spec.mode == Mode::Accurate && !matches!(effective_operand(spec), Operand::F16)
}
