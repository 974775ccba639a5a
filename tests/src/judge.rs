//! How far a mapped tile is from what it should be.

use crate::svd::{relative_error, spectral_norm, svd};
use himuon::reference::Matrix;

/// The norm that an error is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Norm {
    /// ||O - O_ref||_F / ||O_ref||_F.
    Frobenius,
    /// ||U_r^T (O - O_ref) V_r||_F / ||O_ref||_F: on the row and column space of the input. Outside of it
    /// 16-bit rounding is amplified like any other small singular value, and an all-zero output would
    /// score 1.0 by the Frobenius norm where a good one scores 1.4.
    InputSpace,
    /// max |O|: the output of a zero tile must be zero.
    Maximum,
}

/// The judgement of one tile.
#[derive(Clone, Copy, Debug)]
pub struct Judgement {
    /// The error, NaN if the output is not finite.
    pub error: f64,
    /// In which norm.
    pub norm: Norm,
    /// ||O||_2.
    pub spectral_norm: f64,
    /// ||O_ref||_2.
    pub expected_spectral_norm: f64,
}

/// The largest spectral norm that a map onto singular values near 1 may have.
pub const SPECTRAL_LIMIT: f64 = 1.3;

/// Judges `found` as the map of `input`, whose exact map is `expected`; `rank`: of the input if deficient.
pub fn judge(input: &Matrix, found: &Matrix, expected: &Matrix, rank: Option<usize>) -> Judgement {
    if !found.is_finite() {
        return Judgement {
            error: f64::NAN,
            norm: Norm::Maximum,
            spectral_norm: f64::NAN,
            expected_spectral_norm: f64::NAN,
        };
    }
    let expected_norm = expected.norm();
    let (error, norm) = if expected_norm == 0.0 {
        let largest = found.values().iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        (largest, Norm::Maximum)
    } else if let Some(rank) = rank {
        let difference = found.combined(1.0, -1.0, expected);
        let within = svd(input).norm_within(&difference, rank);
        (within / expected_norm, Norm::InputSpace)
    } else {
        (relative_error(found, expected), Norm::Frobenius)
    };
    Judgement {
        error,
        norm,
        spectral_norm: spectral_norm(found),
        expected_spectral_norm: spectral_norm(expected),
    }
}

impl Judgement {
    /// Whether ||O||_2 <= 1.3, or, for a map that is itself larger (one step of `minimax` reaches 2),
    /// within 5 % of the exact map's; and at least half of the exact map's, which a map to nothing would not be.
    pub fn is_bounded(&self) -> bool {
        let limit = SPECTRAL_LIMIT.max(1.05 * self.expected_spectral_norm);
        (0.5 * self.expected_spectral_norm..=limit).contains(&self.spectral_norm)
    }
}
