//! Singular values by one-sided Jacobi rotations.

use super::matrix::Matrix;

/// Sweeps over all pairs of rows. Convergence is quadratic; ten suffice in practice.
const SWEEPS: usize = 60;

/// The min(rows, columns) singular values of a finite matrix, largest first.
///
/// Rotates pairs of rows until all are orthogonal; their norms are then the singular values, each with
/// high relative accuracy (Demmel and Veselic, "Jacobi's method is more accurate than QR", 1992).
pub fn singular_values(matrix: &Matrix) -> Vec<f64> {
    let oriented = matrix.oriented();
    let mut rows: Vec<Vec<f64>> = (0..oriented.rows())
        .map(|row| oriented.row(row).to_vec())
        .collect();
    for _ in 0..SWEEPS {
        if !sweep(&mut rows) {
            break;
        }
    }
    let mut values: Vec<f64> = rows.iter().map(|row| dot(row, row).sqrt()).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// One rotation of every pair; whether any was needed.
fn sweep(rows: &mut [Vec<f64>]) -> bool {
    let mut rotated = false;
    for second in 1..rows.len() {
        let (before, after) = rows.split_at_mut(second);
        let Some(row) = after.first_mut() else { break };
        for other in before {
            rotated |= orthogonalise(other, row);
        }
    }
    rotated
}

/// Rotates two rows so that their inner product vanishes; whether it did not already.
fn orthogonalise(first: &mut [f64], second: &mut [f64]) -> bool {
    let (alpha, beta, gamma) = (dot(first, first), dot(second, second), dot(first, second));
    if gamma.abs() <= 1e-15 * (alpha * beta).sqrt() || gamma == 0.0 {
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
