//! Momentum.

use super::matrix::Matrix;
use crate::launch::GroupScalars;

/// `buf <- mu buf + c g; m <- alpha g + beta buf`: returns (buf, m).
pub fn momentum_step(
    scalars: &GroupScalars,
    momentum: &Matrix,
    gradient: &Matrix,
) -> (Matrix, Matrix) {
    let buffer = momentum.combined(f64::from(scalars.mu), f64::from(scalars.c), gradient);
    let update = gradient.combined(f64::from(scalars.alpha), f64::from(scalars.beta), &buffer);
    (buffer, update)
}

/// The two conventions in use, each as its source writes it: against these the four run-time scalars of
/// [`GroupScalars`] are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentumConvention {
    /// `buf <- mu buf + g`; Nesterov `m = g + mu buf`, else `m = buf` (arXiv 2606.27216).
    HeavyBall,
    /// `buf <- mu buf + (1 - mu) g`; Nesterov `m = mu buf + (1 - mu) g`, else `m = buf`
    /// (torch.optim.Muon, KellerJordan/Muon).
    MovingAverage,
}

impl MomentumConvention {
    /// One step: returns (buf, m).
    pub fn step(
        self,
        mu: f64,
        nesterov: bool,
        momentum: &Matrix,
        gradient: &Matrix,
    ) -> (Matrix, Matrix) {
        let weight = match self {
            MomentumConvention::HeavyBall => 1.0,
            MomentumConvention::MovingAverage => 1.0 - mu,
        };
        let buffer = momentum.combined(mu, weight, gradient);
        let update = if nesterov {
            buffer.combined(mu, weight, gradient)
        } else {
            buffer.clone()
        };
        (buffer, update)
    }
}
