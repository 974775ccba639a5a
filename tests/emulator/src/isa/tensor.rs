//! Tensor products.

use super::operand::{Reg, Src};
use crate::counters::MmaShape;

/// Element types of a tensor product's factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MmaOperand {
    F16,
    Bf16,
    Tf32,
}

/// `D = A B + C` on fragments held by the 32 lanes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mma {
    pub shape: MmaShape,
    pub operand: MmaOperand,
    /// Accumulator C and result D in f16 instead of f32.
    pub half_c: bool,
    pub half_d: bool,
    pub d: Box<[Reg]>,
    pub a: Box<[Src]>,
    pub b: Box<[Src]>,
    pub c: Box<[Src]>,
}
