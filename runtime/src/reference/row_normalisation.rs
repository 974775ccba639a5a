//! NorMuon (arXiv 2510.05491).

use super::matrix::Matrix;

/// v_i <- b2 v_i + (1 - b2) mean_j(O_ij^2), the mean over the columns for which `counts(i, j)` holds; a row
/// without any keeps its v_i. Then O_ij / (sqrt(v_i) + eps); elements that do not count become 0.
pub(crate) fn normalise_rows(
    mapped: &Matrix,
    second_moment: &mut [f64],
    beta2: f64,
    epsilon: f64,
    counts: impl Fn(usize, usize) -> bool,
) -> Matrix {
    let mut normalised = Matrix::zeros(mapped.rows(), mapped.columns());
    for (row, moment) in second_moment.iter_mut().enumerate().take(mapped.rows()) {
        let columns: Vec<usize> = (0..mapped.columns())
            .filter(|column| counts(row, *column))
            .collect();
        if columns.is_empty() {
            continue;
        }
        let squares = columns
            .iter()
            .map(|column| mapped.get(row, *column).powi(2));
        let mean = squares.sum::<f64>() / columns.len() as f64;
        *moment = beta2 * *moment + (1.0 - beta2) * mean;
        let divisor = moment.sqrt() + epsilon;
        for column in columns {
            normalised.set(row, column, mapped.get(row, column) / divisor);
        }
    }
    normalised
}
