//! MiMuon's measures (arXiv 2605.19619) of a normalised tile X.

use super::layout::Panels;
use super::simd::LANES;
use nalgebra::DMatrix;

/// 1/(r ||X X^T||_F^2), 0 for a zero tile; `rank` is r = min(rows, columns).
pub(super) fn effective_rank(gram_norm_squared: f32, rank: usize) -> f64 {
    if gram_norm_squared > 0.0 {
        1.0 / (rank as f64 * f64::from(gram_norm_squared))
    } else {
        0.0
    }
}

/// The smallest gap between neighbouring singular values of X: infinite when there is only one, 0 for a zero
/// tile. By a singular value decomposition in `f64`.
///
/// # Safety
/// `x` has `rows` rows and `columns` columns.
#[inline(never)]
pub(super) unsafe fn min_gap(x: Panels, rows: usize, columns: usize) -> f64 {
    let matrix = DMatrix::from_fn(rows, columns, |row, column| {
        // SAFETY: the caller's word.
        let number = unsafe { *x.row(column / LANES, row).add(column % LANES) };
        f64::from(number)
    });
    if matrix.iter().all(|number| *number == 0.0) {
        return 0.0;
    }
    let mut values: Vec<f64> = matrix.singular_values().iter().copied().collect();
    values.sort_by(f64::total_cmp);
    let gaps = values.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.fold(f64::INFINITY, f64::min)
}
