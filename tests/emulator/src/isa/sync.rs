//! Barriers and mbarrier objects.

use super::operand::{Pred, PredSrc, Reg, Src};

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
