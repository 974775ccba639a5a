//! Where the map rounds.

use super::Matrix;
use half::bf16;
use himuon_templates::Mode;

/// What happens to a matrix at each point where the published code stores one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// Nothing.
    None,
    /// Each element to the nearest bfloat16, ties to even.
    Bf16,
}

impl Rounding {
    /// Of a mode.
    pub(crate) fn of(mode: Mode) -> Rounding {
        match mode {
            Mode::Accurate => Rounding::None,
            Mode::Reference => Rounding::Bf16,
        }
    }

    /// `matrix` as it is stored.
    pub(crate) fn store(self, matrix: Matrix) -> Matrix {
        match self {
            Rounding::None => matrix,
            Rounding::Bf16 => matrix.map(|v| bf16::from_f64(v).to_f64()),
        }
    }

    /// What is added to the norm: 1e-7 in the published code (arXiv 2606.27216).
    pub(crate) fn epsilon(self) -> f64 {
        match self {
            Rounding::None => 0.0,
            Rounding::Bf16 => 1e-7,
        }
    }
}
