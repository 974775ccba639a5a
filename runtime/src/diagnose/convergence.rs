//! When Muon beats gradient descent, from gradients alone (arXiv 2505.23737).

use nalgebra::DMatrix;

use crate::reference::Matrix;

/// Singular values below this part of the largest have no direction of their own.
const NULL: f64 = 1e-12;

/// How a function curves along the two directions, at one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Curvature {
    /// J = <O, H`[O]`>, O = U V^T the polar factor of the gradient.
    pub along_polar: f64,
    /// L = <G, H`[G]`>/||G||_F^2.
    pub along_gradient: f64,
    /// ||G||_*^2/||G||_F^2.
    pub nuclear_rank: f64,
    /// ||G||_F.
    pub gradient_norm: f64,
}

impl Curvature {
    /// Of the function with this gradient, at `weight`: `H[D]` is (grad(W + hD) - grad(W - hD))/2h with
    /// h = `step` max(1, ||W||_F)/||D||_F; three gradients more than the one at W itself, plus one.
    ///
    /// `step` of 1e-5 suits gradients in `f64`, 1e-2 those in `f32`. None at a stationary point.
    ///
    /// # Errors
    /// Those of `gradient`.
    pub fn at<E>(
        weight: &Matrix,
        step: f64,
        mut gradient: impl FnMut(&Matrix) -> Result<Matrix, E>,
    ) -> Result<Option<Self>, E> {
        let here = gradient(weight)?;
        let norm = here.norm();
        let Some((polar, nuclear)) = polar_factor(&here) else {
            return Ok(None);
        };
        let mut curve = |direction: &Matrix| {
            let h = step * weight.norm().max(1.0) / direction.norm();
            let ahead = gradient(&weight.combined(1.0, h, direction))?;
            let behind = gradient(&weight.combined(1.0, -h, direction))?;
            Ok(direction.inner_product(&ahead.combined(1.0, -1.0, &behind)) / (2.0 * h))
        };
        Ok(Some(Curvature {
            along_polar: curve(&polar)?,
            along_gradient: curve(&here)? / (norm * norm),
            nuclear_rank: (nuclear / norm).powi(2),
            gradient_norm: norm,
        }))
    }

    /// What the best step along the polar factor gains over the best step along the gradient, to second order:
    /// ||G||_*^2/J against ||G||_F^2/L. Above 1 Muon wins.
    ///
    /// Where a curvature is not positive the quadratic has no best step, and the ratio no meaning.
    pub fn muon_advantage(&self) -> f64 {
        self.nuclear_rank * self.along_gradient / self.along_polar
    }

    /// Whether ||G||_*^2/||G||_F^2 > J/L.
    pub fn favours_muon(&self) -> bool {
        self.nuclear_rank > self.along_polar / self.along_gradient
    }
}

/// U V^T and the sum of the singular values, by singular value decomposition in `f64`; none of a zero matrix or
/// one that is not finite.
pub fn polar_factor(matrix: &Matrix) -> Option<(Matrix, f64)> {
    let (rows, columns) = matrix.shape();
    let scale = matrix.values().iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    if scale == 0.0 || !matrix.is_finite() {
        return None;
    }
    let dense = DMatrix::from_row_slice(rows, columns, matrix.values()).unscale(scale);
    let decomposition = dense.svd(true, true);
    let (left, right) = (decomposition.u?, decomposition.v_t?);
    let values = decomposition.singular_values;
    let kept = values.map(|value| {
        if value > NULL * values.max() {
            1.0
        } else {
            0.0
        }
    });
    let polar = left * DMatrix::from_diagonal(&kept) * right;
    let polar = Matrix::from_fn(rows, columns, |row, column| polar[(row, column)]);
    Some((polar, scale * values.sum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// 1/2 tr(W^T Q W), Q diagonal: gradient Q W, Hessian Q.
    fn curvature(weight: &Matrix, eigenvalues: &[f64]) -> Option<Curvature> {
        let gradient = |weight: &Matrix| {
            let (rows, columns) = weight.shape();
            Ok::<_, Infallible>(Matrix::from_fn(rows, columns, |row, column| {
                eigenvalues[row] * weight.get(row, column)
            }))
        };
        let Ok(found) = Curvature::at(weight, 1e-5, gradient);
        found
    }

    #[test]
    fn a_diagonal_quadratic_has_these_curvatures() {
        // G = diag(4, 1): O = I, J = 4 + 1, L = (4 16 + 1 1)/17, ||G||_*^2/||G||_F^2 = 25/17.
        let weight = Matrix::from_fn(2, 2, |row, column| f64::from(u8::from(row == column)));
        let found = curvature(&weight, &[4.0, 1.0]).unwrap();
        assert!((found.along_polar - 5.0).abs() < 1e-8, "{found:?}");
        assert!(
            (found.along_gradient - 65.0 / 17.0).abs() < 1e-8,
            "{found:?}"
        );
        assert!(
            (found.nuclear_rank - 25.0 / 17.0).abs() < 1e-12,
            "{found:?}"
        );
        // 25/17 > 5 17/65 = 1.31.
        assert!(found.favours_muon() && found.muon_advantage() > 1.0);
        assert!(!curvature(&weight, &[1.0, 1.0]).unwrap().favours_muon());
        assert_eq!(curvature(&Matrix::zeros(2, 2), &[1.0, 1.0]), None);
    }
}
