//! The decoded form: what the front end hands to execution. Every name is resolved to a slot, every suffix to a type,
//! a function or a constant, so that execution never looks at text.

mod exchange;
mod memory;
mod operand;
mod sync;
mod tensor;

use crate::counters::InstructionKind;
use crate::lanes::{CompareFn, LaneFn};

pub(crate) use exchange::{BoolOp, ReduxOp, ShuffleMode, VoteMode};
pub(crate) use memory::{Address, AtomicOp, Bulk, Extend, FloatKind, MemOrder, MemSpace, Width};
pub(crate) use operand::{Constant, Pred, PredSrc, Reg, Special, Src};
pub(crate) use sync::{Barrier, BarrierMode, BarrierReduce, MbarrierOp};
pub(crate) use tensor::{Mma, MmaOperand};

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
