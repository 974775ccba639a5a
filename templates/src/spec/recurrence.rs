//! The iteration that maps a tile.

use super::{Finite, Power};
use crate::coefficients::MAX_STEPS;
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// A named set of Newton-Schulz coefficients, one (a, b, c) per step: X <- aX + (bA + cA^2)X, A = X X^T.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoefficientSet {
    /// Keller Jordan's (3.4445, -4.7750, 2.0315) at every step. K = 1..=10, default 5.
    Muon,
    /// (1.5, -0.5, 0). K = 1..=10, default 5.
    Cubic,
    /// (15/8, -10/8, 3/8). K = 1..=10, default 5.
    Quintic,
    /// Polar Express (arXiv 2505.16932), built for singular values in [1e-3, 1]. K = 5..=32, default 5.
    PolarExpress,
    /// The same construction for any K and lower bound, computed at compile time. K = 1..=10, default 5.
    Minimax {
        /// Smallest singular value of the design interval, from 1e-6 to 0.9.
        lower: Finite,
    },
    /// Five published steps. K = 5.
    You,
    /// Four steps after the almost-orthogonal rescale (arXiv 2512.04632). K = 4.
    Turbo,
    /// Cubic steps by Chebyshev approximation. K = 9..=32, default 9.
    Cans,
    /// The user's own list; K is its length, 1..=32.
    Custom(Cow<'static, [[Finite; 3]]>),
}

impl CoefficientSet {
    /// The lower bound that `minimax` without an argument stands for.
    pub const DEFAULT_LOWER: f32 = 1e-3;

    /// The numbers of steps that the set can be run for.
    pub fn accepted_steps(&self) -> RangeInclusive<u32> {
        match self {
            CoefficientSet::Muon
            | CoefficientSet::Cubic
            | CoefficientSet::Quintic
            | CoefficientSet::Minimax { .. } => 1..=10,
            CoefficientSet::PolarExpress => 5..=MAX_STEPS,
            CoefficientSet::You => 5..=5,
            CoefficientSet::Turbo => 4..=4,
            CoefficientSet::Cans => 9..=MAX_STEPS,
            CoefficientSet::Custom(list) => {
                let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
                length..=length
            }
        }
    }

    /// The number of steps that is meant when none is stated.
    pub fn default_steps(&self) -> u32 {
        match self {
            CoefficientSet::Muon
            | CoefficientSet::Cubic
            | CoefficientSet::Quintic
            | CoefficientSet::PolarExpress
            | CoefficientSet::Minimax { .. }
            | CoefficientSet::You => 5,
            CoefficientSet::Turbo | CoefficientSet::Cans | CoefficientSet::Custom(_) => {
                *self.accepted_steps().start()
            }
        }
    }
}

/// The iteration and its coefficients. Which one goes with which power:
/// p = 0 `NewtonSchulz`; 0 < p < 1 `Fitted`, `Coupled` or `Authors`; p = 1 `Identity`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recurrence {
    /// Odd polynomials of X.
    NewtonSchulz(CoefficientSet),
    /// Two products a step in (X, Y), fitted per (p, K): Y <- aY + dX + A(bY + eX), A = Y Y^T.
    /// p in 1/4, 1/3, 1/2, 2/3, 3/4; K = 3..=8, default 6.
    Fitted,
    /// Coupled iteration in (Y, Z), p = 1 - n/m, m <= 8. K = 1..=10, default 6.
    Coupled,
    /// The published p = 1/3 form: Y <- Y - 0.66 (Y Y^T Y - X) (arXiv 2606.13867). K = 1..=10, default 6.
    Authors,
    /// p = 1: none. K = 0.
    Identity,
}

impl Recurrence {
    /// The recurrence that is meant when a power is stated and nothing else.
    pub fn default_for(power: Power) -> Recurrence {
        if power == Power::ZERO {
            Recurrence::NewtonSchulz(CoefficientSet::Muon)
        } else if power == Power::ONE {
            Recurrence::Identity
        } else {
            Recurrence::Fitted
        }
    }

    /// The numbers of steps that the recurrence can be run for.
    pub fn accepted_steps(&self) -> RangeInclusive<u32> {
        match self {
            Recurrence::NewtonSchulz(set) => set.accepted_steps(),
            Recurrence::Fitted => 3..=8,
            Recurrence::Coupled | Recurrence::Authors => 1..=10,
            Recurrence::Identity => 0..=0,
        }
    }

    /// The number of steps that is meant when none is stated.
    pub fn default_steps(&self) -> u32 {
        match self {
            Recurrence::NewtonSchulz(set) => set.default_steps(),
            Recurrence::Fitted | Recurrence::Coupled | Recurrence::Authors => 6,
            Recurrence::Identity => 0,
        }
    }
}
