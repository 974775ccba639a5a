//! Where the map rounds.

use super::Matrix;
use half::{bf16, f16};
use himuon_templates::{Mode, Operand};

/// The rounding points of one map; all other arithmetic is in `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rounding {
    /// The published code's: each matrix that it stores.
    mode: Mode,
    /// The factors of each matrix product.
    operand: Operand,
}

impl Rounding {
    /// The rounding points of a mode; operands as they are.
    pub(crate) fn of(mode: Mode) -> Rounding {
        Rounding {
            mode,
            operand: Operand::F32,
        }
    }

    /// With the factors of each product rounded to `operand` (`F32`: not at all).
    pub(crate) fn with_operand(self, operand: Operand) -> Rounding {
        Rounding { operand, ..self }
    }

    /// `matrix` as it is stored.
    pub(crate) fn store(self, matrix: Matrix) -> Matrix {
        match self.mode {
            Mode::Accurate => matrix,
            Mode::Reference => matrix.map(|v| bf16::from_f64(v).to_f64()),
        }
    }

    /// What is added to the norm: 1e-7 in the published code (arXiv 2606.27216).
    pub(crate) fn epsilon(self) -> f64 {
        match self.mode {
            Mode::Accurate => 0.0,
            Mode::Reference => 1e-7,
        }
    }

    /// left * right.
    pub(crate) fn product(self, left: &Matrix, right: &Matrix) -> Matrix {
        match self.operand {
            Operand::F32 => left.product(right),
            _ => self.factor(left).product(&self.factor(right)),
        }
    }

    /// x x^T.
    pub(crate) fn gram(self, x: &Matrix) -> Matrix {
        match self.operand {
            Operand::F32 => x.gram(),
            _ => self.factor(x).gram(),
        }
    }

    fn factor(self, matrix: &Matrix) -> Matrix {
        matrix.map(|value| match self.operand {
            Operand::F32 => value,
            Operand::Tf32 => to_tf32(value),
            Operand::Bf16 => bf16::from_f64(value).to_f64(),
            Operand::F16 => f16::from_f64(value).to_f64(),
        })
    }
}

/// The nearest number with the 10 explicit mantissa bits of TF32, ties away from zero (`cvt.rna.tf32`).
fn to_tf32(value: f64) -> f64 {
    const DROPPED: u32 = 13;
    let bits = (value as f32).to_bits();
    let rounded = bits.wrapping_add(1 << (DROPPED - 1)) & !((1 << DROPPED) - 1);
    f64::from(f32::from_bits(rounded))
}
