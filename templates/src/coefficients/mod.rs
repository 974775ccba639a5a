//! The coefficients that a specification resolves to.
//!
//! Published numbers are in `published`, computed ones in `minimax` and `coupled`, fitted ones in `fitted`.
//! All are designed in f64 and rounded once to the `f32` bits that every backend uses.

mod coupled;
mod fitted;
mod minimax;
mod published;
mod resolve;
mod response;

pub(crate) use resolve::fitted_powers;
pub use resolve::{ACCEPTED_LOWER, MAX_COUPLED_DENOMINATOR, MAX_STEPS};

/// What a kernel iterates, as exact `f32` values: every backend and the f64 reference use these bits.
#[derive(Clone, Debug, PartialEq)]
pub enum StepTable {
    /// X <- aX + (bA + cA^2)X, A = X X^T, X0 = G/||G||_F; c = 0 at every step means two products a step.
    Odd(Vec<[f32; 3]>),
    /// The same steps after X0_i = G_i / sqrt(sum_j |G G^T|_ij) (rows <= columns), the first Gram reused.
    Turbo(Vec<[f32; 3]>),
    /// Y <- aY + dX + A(bY + eX), A = Y Y^T, as (a, b, d, e); X is rescaled by nu = ||X X^T||_F^(1/2)
    /// after the first Gram matrix and the result multiplied by nu^p.
    Fitted(Vec<[f32; 4]>),
    /// Q = aI - b Y Y^T; Z <- Q^n Z; Y <- Q^m Y (not at the last step), rows <= columns.
    Coupled {
        /// Denominator of p = 1 - n/m, at most 8.
        m: u32,
        /// m (1 - p).
        n: u32,
        /// (a, b) of each step.
        steps: Vec<[f32; 2]>,
    },
    /// Y <- Y - c (Y Y^T Y - X), Y0 = X, p = 1/3.
    Authors {
        /// Number of steps.
        steps: u32,
        /// The damping c = 0.66.
        damping: f32,
    },
    /// p = 1: the tile itself.
    Identity,
}

impl StepTable {
    /// Number of steps K; 0 for the identity.
    pub fn steps(&self) -> usize {
        match self {
            StepTable::Odd(list) | StepTable::Turbo(list) => list.len(),
            StepTable::Fitted(list) => list.len(),
            StepTable::Coupled { steps, .. } => steps.len(),
            StepTable::Authors { steps, .. } => *steps as usize,
            StepTable::Identity => 0,
        }
    }

    /// Matrix products of the whole iteration: 3 a step for quintics, 2 where c = 0, 2 for the fitted and
    /// the authors' recurrences, (1 + m + n) K - m for the coupled one. Every product of a T x T tile is 2 T^3
    /// operations before symmetry is used.
    pub fn products(&self) -> usize {
        match self {
            StepTable::Odd(list) | StepTable::Turbo(list) => list
                .iter()
                .map(|step| if step[2] == 0.0 { 2 } else { 3 })
                .sum(),
            StepTable::Fitted(list) => 2 * list.len(),
            StepTable::Coupled { m, n, steps } => {
                let (m, n) = (*m as usize, *n as usize);
                ((1 + m + n) * steps.len()).saturating_sub(m)
            }
            StepTable::Authors { steps, .. } => 2 * *steps as usize,
            StepTable::Identity => 0,
        }
    }
}
