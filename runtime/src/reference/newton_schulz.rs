//! p = 0: odd polynomials of X (Newton-Schulz).

use super::matrix::Matrix;
use super::rounding::Rounding;

/// K steps X <- aX + BX, A = X X^T, B = bA + cA^2, on X with rows <= columns (arXiv 2606.27216).
pub(crate) fn odd(start: &Matrix, steps: &[[f32; 3]], rounding: Rounding) -> Matrix {
    let mut x = start.oriented();
    for step in steps {
        let [a, b, c] = step.map(f64::from);
        let gram = rounding.store(rounding.gram(&x));
        let polynomial = rounding.store(gram.combined(b, c, &rounding.product(&gram, &gram)));
        let product = rounding.store(rounding.product(&polynomial, &x));
        x = rounding.store(x.combined(a, 1.0, &product));
    }
    x.oriented_back(start)
}

/// The almost-orthogonal rescale X_i = G_i / sqrt(sum_j |G G^T|_ij) of the rows of G with
/// rows <= columns (arXiv 2512.04632). A zero row stays zero. Returned in the orientation of `tile`.
pub(crate) fn almost_orthogonal(tile: &Matrix) -> Matrix {
    let oriented = tile.oriented();
    let gram = oriented.gram();
    let divisors: Vec<f64> = (0..oriented.rows())
        .map(|row| gram.row(row).iter().map(|v| v.abs()).sum::<f64>().sqrt())
        .collect();
    let rescaled = Matrix::from_fn(oriented.rows(), oriented.columns(), |row, column| {
        if divisors[row] > 0.0 {
            oriented.get(row, column) / divisors[row]
        } else {
            0.0
        }
    });
    rescaled.oriented_back(tile)
}
