//! The independent reference: U S^p V^T by a singular value decomposition in `f64` (faer).

use faer::Mat;
use himuon::reference::Matrix;

/// A thin singular value decomposition.
#[derive(Clone, Debug)]
pub struct Svd {
    /// rows x r.
    pub left: Matrix,
    /// r values, largest first.
    pub values: Vec<f64>,
    /// r x columns.
    pub right_transposed: Matrix,
}

/// The decomposition of a finite matrix. r = min(rows, columns).
///
/// # Panics
/// When the decomposition does not converge, which no finite input of the suite causes.
#[allow(clippy::expect_used)]
pub fn svd(matrix: &Matrix) -> Svd {
    let (rows, columns) = matrix.shape();
    // The largest element to about 1, so that 1e20 and 1e-25 are decomposed alike.
    let largest = matrix.values().iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let dense = Mat::from_fn(rows, columns, |i, j| matrix.get(i, j) / scale);
    let decomposition = dense.thin_svd().expect("a finite matrix decomposes");
    let rank = rows.min(columns);
    let diagonal = decomposition.S().column_vector();
    Svd {
        left: Matrix::from_fn(rows, rank, |i, j| decomposition.U()[(i, j)]),
        values: (0..rank).map(|i| scale * diagonal[i]).collect(),
        right_transposed: Matrix::from_fn(rank, columns, |i, j| decomposition.V()[(j, i)]),
    }
}

impl Svd {
    /// U diag(function(s)) V^T.
    pub fn with_values(&self, function: impl Fn(f64) -> f64) -> Matrix {
        let scaled = Matrix::from_fn(
            self.values.len(),
            self.right_transposed.columns(),
            |i, j| function(self.values[i]) * self.right_transposed.get(i, j),
        );
        self.left.product(&scaled)
    }

    /// U V^T over the singular values above `1e-12 * s_max`.
    pub fn polar(&self) -> Matrix {
        let floor = 1e-12 * self.values.first().copied().unwrap_or(0.0);
        self.with_values(|s| if s > floor { 1.0 } else { 0.0 })
    }

    /// ||U_r^T M V_r||_F: the part of `matrix` in the span of the first `rank` singular vectors.
    pub fn norm_within(&self, matrix: &Matrix, rank: usize) -> f64 {
        let left = Matrix::from_fn(rank, self.left.rows(), |i, j| self.left.get(j, i));
        let right = Matrix::from_fn(self.right_transposed.columns(), rank, |i, j| {
            self.right_transposed.get(j, i)
        });
        left.product(matrix).product(&right).norm()
    }
}

/// The singular values of a finite matrix, largest first.
///
/// # Panics
/// When the decomposition does not converge, which no finite input of the suite causes.
#[allow(clippy::expect_used)]
pub fn singular_values(matrix: &Matrix) -> Vec<f64> {
    let dense = Mat::from_fn(matrix.rows(), matrix.columns(), |i, j| matrix.get(i, j));
    dense.singular_values().expect("a finite matrix decomposes")
}

/// The largest singular value of a finite matrix.
pub fn spectral_norm(matrix: &Matrix) -> f64 {
    singular_values(matrix).first().copied().unwrap_or(0.0)
}

/// The polar factor of every tile, put back together.
pub fn tiled_polar(matrix: &Matrix, tile: himuon::Tile) -> Matrix {
    let mut whole = Matrix::zeros(matrix.rows(), matrix.columns());
    for bounds in himuon::reference::tiles(tile, matrix.rows(), matrix.columns()) {
        whole.paste(&bounds, &svd(&matrix.cut(&bounds)).polar());
    }
    whole
}

/// <A, B> / (||A||_F ||B||_F).
pub fn cosine(a: &Matrix, b: &Matrix) -> f64 {
    a.inner_product(b) / (a.norm() * b.norm())
}

/// ||A - B||_F / ||B||_F.
pub fn relative_error(a: &Matrix, b: &Matrix) -> f64 {
    a.combined(1.0, -1.0, b).norm() / b.norm()
}
