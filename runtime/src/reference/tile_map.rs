//! The map of one tile.

use super::criterion;
use super::error::ReferenceError;
use super::matrix::Matrix;
use super::newton_schulz::{almost_orthogonal, odd};
use super::power::{authors, coupled, fitted};
use super::rounding::Rounding;
use himuon_templates::{Criterion, KernelSpec, Otherwise, Scope, StepTable};

/// The map of a specification, in `f64`.
#[derive(Clone, Debug)]
pub struct ReferenceMap {
    pub(crate) spec: KernelSpec,
    table: StepTable,
    rounding: Rounding,
}

/// One tile and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedTile {
    /// f = ||M||_F of the tile; 0 if it is not finite.
    pub norm: f64,
    /// The map of X = M/f. For an unorthogonalised tile what stands in its place: M itself
    /// ([`Otherwise::Momentum`], not to be scaled) or sqrt(r) X ([`Otherwise::RmsMatched`], r = min(h, w),
    /// whose RMS is that of an orthogonal factor). Zero for a non-finite tile.
    pub values: Matrix,
    /// <X, O> with O the map, whatever the criterion decided.
    pub inner_product: f64,
    /// The tile holds a NaN or an infinity and is left alone.
    pub non_finite: bool,
    /// The criterion held, or there is none.
    pub orthogonalised: bool,
}

impl ReferenceMap {
    /// The map of `spec`.
    ///
    /// # Errors
    /// When its parts do not go together.
    pub fn new(spec: &KernelSpec) -> Result<ReferenceMap, ReferenceError> {
        Ok(ReferenceMap {
            table: spec.step_table()?,
            rounding: Rounding::of(spec.mode),
            spec: spec.clone(),
        })
    }

    /// The same map with the factors of each matrix product rounded to the operand type of the
    /// specification: what a kernel with exact accumulation would give, and so the part of its error
    /// that the operand type alone causes. (`F32` operands are not rounded.)
    pub fn with_rounded_operands(self) -> ReferenceMap {
        ReferenceMap {
            rounding: self.rounding.with_operand(self.spec.operand),
            ..self
        }
    }

    /// The specification.
    pub fn spec(&self) -> &KernelSpec {
        &self.spec
    }

    /// The map of X = tile/||tile||_F alone, whatever the size of the tile and without the criterion.
    /// The tile must be finite; a zero tile gives zero.
    pub fn polynomial(&self, tile: &Matrix) -> Matrix {
        let rounding = self.rounding;
        let tile = rounding.store(tile.clone());
        let norm = tile.norm();
        if norm == 0.0 {
            return Matrix::zeros(tile.rows(), tile.columns());
        }
        let x = rounding.store(tile.scaled(1.0 / (norm + rounding.epsilon())));
        match &self.table {
            StepTable::Odd(steps) => odd(&x, steps, rounding),
            StepTable::Turbo(steps) => odd(&rounding.store(almost_orthogonal(&x)), steps, rounding),
            StepTable::Fitted(steps) => fitted(&x, steps, self.spec.power.to_f64(), rounding),
            StepTable::Coupled { m, n, steps } => coupled(&x, *m, *n, steps, rounding),
            StepTable::Authors { steps, damping } => authors(&x, *steps, *damping, rounding),
            StepTable::Identity => x,
        }
    }

    /// Maps one tile; `matrix_holds` is the decision of a criterion whose scope is the whole matrix
    /// (without one it has no effect).
    pub fn tile(&self, tile: &Matrix, matrix_holds: bool) -> MappedTile {
        if !tile.is_finite() {
            return MappedTile {
                norm: 0.0,
                values: Matrix::zeros(tile.rows(), tile.columns()),
                inner_product: 0.0,
                non_finite: true,
                orthogonalised: false,
            };
        }
        let mapped = self.polynomial(tile);
        let norm = tile.norm();
        let inner_product = if norm > 0.0 {
            tile.inner_product(&mapped) / norm
        } else {
            0.0
        };
        let (values, orthogonalised) = match &self.spec.criterion {
            Criterion::Always => (mapped, true),
            criterion @ Criterion::Tested {
                scope, otherwise, ..
            } => {
                let holds = match scope {
                    Scope::Tile => criterion::holds(criterion, tile, &mapped),
                    Scope::Matrix => matrix_holds,
                };
                if holds {
                    (mapped, true)
                } else {
                    (unorthogonalised(tile, *otherwise), false)
                }
            }
        };
        MappedTile {
            norm,
            values,
            inner_product,
            non_finite: false,
            orthogonalised,
        }
    }

    /// Whether a criterion whose scope is the matrix holds: its measure of the whole (finite) matrix as
    /// one tile. True without such a criterion.
    pub(crate) fn matrix_holds(&self, matrix: &Matrix) -> bool {
        match &self.spec.criterion {
            criterion @ Criterion::Tested {
                scope: Scope::Matrix,
                ..
            } => criterion::holds(criterion, matrix, &self.polynomial(matrix)),
            _ => true,
        }
    }
}

/// What stands in the place of the map of a tile for which the criterion does not hold.
fn unorthogonalised(tile: &Matrix, otherwise: Otherwise) -> Matrix {
    let norm = tile.norm();
    match otherwise {
        Otherwise::RmsMatched if norm > 0.0 => {
            tile.scaled((tile.min_dimension() as f64).sqrt() / norm)
        }
        Otherwise::RmsMatched | Otherwise::Momentum => tile.clone(),
    }
}
