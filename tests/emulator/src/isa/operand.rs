//! What an instruction reads and writes: register slots, constants, special registers.

/// A register slot, or with [`Src::CONSTANT`] set a slot of the kernel's constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Src(pub u32);

impl Src {
    const CONSTANT: u32 = 1 << 31;

    pub(crate) fn register(slot: u32) -> Self {
        Self(slot)
    }

    pub(crate) fn constant(slot: u32) -> Self {
        Self(slot | Self::CONSTANT)
    }

    /// The constant's slot, or `Err` with the register's.
    pub(crate) fn split(self) -> Result<usize, usize> {
        if self.0 & Self::CONSTANT != 0 {
            Ok((self.0 & !Self::CONSTANT) as usize)
        } else {
            Err(self.0 as usize)
        }
    }
}

/// A destination register: slot, and width in bits for instructions that widen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reg(pub u32);

/// A predicate register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pred(pub u32);

/// A predicate that is read: a register, possibly negated, or a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PredSrc {
    Register { pred: Pred, negated: bool },
    Literal(bool),
}

/// A value known before the launch, the same in every lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    Bits(u64),
    /// Address of a module variable plus an offset.
    Global {
        index: u32,
        offset: i64,
    },
    /// Start of dynamic shared memory plus an offset, `window` added for a generic address.
    DynamicShared {
        offset: i64,
    },
}

/// Registers that the hardware fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    Thread(u8),
    BlockExtent(u8),
    Block(u8),
    GridExtent(u8),
    Lane,
    Warp,
    Warps,
    Zero,
    One,
    LaneMaskEq,
    LaneMaskLt,
    LaneMaskLe,
    LaneMaskGt,
    LaneMaskGe,
    Multiprocessors,
    DynamicSharedBytes,
    TotalSharedBytes,
}
