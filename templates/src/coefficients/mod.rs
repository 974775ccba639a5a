//! The coefficients that a specification resolves to.

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
