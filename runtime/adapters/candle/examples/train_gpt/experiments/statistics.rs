//! Means and how sure they are.

use crate::record::mean_and_deviation;

/// 0.975 quantiles of Student's t, by degrees of freedom from 1.
const QUANTILES: [f64; 15] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131,
];

/// Mean and half the width of its 95 % confidence interval; the latter is none of fewer than two values.
pub(super) fn interval(values: &[f64]) -> (f64, Option<f64>) {
    let (mean, deviation) = mean_and_deviation(values);
    let half = values.len().checked_sub(2).map(|freedom| {
        let quantile = QUANTILES.get(freedom).copied().unwrap_or(1.96);
        quantile * deviation / (values.len() as f64).sqrt()
    });
    (mean, half)
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn three_values_have_two_degrees_of_freedom() {
        let (mean, half) = interval(&[1.0, 2.0, 3.0]);
        assert_eq!(mean, 2.0);
        assert!((half.unwrap() - 4.303 / 3f64.sqrt()).abs() < 1e-9);
        assert_eq!(interval(&[1.0]), (1.0, None));
    }
}
