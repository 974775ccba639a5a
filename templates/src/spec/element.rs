//! Types and rounding.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A type of numbers in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// IEEE binary32.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE binary16.
    F16,
}

impl Element {
    /// Bytes of one number.
    pub const fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::Bf16 | Element::F16 => 2,
        }
    }
}

/// Types of the tensors of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Storage {
    /// Weight and gradient: `f32`, `bf16` or `f16`.
    pub weight: Element,
    /// Momentum: `f32` or `bf16`.
    pub momentum: Element,
    /// Whether the optimizer keeps what an f32 weight has more than the bf16 one: 16 bits an element, with which
    /// decay and step are computed as if the weight were f32. For `bf16` weights only.
    pub master_weights: bool,
}

impl Storage {
    /// Everything in `f32`.
    pub const F32: Storage = Storage {
        weight: Element::F32,
        momentum: Element::F32,
        master_weights: false,
    };

    /// Bytes that the optimizer keeps of each master weight, beside the weight itself.
    pub const fn remainder_bytes(self) -> usize {
        if self.master_weights { 2 } else { 0 }
    }
}

/// Type of the operands of the matrix products; accumulation is in `f32` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operand {
    /// Within 1e-4 of the same map in f64. The CPU's only operand type.
    F32,
    /// One TF32 term.
    Tf32,
    /// bfloat16.
    Bf16,
    /// IEEE binary16.
    F16,
}

/// Where the map rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// X stays in `f32` between the steps; the norm is scaled so that it neither overflows nor underflows.
    Accurate,
    /// The rounding points of the published code (arXiv 2606.27216): the tile to bf16 before the norm,
    /// `eps` = 1e-7 added to it; X, A, B, BX and the new X each rounded to bf16; momentum in the gradient's type.
    Reference,
}

/// A finite `f32` with a total order by value (-0 is stored as 0).
#[derive(Clone, Copy, Debug)]
pub struct Finite(f32);

impl Finite {
    /// 0.
    pub const ZERO: Finite = Finite(0.0);

    /// `value` if it is finite.
    pub const fn new(value: f32) -> Option<Finite> {
        if value.is_finite() {
            Some(Finite(if value == 0.0 { 0.0 } else { value }))
        } else {
            None
        }
    }

    /// The value whose IEEE bits are `bits`, if it is finite: for generated code, which states exact bits.
    pub const fn from_bits(bits: u32) -> Option<Finite> {
        Finite::new(f32::from_bits(bits))
    }

    /// The number.
    pub const fn get(self) -> f32 {
        self.0
    }
}

impl PartialEq for Finite {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Finite {}
impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Finite {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl Hash for Finite {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}
