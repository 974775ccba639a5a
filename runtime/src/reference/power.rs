//! 0 < p < 1: Muon^p, U S^p V^T (arXiv 2606.13867), of X with ||X||_F = 1.

use super::matrix::Matrix;
use super::rounding::Rounding;

/// Y <- aY + dX + A(bY + eX), A = Y Y^T, on X/nu with nu = ||X X^T||_F^(1/2); the result times nu^p.
///
/// The rescale moves the singular values of large tiles, most of which lie below 1e-2, into the
/// interval that the coefficients were fitted for.
pub(crate) fn fitted(start: &Matrix, steps: &[[f32; 4]], power: f64, rounding: Rounding) -> Matrix {
    let oriented = start.oriented();
    let nu = oriented.gram().norm().sqrt();
    if nu == 0.0 {
        return Matrix::zeros(start.rows(), start.columns());
    }
    let x = rounding.store(oriented.scaled(1.0 / nu));
    let mut y = x.clone();
    for step in steps {
        let [a, b, d, e] = step.map(f64::from);
        let gram = rounding.store(rounding.gram(&y));
        let combined = rounding.store(y.combined(b, e, &x));
        let product = rounding.store(rounding.product(&gram, &combined));
        y = rounding.store(y.combined(a, d, &x).combined(1.0, 1.0, &product));
    }
    y.scaled(nu.powf(power)).oriented_back(start)
}

/// Q = aI - b Y Y^T; Z <- Q^n Z; Y <- Q^m Y, Z0 = Y0 = X, p = 1 - n/m. While Y tends to the polar
/// factor, Z tends to U S^p V^T.
pub(crate) fn coupled(
    start: &Matrix,
    m: u32,
    n: u32,
    steps: &[[f32; 2]],
    rounding: Rounding,
) -> Matrix {
    let x = start.oriented();
    let (mut y, mut z) = (x.clone(), x);
    for (index, step) in steps.iter().enumerate() {
        let [a, b] = step.map(f64::from);
        let q = rounding.store(rounding.gram(&y).scaled(-b).plus_identity(a));
        for _ in 0..n {
            z = rounding.store(rounding.product(&q, &z));
        }
        if index + 1 < steps.len() {
            for _ in 0..m {
                y = rounding.store(rounding.product(&q, &y));
            }
        }
    }
    z.oriented_back(start)
}

/// Y <- Y - c (Y Y^T Y - X), Y0 = X: the published form of p = 1/3.
pub(crate) fn authors(start: &Matrix, steps: u32, damping: f32, rounding: Rounding) -> Matrix {
    let x = start.oriented();
    let damping = f64::from(damping);
    let mut y = x.clone();
    for _ in 0..steps {
        let gram = rounding.store(rounding.gram(&y));
        let cube = rounding.store(rounding.product(&gram, &y));
        let residual = cube.combined(1.0, -1.0, &x);
        y = rounding.store(y.combined(1.0, -damping, &residual));
    }
    y.oriented_back(start)
}
