//! Two levels: a coarse polar factor of low rank for what couples the tiles, and the tiles for the rest.

mod orthonormal;
mod two_levels;

#[cfg(test)]
mod checks;

use super::matrix::Matrix;
use crate::coarse::seed;
use orthonormal::{Factored, power, qr};
pub use two_levels::{TwoLevels, two_level_step};

/// The coarse part of one matrix M at one step.
#[derive(Clone, Debug, PartialEq)]
pub struct CoarsePart {
    /// P U_R S_R^p V_R^T V'^T of `R^T = U_R S_R V_R^T`, unscaled.
    pub values: Matrix,
    /// What the coarse part stands for: P P^T M (between refreshes M V V^T).
    pub captured: Matrix,
    /// P, H x r: orthonormal columns, zero where they collapsed.
    pub left: Matrix,
    /// V', W x r: orthonormal columns, zero where they collapsed.
    pub right: Matrix,
    /// The basis of the next step, W x r: V' with seeded columns in the place of collapsed ones, at the end.
    pub basis: Matrix,
    /// ||R||_F.
    pub strength: f64,
    /// ||R||_*, the nuclear norm of what is captured.
    pub nuclear_norm: f64,
}

/// The seeded start of a W x r basis: orthonormal columns.
pub fn seeded_basis(columns: usize, rank: usize) -> Matrix {
    completed(&Matrix::zeros(columns, rank))
}

/// The coarse part of M by the warm basis V:
/// `P = orth(M V); B = M^T P; V', R = qr(B)`; the part is `P (R^T)^(p) V'^T`, where A^(p) = U S^p V^T of A.
///
/// Without `refresh` the basis stands still: `P R = qr(M V)`, and the part is `P R^(p) V^T`.
/// `None` for a matrix that is not finite, and where every column collapses.
pub fn coarse_part(matrix: &Matrix, basis: &Matrix, p: f64, refresh: bool) -> Option<CoarsePart> {
    if !matrix.is_finite() {
        return None;
    }
    let Factored { q: left, r } = qr(&matrix.product(basis));
    let (right, small) = if refresh {
        let Factored { q, r } = qr(&matrix.transpose().product(&left));
        (q, r.transpose())
    } else {
        (basis.clone(), r)
    };
    let strength = small.norm();
    if strength == 0.0 {
        return None;
    }
    let turned = right.transpose();
    let part = |small: &Matrix| left.product(&small.product(&turned));
    Some(CoarsePart {
        values: part(&power(&small, p)),
        captured: part(&small),
        basis: if refresh {
            completed(&right)
        } else {
            right.clone()
        },
        nuclear_norm: small.inner_product(&power(&small, 0.0)),
        strength,
        left,
        right,
    })
}

/// The columns that are not zero, then seeded ones: orthonormal.
fn completed(basis: &Matrix) -> Matrix {
    let (rows, columns) = basis.shape();
    let kept: Vec<usize> = (0..columns)
        .filter(|j| (0..rows).any(|i| basis.get(i, *j) != 0.0))
        .collect();
    let filled = Matrix::from_fn(rows, columns, |i, j| match kept.get(j) {
        Some(column) => basis.get(i, *column),
        None => f64::from(seed(i, j)),
    });
    qr(&filled).q
}

/// What of the fine part lies outside span(P) and span(V'): (I - P P^T) F (I - V' V'^T).
pub(crate) fn outside(fine: &Matrix, left: &Matrix, right: &Matrix) -> Matrix {
    let across = |matrix: &Matrix, basis: &Matrix| {
        let inside = basis.product(&basis.transpose().product(matrix));
        matrix.combined(1.0, -1.0, &inside)
    };
    let half = across(fine, left);
    across(&half.transpose(), right).transpose()
}
