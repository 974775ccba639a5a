//! Orthonormal columns, and the powers of a small matrix by its singular value decomposition.

use crate::coarse::{COLLAPSE, SMALLEST};
use crate::reference::Matrix;

/// Q R = A: Q with orthonormal columns, R upper triangular. A column that collapses (see [`COLLAPSE`]) is zero in Q,
/// and so are its row and diagonal element of R.
pub(crate) struct Factored {
    pub(crate) q: Matrix,
    pub(crate) r: Matrix,
}

/// Gram-Schmidt, each column twice ("twice is enough": Giraud, Langou, Rozloznik, 2005).
pub(crate) fn qr(a: &Matrix) -> Factored {
    let (rows, columns) = a.shape();
    let mut q = a.transpose();
    let mut r = Matrix::zeros(columns, columns);
    let longest = (0..columns).map(|j| length(q.row(j))).fold(0.0, f64::max);
    for j in 0..columns {
        let mut column = q.row(j).to_vec();
        for _ in 0..2 {
            for k in 0..j {
                let inner = dot(q.row(k), &column);
                r.set(k, j, r.get(k, j) + inner);
                for (c, k) in column.iter_mut().zip(q.row(k)) {
                    *c -= inner * k;
                }
            }
        }
        let left = length(&column);
        let collapsed = longest <= SMALLEST || left <= COLLAPSE * longest;
        r.set(j, j, if collapsed { 0.0 } else { left });
        for (i, c) in column.iter().enumerate().take(rows) {
            q.set(j, i, if collapsed { 0.0 } else { c / left });
        }
    }
    Factored {
        q: q.transpose(),
        r,
    }
}

/// U S^p V^T of a square matrix; a singular value below 1e-12 of the largest counts as zero.
pub(crate) fn power(matrix: &Matrix, p: f64) -> Matrix {
    // One-sided Jacobi: J A = diag(s) V^T, so that A = J^T diag(s) V^T.
    let size = matrix.rows();
    let mut rows: Vec<Vec<f64>> = (0..size)
        .map(|i| {
            let unit = (0..size).map(|j| f64::from(u8::from(i == j)));
            matrix.row(i).iter().copied().chain(unit).collect()
        })
        .collect();
    for _ in 0..60 {
        if !sweep(&mut rows, size) {
            break;
        }
    }
    let values: Vec<f64> = rows.iter().map(|row| length(&row[..size])).collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    let mut result = Matrix::zeros(size, size);
    for (row, s) in rows
        .iter()
        .zip(&values)
        .filter(|(_, s)| **s > 1e-12 * largest)
    {
        for i in 0..size {
            for j in 0..size {
                let term = row[size + i] * row[j] / s * s.powf(p);
                result.set(i, j, result.get(i, j) + term);
            }
        }
    }
    result
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn length(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// Rotates every pair of rows until their first `size` numbers are orthogonal; whether any was not.
fn sweep(rows: &mut [Vec<f64>], size: usize) -> bool {
    let mut rotated = false;
    for second in 1..rows.len() {
        let (before, after) = rows.split_at_mut(second);
        for first in before {
            rotated |= rotate(first, &mut after[0], size);
        }
    }
    rotated
}

fn rotate(first: &mut [f64], second: &mut [f64], size: usize) -> bool {
    let (a, b) = (&first[..size], &second[..size]);
    let (alpha, beta, gamma) = (dot(a, a), dot(b, b), dot(a, b));
    if gamma == 0.0 || gamma.abs() <= 1e-15 * (alpha * beta).sqrt() {
        return false;
    }
    let zeta = (beta - alpha) / (2.0 * gamma);
    let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sine = cosine * tangent;
    for (x, y) in first.iter_mut().zip(second.iter_mut()) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
    true
}
