//! MiMuon (arXiv 2605.19619): orthogonalise only where it is safe.

use super::Finite;

/// What is measured. X = G/||G||_F of the tile, r = min(rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// ||M||_F, before any product.
    FroNorm,
    /// 1/(r ||X X^T||_F^2) in (0, 1], after the first Gram matrix.
    EffectiveRank,
    /// <X, O>^2 / r in (0, 1], O the mapped tile.
    NuclearRank,
    /// The smallest gap between singular values of X: host only, refuses graph capture.
    MinGap,
}

/// What is decided together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Each tile on its own.
    Tile,
    /// One decision for the whole matrix: host only, refuses graph capture.
    Matrix,
}

/// What a tile that fails the test is replaced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Otherwise {
    /// The momentum itself, without the tile scale: W <- W - lr M (the paper's; it assumes the
    /// moving-average momentum).
    Momentum,
    /// The momentum with its RMS set to that of a mapped tile.
    RmsMatched,
}

/// When a tile is orthogonalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Criterion {
    /// Always: Muon.
    Always,
    /// Where `measure >= threshold`.
    Tested {
        /// What is measured.
        measure: Measure,
        /// The threshold tau, at least 0.
        threshold: Finite,
        /// What is decided together.
        scope: Scope,
        /// What the others get.
        otherwise: Otherwise,
    },
}

impl Criterion {
    /// Whether a tile that fails gets the momentum itself, which nothing scales.
    pub fn leaves_momentum(&self) -> bool {
        matches!(
            self,
            Criterion::Tested {
                otherwise: Otherwise::Momentum,
                ..
            }
        )
    }
}
