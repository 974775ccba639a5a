//! What a launch did, counted.

use std::collections::BTreeMap;
use std::fmt;

/// Kinds of instructions that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum InstructionKind {
    /// Integer arithmetic.
    Integer,
    /// Bitwise logic, shifts, permutes, fields.
    Logic,
    /// 32-bit floating point.
    Float32,
    /// 64-bit floating point.
    Float64,
    /// 16-bit floating point, packed or not.
    Half,
    /// Reciprocals, roots, exponentials and the like.
    Special,
    /// Conversions.
    Convert,
    /// Comparisons, selections and predicates.
    Compare,
    /// Moves, packing and unpacking, address conversions.
    Move,
    /// Loads of parameters.
    LoadParam,
    /// Loads from global or generic memory.
    LoadGlobal,
    /// Stores to global or generic memory.
    StoreGlobal,
    /// Loads from shared memory.
    LoadShared,
    /// Stores to shared memory.
    StoreShared,
    /// Loads and stores of local memory.
    Local,
    /// Matrix loads and stores.
    Matrix,
    /// Tensor products.
    Mma,
    /// Asynchronous copies, their groups and waits.
    Async,
    /// Atomics and reductions on memory.
    Atomic,
    /// Shuffles, votes and other exchanges in a warp.
    Exchange,
    /// Barriers.
    Barrier,
    /// Fences and hints.
    Fence,
    /// Branches, returns and exits.
    Control,
}

impl InstructionKind {
    /// Every kind, in the order of their discriminants.
    pub const ALL: [Self; 23] = [
        Self::Integer,
        Self::Logic,
        Self::Float32,
        Self::Float64,
        Self::Half,
        Self::Special,
        Self::Convert,
        Self::Compare,
        Self::Move,
        Self::LoadParam,
        Self::LoadGlobal,
        Self::StoreGlobal,
        Self::LoadShared,
        Self::StoreShared,
        Self::Local,
        Self::Matrix,
        Self::Mma,
        Self::Async,
        Self::Atomic,
        Self::Exchange,
        Self::Barrier,
        Self::Fence,
        Self::Control,
    ];
}

/// The shape and element types of a tensor instruction, as the PTX names them: `m16n8k16 f32.bf16.bf16.f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MmaShape {
    /// Rows.
    pub m: u8,
    /// Columns.
    pub n: u8,
    /// Depth.
    pub k: u8,
    /// Element type of the factors.
    pub operand: &'static str,
    /// Element type of the accumulator.
    pub accumulator: &'static str,
}

impl fmt::Display for MmaShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "m{}n{}k{} {} -> {}",
            self.m, self.n, self.k, self.operand, self.accumulator
        )
    }
}

/// Shared-memory traffic. A wavefront is one pass of the 32 banks of 4 bytes: up to 128 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedTraffic {
    /// Passes that the accesses took, bank conflicts included.
    pub wavefronts: u64,
    /// Passes that the same bytes would take without a conflict.
    pub ideal_wavefronts: u64,
    /// Bytes read by lanes.
    pub bytes_read: u64,
    /// Bytes written by lanes.
    pub bytes_written: u64,
}

/// Global-memory traffic. A sector is 32 aligned bytes; each warp instruction counts a sector once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GlobalTraffic {
    /// Sectors read.
    pub sectors_read: u64,
    /// Sectors written.
    pub sectors_written: u64,
    /// Bytes read by lanes.
    pub bytes_read: u64,
    /// Bytes written by lanes.
    pub bytes_written: u64,
}

/// Barriers: block barriers completed and warp arrivals at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BarrierCounts {
    /// Times that a barrier completed.
    pub completed: u64,
    /// Warp arrivals.
    pub arrivals: u64,
}

/// Counts of one launch, over all its blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Warp instructions issued, predicated-off ones included.
    pub warp_instructions: u64,
    /// Warp instructions by kind.
    pub by_kind: BTreeMap<InstructionKind, u64>,
    /// Tensor instructions by shape.
    pub mma: BTreeMap<MmaShape, u64>,
    /// Shared-memory traffic.
    pub shared: SharedTraffic,
    /// Global-memory traffic.
    pub global: GlobalTraffic,
    /// Block barriers.
    pub barriers: BarrierCounts,
    /// Branches at which a warp split.
    pub divergent_branches: u64,
    /// Blocks run.
    pub blocks: u64,
}

impl Counters {
    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Self) {
        self.warp_instructions += other.warp_instructions;
        for (kind, count) in &other.by_kind {
            *self.by_kind.entry(*kind).or_default() += count;
        }
        for (shape, count) in &other.mma {
            *self.mma.entry(*shape).or_default() += count;
        }
        self.shared.wavefronts += other.shared.wavefronts;
        self.shared.ideal_wavefronts += other.shared.ideal_wavefronts;
        self.shared.bytes_read += other.shared.bytes_read;
        self.shared.bytes_written += other.shared.bytes_written;
        self.global.sectors_read += other.global.sectors_read;
        self.global.sectors_written += other.global.sectors_written;
        self.global.bytes_read += other.global.bytes_read;
        self.global.bytes_written += other.global.bytes_written;
        self.barriers.completed += other.barriers.completed;
        self.barriers.arrivals += other.barriers.arrivals;
        self.divergent_branches += other.divergent_branches;
        self.blocks += other.blocks;
    }

    /// Warp instructions of one kind.
    pub fn kind(&self, kind: InstructionKind) -> u64 {
        self.by_kind.get(&kind).copied().unwrap_or(0)
    }
}
