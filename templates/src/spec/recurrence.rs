//! The iteration that maps a tile.

use super::Finite;
use std::borrow::Cow;

/// A named set of Newton-Schulz coefficients, one (a, b, c) per step: X <- aX + (bA + cA^2)X, A = X X^T.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoefficientSet {
    /// Keller Jordan's (3.4445, -4.7750, 2.0315) at every step. K = 1..=10, default 5.
    Muon,
    /// (1.5, -0.5, 0). K = 1..=10, default 5.
    Cubic,
    /// (15/8, -10/8, 3/8). K = 1..=10, default 5.
    Quintic,
    /// Polar Express (arXiv 2505.16932), built for singular values in [1e-3, 1]. K >= 5, default 5.
    PolarExpress,
    /// The same construction for any K and lower bound, computed at compile time. K = 1..=10, default 5.
    Minimax {
        /// Smallest singular value of the design interval, in (0, 1).
        lower: Finite,
    },
    /// Five published steps. K = 5.
    You,
    /// Four steps after the almost-orthogonal rescale (arXiv 2512.04632). K = 4.
    Turbo,
    /// Cubic steps by Chebyshev approximation. K >= 9, default 9.
    Cans,
    /// The user's own list; K is its length.
    Custom(Cow<'static, [[Finite; 3]]>),
}

/// The iteration and its coefficients. Which one goes with which power:
/// p = 0 `NewtonSchulz`; 0 < p < 1 `Fitted`, `Coupled` or `Authors`; p = 1 `Identity`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recurrence {
    /// Odd polynomials of X.
    NewtonSchulz(CoefficientSet),
    /// Two products a step in (X, Y), fitted per (p, K): Y <- aY + dX + A(bY + eX), A = Y Y^T.
    Fitted,
    /// Coupled iteration in (Y, Z), p = 1 - n/m.
    Coupled,
    /// The published p = 1/3 form: Y <- Y - 0.66 (Y Y^T Y - X) (arXiv 2606.13867).
    Authors,
    /// p = 1: none.
    Identity,
}
