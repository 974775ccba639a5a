//! The decoded form: what the front end hands to execution. Every name is resolved to a slot, every suffix to a type,
//! a function or a constant, so that execution never looks at text.

use crate::counters::{InstructionKind, MmaShape};
use crate::lanes::{CompareFn, LaneFn};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoolOp {
    And,
    Or,
    Xor,
}

impl BoolOp {
    pub(crate) fn apply(self, a: u32, b: u32) -> u32 {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Index,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VoteMode {
    All,
    Any,
    Uniform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReduxOp {
    Add,
    Min,
    Max,
    MinSigned,
    MaxSigned,
    And,
    Or,
    Xor,
}

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

/// `bar` and `barrier`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Barrier {
    pub mode: BarrierMode,
    pub aligned: bool,
    pub id: Src,
    /// Threads that take part; all of the block without it.
    pub threads: Option<Src>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum BarrierMode {
    Sync,
    Arrive,
    Reduce { op: BarrierReduce, pred: PredSrc },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BarrierReduce {
    Popc(Reg),
    And(Pred),
    Or(Pred),
}

/// Operations on mbarrier objects.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MbarrierOp {
    Init {
        count: Src,
    },
    Invalidate,
    /// `arrive`, with `expect` bytes for `expect_tx`, `drop`, `no_complete`.
    Arrive {
        state: Option<Reg>,
        count: Src,
        expect: Option<Src>,
        drop: bool,
    },
    ExpectTx {
        bytes: Src,
    },
    CompleteTx {
        bytes: Src,
    },
    /// `test_wait` and `try_wait`, by state or by phase parity.
    Test {
        done: Pred,
        token: Src,
        parity: bool,
        suspend: bool,
    },
    Pending {
        count: Reg,
        state: Src,
    },
    /// `cp.async.mbarrier.arrive`: arrives when the lane's earlier copies are done.
    AsyncArrive {
        no_increment: bool,
    },
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

/// What an instruction does.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// A function of up to four sources, lane by lane.
    Lanes {
        f: LaneFn,
        dst: Reg,
        src: [Src; 4],
    },
    /// A copy; an uninitialised source leaves the destination uninitialised.
    Move {
        dst: Reg,
        src: Src,
        mask: u64,
    },
    /// Addition or subtraction through the carry flag.
    Carry {
        subtract: bool,
        carry_in: bool,
        carry_out: bool,
        bits: u32,
        dst: Reg,
        src: [Src; 2],
    },
    /// Multiply-add through the carry flag: low or high half of the product.
    CarryMad {
        high: bool,
        signed: bool,
        carry_in: bool,
        carry_out: bool,
        bits: u32,
        dst: Reg,
        src: [Src; 3],
    },
    /// Joins parts of `bits` each, lowest first.
    Pack {
        dst: Reg,
        parts: Box<[Src]>,
        bits: u32,
    },
    /// Splits into parts of `bits` each, lowest first.
    Unpack {
        dsts: Box<[Option<Reg>]>,
        src: Src,
        bits: u32,
    },
    Select {
        dst: Reg,
        a: Src,
        b: Src,
        pred: PredSrc,
        mask: u64,
    },
    Compare {
        f: CompareFn,
        src: [Src; 2],
        combine: Option<(BoolOp, PredSrc)>,
        dst: Option<Pred>,
        complement: Option<Pred>,
    },
    /// `set`: a comparison whose result is all ones or 1.0 in a register.
    Set {
        f: CompareFn,
        src: [Src; 2],
        combine: Option<(BoolOp, PredSrc)>,
        dst: Reg,
        truth: u64,
    },
    PredLogic {
        op: BoolOp,
        dst: Pred,
        a: PredSrc,
        b: PredSrc,
    },
    Clock {
        dst: Reg,
    },
    ActiveMask {
        dst: Reg,
    },
    IsSpace {
        dst: Pred,
        src: Src,
        space: MemSpace,
    },
    Load {
        space: MemSpace,
        width: Width,
        extend: Extend,
        order: MemOrder,
        address: Address,
        dsts: Box<[Option<Reg>]>,
    },
    Store {
        space: MemSpace,
        width: Width,
        order: MemOrder,
        address: Address,
        srcs: Box<[Src]>,
    },
    Atomic {
        space: MemSpace,
        op: AtomicOp,
        bytes: u32,
        address: Address,
        dst: Option<Reg>,
        src: [Src; 2],
    },
    /// `cp.async`: `size` bytes, of which `source_bytes` are read and the rest zero.
    CopyAsync {
        destination: Address,
        source: Address,
        bytes: u32,
        source_bytes: Option<Src>,
        ignore: PredSrc,
    },
    CommitGroup,
    /// Waits until at most `pending` groups are under way; without a number, for every copy, grouped or not.
    WaitGroup {
        pending: Option<u32>,
    },
    Bulk(Bulk),
    BulkCommit,
    BulkWait {
        pending: u32,
    },
    LoadMatrix {
        trans: bool,
        dsts: Box<[Reg]>,
        address: Address,
    },
    StoreMatrix {
        trans: bool,
        srcs: Box<[Src]>,
        address: Address,
    },
    Mma(Box<Mma>),
    Shuffle {
        mode: ShuffleMode,
        dst: Reg,
        valid: Option<Pred>,
        src: Src,
        lane: Src,
        clamp: Src,
        members: Src,
    },
    Ballot {
        dst: Reg,
        pred: PredSrc,
        members: Src,
    },
    VotePred {
        mode: VoteMode,
        dst: Pred,
        pred: PredSrc,
        members: Src,
    },
    Match {
        all: bool,
        bits: u32,
        dst: Reg,
        pred: Option<Pred>,
        src: Src,
        members: Src,
    },
    Redux {
        op: ReduxOp,
        dst: Reg,
        src: Src,
        members: Src,
    },
    Elect {
        dst: Option<Reg>,
        pred: Pred,
        members: Src,
    },
    WarpSync {
        members: Src,
    },
    Barrier(Box<Barrier>),
    Mbarrier {
        address: Address,
        space: MemSpace,
        op: Box<MbarrierOp>,
    },
    /// Orders memory; `device` when other blocks are meant.
    Fence {
        device: bool,
    },
    ProxyFence,
    /// A hint without effect on results.
    Hint,
    /// Gives way to other warps.
    Yield,
    Branch {
        target: u32,
        reconverge: u32,
    },
    BranchTable {
        index: Src,
        targets: Box<[u32]>,
        reconverge: u32,
    },
    Exit,
    Trap,
}

/// One decoded instruction.
#[derive(Debug, Clone)]
pub(crate) struct Inst {
    /// Lanes for which the predicate holds execute; all of them without it.
    pub guard: Option<(Pred, bool)>,
    pub op: Op,
    pub line: u32,
    pub kind: InstructionKind,
}

/// No reconvergence before the end of the kernel.
pub(crate) const NEVER: u32 = u32::MAX;
