//! Memory operands: state spaces, addresses, widths, and what is done to memory.

use super::operand::Src;

/// Memory that an instruction names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemSpace {
    Global,
    Shared,
    Local,
    Param,
    Generic,
}

/// `[base + offset]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub base: Src,
    pub offset: i64,
}

/// How a loaded element fills its register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extend {
    Zero,
    /// Sign-extend to this many bits.
    Sign(u32),
}

/// Ordering of a memory access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemOrder {
    Weak,
    /// `volatile`, `relaxed`, `acquire`, `release`: synchronisation, exempt from race checks.
    Strong,
}

/// A load or store of one element or a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Width {
    /// Bytes of one element: 1, 2, 4 or 8.
    pub element: u32,
    /// Elements.
    pub count: u32,
}

impl Width {
    pub(crate) fn bytes(self) -> u32 {
        self.element * self.count
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtomicOp {
    Add,
    FloatAdd(FloatKind),
    And,
    Or,
    Xor,
    Exchange,
    CompareSwap,
    Min { signed: bool },
    Max { signed: bool },
    FloatMin(FloatKind),
    FloatMax(FloatKind),
    Inc,
    Dec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloatKind {
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
}

/// Directions of one-dimensional bulk copies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bulk {
    GlobalToShared {
        destination: Address,
        source: Address,
        bytes: Src,
        mbarrier: Address,
    },
    SharedToGlobal {
        destination: Address,
        source: Address,
        bytes: Src,
    },
}
