//! MiMuon (arXiv 2605.19619): what is measured before a tile is orthogonalised.

use super::matrix::Matrix;
use super::singular_values;
use himuon_templates::{Criterion, Measure};

/// 1/(r ||X X^T||_F^2) in (0, 1] with r = min(rows, columns) and X = tile/||tile||_F: 1 when all r singular
/// values are equal, 1/r at rank 1. 0 for a zero tile.
pub fn effective_rank(tile: &Matrix) -> f64 {
    let norm = tile.norm();
    if norm == 0.0 {
        return 0.0;
    }
    let x = tile.scaled(1.0 / norm).oriented();
    1.0 / (x.rows() as f64 * x.gram().norm_squared())
}

/// <X, O>^2 / r in (0, 1] with X = tile/||tile||_F and O the mapped tile. For the exact polar factor it is
/// ||X||_*^2 / r. 0 for a zero tile.
pub fn nuclear_rank(tile: &Matrix, mapped: &Matrix) -> f64 {
    let norm = tile.norm();
    if norm == 0.0 {
        return 0.0;
    }
    let inner = tile.inner_product(mapped) / norm;
    inner * inner / tile.min_dimension() as f64
}

/// The smallest gap between neighbouring singular values of X = tile/||tile||_F; infinite when there is
/// only one, 0 for a zero tile.
pub fn min_gap(tile: &Matrix) -> f64 {
    let norm = tile.norm();
    if norm == 0.0 {
        return 0.0;
    }
    singular_values(&tile.scaled(1.0 / norm))
        .windows(2)
        .map(|pair| pair[0] - pair[1])
        .fold(f64::INFINITY, f64::min)
}

/// Whether `tile` is to be replaced by `mapped`.
pub(crate) fn holds(criterion: &Criterion, tile: &Matrix, mapped: &Matrix) -> bool {
    let Criterion::Tested {
        measure, threshold, ..
    } = criterion
    else {
        return true;
    };
    let value = match measure {
        Measure::FroNorm => tile.norm(),
        Measure::EffectiveRank => effective_rank(tile),
        Measure::NuclearRank => nuclear_rank(tile, mapped),
        Measure::MinGap => min_gap(tile),
    };
    value >= f64::from(threshold.get())
}
