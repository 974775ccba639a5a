//! The singular values of a matrix, and what they say.

use nalgebra::DMatrix;
use serde::Serialize;

use super::operator::Operator;

/// How many singular values are small.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tail {
    /// Relative to the largest.
    pub below: f64,
    /// Part of all min(rows, columns) singular values, in [0, 1].
    pub fraction: f64,
}

/// The singular values s of a matrix, largest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spectrum {
    /// All of them, or the nodes of a sampled density.
    pub values: Vec<f64>,
    /// How many singular values each of `values` stands for; 1 unless they were sampled. Sums to min(rows, columns).
    pub weights: Vec<f64>,
    /// ||G||_F^2 / s_max^2, from 1 to min(rows, columns).
    pub stable_rank: f64,
    /// (sum s^2)^2 / sum s^4 = 1/||X X^T||_F^2, X = G/||G||_F.
    pub participation_ratio: f64,
    /// ||G||_*^2 / ||G||_F^2: Muon's best step beats gradient descent's when it is above J/L (arXiv 2505.23737).
    pub nuclear_rank: f64,
    /// s_max / s_min; infinite for a singular matrix, and where it was sampled the ratio of the outermost nodes.
    pub condition: f64,
    /// How many singular values lie below 1e-2, 1e-3 and 1e-4 of the largest: what the map must lift from
    /// nearly nothing, and what a list of few steps leaves short.
    pub tails: Vec<Tail>,
}

impl Spectrum {
    /// From values and the number of singular values that each stands for; `norm` is ||G||_F, which is known
    /// better than a sample tells.
    pub(super) fn new(mut pairs: Vec<(f64, f64)>, norm: f64) -> Self {
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let largest = pairs.first().map_or(0.0, |pair| pair.0);
        let smallest = pairs.last().map_or(0.0, |pair| pair.0);
        // The fourth power of 1e20 is finite in f64, that of 1e-90 is not above zero.
        let scale = if largest > 0.0 { largest } else { 1.0 };
        let moment = |power: i32| sum_of(&pairs, scale, power);
        let squares = (norm / scale).powi(2);
        let count = moment(0);
        let tails = [1e-2, 1e-3, 1e-4].map(|below| {
            let small = pairs.iter().filter(|pair| pair.0 < below * largest);
            Tail {
                below,
                fraction: small
                    .map(|pair| pair.1)
                    .fold(0.0, |sum, weight| sum + weight)
                    / count,
            }
        });
        Spectrum {
            stable_rank: squares,
            participation_ratio: squares.powi(2) / moment(4),
            nuclear_rank: moment(1).powi(2) / squares,
            condition: largest / smallest,
            tails: tails.to_vec(),
            values: pairs.iter().map(|pair| pair.0).collect(),
            weights: pairs.iter().map(|pair| pair.1).collect(),
        }
    }

    /// The least number of singular values, the largest first, whose sum is at least `share` of all: the rank of a coarse
    /// part that holds so much of the nuclear norm. Of a sampled density to the width of its nodes.
    pub fn rank_holding(&self, share: f64) -> usize {
        let parts = || {
            self.values
                .iter()
                .zip(&self.weights)
                .filter(|(value, _)| **value > 0.0)
        };
        let mut missing = share * parts().map(|(value, weight)| value * weight).sum::<f64>();
        let mut rank = 0.0;
        for (value, weight) in parts() {
            if missing <= 0.0 {
                break;
            }
            let taken = weight.min(missing / value);
            missing -= value * weight;
            rank += taken;
        }
        // Sums of weights are whole numbers up to rounding.
        (rank - 1e-9).ceil().max(0.0) as usize
    }

    /// From the eigenvalues of the Gram matrix of the shorter side, in `f64`. The values below 1e-8 of the
    /// largest are rounding; those of an `f32` matrix are so below 1e-7 anyway.
    pub(super) fn exact(matrix: &Operator<'_>) -> Self {
        let (rows, columns) = matrix.shape();
        let values = singular_values(matrix.values().chunks(columns), rows, columns);
        Spectrum::new(
            values.into_iter().map(|value| (value, 1.0)).collect(),
            matrix.norm(),
        )
    }
}

fn sum_of(pairs: &[(f64, f64)], scale: f64, power: i32) -> f64 {
    pairs.iter().map(|(s, w)| w * (s / scale).powi(power)).sum()
}

/// The min(rows, columns) singular values of a matrix given by its rows, largest first.
pub(super) fn singular_values<'a>(
    lines: impl Iterator<Item = &'a [f32]>,
    rows: usize,
    columns: usize,
) -> Vec<f64> {
    let numbers = lines.flatten().map(|value| f64::from(*value));
    let matrix = DMatrix::from_row_iterator(rows, columns, numbers);
    // 1e20 squared twice is no number.
    let scale = matrix.amax();
    if scale == 0.0 {
        return vec![0.0; rows.min(columns)];
    }
    let matrix = matrix.unscale(scale);
    let gram = if columns <= rows {
        matrix.tr_mul(&matrix)
    } else {
        &matrix * matrix.transpose()
    };
    let mut values: Vec<f64> = gram
        .symmetric_eigenvalues()
        .iter()
        .map(|value| scale * value.max(0.0).sqrt())
        .collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_of_known_values() {
        let spectrum = Spectrum::new(vec![(1.0, 2.0), (2.0, 1.0), (1e-5, 1.0)], 6f64.sqrt());
        assert!((spectrum.stable_rank - 1.5).abs() < 1e-9);
        assert!((spectrum.participation_ratio - 36.0 / 18.0).abs() < 1e-9);
        assert!((spectrum.nuclear_rank - 16.0 / 6.0).abs() < 1e-4);
        assert!((spectrum.condition / 2e5 - 1.0).abs() < 1e-12);
        let fractions: Vec<f64> = spectrum.tails.iter().map(|tail| tail.fraction).collect();
        assert_eq!(fractions, [0.25, 0.25, 0.25]);
    }

    #[test]
    fn the_rank_that_holds_a_share() {
        let spectrum = Spectrum::new(
            vec![(4.0, 1.0), (2.0, 1.0), (1.0, 1.0), (1.0, 1.0)],
            22f64.sqrt(),
        );
        let ranks =
            [0.0, 0.4, 0.5, 0.51, 0.75, 0.76, 1.0].map(|share| spectrum.rank_holding(share));
        assert_eq!(ranks, [0, 1, 1, 2, 2, 3, 4]);
        let sampled = Spectrum::new(vec![(1.0, 10.0), (0.5, 20.0)], 15f64.sqrt());
        assert_eq!(sampled.rank_holding(0.25), 5);
        assert_eq!(sampled.rank_holding(0.75), 20);
    }

    #[test]
    fn singular_values_of_any_shape_and_size() {
        let small: Vec<f32> = (0..21)
            .map(|i| ((i * 17 % 23) as f32 - 11.0) * 1e-25)
            .collect();
        let expected =
            crate::reference::singular_values(&crate::reference::Matrix::from_f32(3, 7, &small));
        let found = singular_values(small.chunks(7), 3, 7);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
        }
    }
}
