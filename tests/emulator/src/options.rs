//! How a launch is executed: checks, order, threads and limits.

/// The order in which blocks and warps run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Blocks in index order; in a block, warp after warp, each until it must wait. The same on every run.
    #[default]
    Lockstep,
    /// Blocks in a shuffled order and warps in random slices, from this seed. A kernel whose bits depend on the order
    /// gives itself away.
    Random(u64),
}

/// How the terms of a tensor product are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sums {
    /// Exactly, and rounded once.
    #[default]
    Exact,
    /// As tensor cores do, by the measurements on an A100 (Fasi, Higham, Mikaitis, Pranesh, 2021): four products of tf32 or
    /// eight of 16 bits and the accumulator at a time, each cut off one place below the last one of the largest, and their
    /// sum cut off to f32. Sums in f16 stay exact.
    Truncated,
}

/// Options of one launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionOptions {
    /// Check every access for initialisation, races and conflicts between blocks. Bounds and alignment are always
    /// checked: without them there is nothing to execute.
    pub checks: bool,
    /// Report global memory written by one block and touched by another of the same launch. Only with `checks`.
    pub block_conflicts: bool,
    /// Order of blocks and warps.
    pub order: Order,
    /// Operating-system threads over which blocks are spread; 0 means one per core.
    pub threads: usize,
    /// Warp instructions of one block after which it is given up as endless.
    pub max_instructions_per_block: u64,
    /// How tensor products are added up.
    pub sums: Sums,
    /// Shared bytes a block may ask for; `None` means the device's opt-in limit.
    pub shared_limit: Option<u32>,
}

impl Default for ExecutionOptions {
    fn default() -> Self {
        Self {
            checks: true,
            block_conflicts: true,
            order: Order::Lockstep,
            threads: 0,
            max_instructions_per_block: 500_000_000,
            sums: Sums::Exact,
            shared_limit: None,
        }
    }
}
