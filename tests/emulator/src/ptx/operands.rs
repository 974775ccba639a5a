//! Which registers each decoded instruction reads and writes: the one list that liveness and the checks share.

use crate::isa::{
    Address, BarrierMode, BarrierReduce, Bulk, MbarrierOp, Op, Pred, PredSrc, Reg, Src,
};

/// Register slots of one instruction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operands {
    /// Read, and required to be initialised.
    pub reads: Vec<u32>,
    /// Read by copies, through which an uninitialised value may pass.
    pub copies: Vec<u32>,
    pub writes: Vec<u32>,
    pub pred_reads: Vec<u32>,
    pub pred_writes: Vec<u32>,
}

impl Operands {
    fn src(&mut self, src: Src) {
        if let Err(register) = src.split() {
            self.reads.push(register as u32);
        }
    }

    fn copy(&mut self, src: Src) {
        if let Err(register) = src.split() {
            self.copies.push(register as u32);
        }
    }

    fn srcs(&mut self, srcs: &[Src]) {
        srcs.iter().for_each(|src| self.src(*src));
    }

    fn address(&mut self, address: Address) {
        self.src(address.base);
    }

    fn dst(&mut self, dst: Reg) {
        self.writes.push(dst.0);
    }

    fn pred(&mut self, pred: PredSrc) {
        if let PredSrc::Register { pred, .. } = pred {
            self.pred_reads.push(pred.0);
        }
    }

    fn pred_dst(&mut self, pred: Pred) {
        self.pred_writes.push(pred.0);
    }

    /// The registers of an operation and of the guard before it.
    pub(crate) fn of(op: &Op, guard: Option<(Pred, bool)>) -> Self {
        let mut operands = Self::default();
        if let Some((pred, _)) = guard {
            operands.pred_reads.push(pred.0);
        }
        operands.visit(op);
        operands
    }

    fn visit(&mut self, op: &Op) {
        match op {
            Op::Lanes { f, dst, src } => {
                self.srcs(&src[..f.arity()]);
                self.dst(*dst);
            }
            Op::Move { dst, src, .. } => {
                self.copy(*src);
                self.dst(*dst);
            }
            Op::Carry { dst, src, .. } => {
                self.srcs(src);
                self.dst(*dst);
            }
            Op::CarryMad { dst, src, .. } => {
                self.srcs(src);
                self.dst(*dst);
            }
            Op::Pack { dst, parts, .. } => {
                parts.iter().for_each(|part| self.copy(*part));
                self.dst(*dst);
            }
            Op::Unpack { dsts, src, .. } => {
                self.copy(*src);
                dsts.iter().flatten().for_each(|dst| self.dst(*dst));
            }
            Op::Select {
                dst, a, b, pred, ..
            } => {
                self.copy(*a);
                self.copy(*b);
                self.pred(*pred);
                self.dst(*dst);
            }
            Op::Compare {
                src,
                combine,
                dst,
                complement,
                ..
            } => {
                self.srcs(src);
                combine.iter().for_each(|(_, pred)| self.pred(*pred));
                dst.iter()
                    .chain(complement)
                    .for_each(|pred| self.pred_dst(*pred));
            }
            Op::Set {
                src, combine, dst, ..
            } => {
                self.srcs(src);
                combine.iter().for_each(|(_, pred)| self.pred(*pred));
                self.dst(*dst);
            }
            Op::PredLogic { dst, a, b, .. } => {
                self.pred(*a);
                self.pred(*b);
                self.pred_dst(*dst);
            }
            Op::Clock { dst } | Op::ActiveMask { dst } => self.dst(*dst),
            Op::IsSpace { dst, src, .. } => {
                self.src(*src);
                self.pred_dst(*dst);
            }
            Op::Branch { .. } | Op::Exit | Op::Trap | Op::Hint | Op::Yield => {}
            Op::BranchTable { index, .. } => self.src(*index),
            _ => self.visit_memory(op),
        }
    }

    fn visit_memory(&mut self, op: &Op) {
        match op {
            Op::Load { address, dsts, .. } => {
                self.address(*address);
                dsts.iter().flatten().for_each(|dst| self.dst(*dst));
            }
            Op::Store { address, srcs, .. } => {
                self.address(*address);
                self.srcs(srcs);
            }
            Op::Atomic {
                address, dst, src, ..
            } => {
                self.address(*address);
                self.srcs(src);
                dst.iter().for_each(|dst| self.dst(*dst));
            }
            Op::CopyAsync {
                destination,
                source,
                source_bytes,
                ignore,
                ..
            } => {
                self.address(*destination);
                self.address(*source);
                source_bytes.iter().for_each(|bytes| self.src(*bytes));
                self.pred(*ignore);
            }
            Op::Bulk(Bulk::GlobalToShared {
                destination,
                source,
                bytes,
                mbarrier,
            }) => {
                [destination, source, mbarrier]
                    .into_iter()
                    .for_each(|address| self.address(*address));
                self.src(*bytes);
            }
            Op::Bulk(Bulk::SharedToGlobal {
                destination,
                source,
                bytes,
            }) => {
                self.address(*destination);
                self.address(*source);
                self.src(*bytes);
            }
            Op::LoadMatrix { dsts, address, .. } => {
                self.address(*address);
                dsts.iter().for_each(|dst| self.dst(*dst));
            }
            Op::StoreMatrix { srcs, address, .. } => {
                self.address(*address);
                self.srcs(srcs);
            }
            Op::Mma(mma) => {
                self.srcs(&mma.a);
                self.srcs(&mma.b);
                self.srcs(&mma.c);
                mma.d.iter().for_each(|dst| self.dst(*dst));
            }
            _ => self.visit_exchange(op),
        }
    }

    fn visit_exchange(&mut self, op: &Op) {
        match op {
            Op::Shuffle {
                dst,
                valid,
                src,
                lane,
                clamp,
                members,
                ..
            } => {
                self.srcs(&[*src, *lane, *clamp, *members]);
                self.dst(*dst);
                valid.iter().for_each(|pred| self.pred_dst(*pred));
            }
            Op::Ballot {
                dst, pred, members, ..
            } => {
                self.src(*members);
                self.pred(*pred);
                self.dst(*dst);
            }
            Op::VotePred {
                dst, pred, members, ..
            } => {
                self.src(*members);
                self.pred(*pred);
                self.pred_dst(*dst);
            }
            Op::Match {
                dst,
                pred,
                src,
                members,
                ..
            } => {
                self.srcs(&[*src, *members]);
                self.dst(*dst);
                pred.iter().for_each(|pred| self.pred_dst(*pred));
            }
            Op::Redux {
                dst, src, members, ..
            } => {
                self.srcs(&[*src, *members]);
                self.dst(*dst);
            }
            Op::Elect { dst, pred, members } => {
                self.src(*members);
                dst.iter().for_each(|dst| self.dst(*dst));
                self.pred_dst(*pred);
            }
            Op::WarpSync { members } => self.src(*members),
            Op::Barrier(barrier) => {
                self.src(barrier.id);
                barrier
                    .threads
                    .iter()
                    .for_each(|threads| self.src(*threads));
                if let BarrierMode::Reduce { op, pred } = barrier.mode {
                    self.pred(pred);
                    match op {
                        BarrierReduce::Popc(dst) => self.dst(dst),
                        BarrierReduce::And(dst) | BarrierReduce::Or(dst) => self.pred_dst(dst),
                    }
                }
            }
            Op::Mbarrier { address, op, .. } => self.visit_mbarrier(*address, op),
            _ => {}
        }
    }

    fn visit_mbarrier(&mut self, address: Address, op: &MbarrierOp) {
        self.address(address);
        match op {
            MbarrierOp::Init { count } => self.src(*count),
            MbarrierOp::Arrive {
                state,
                count,
                expect,
                ..
            } => {
                self.src(*count);
                expect.iter().for_each(|bytes| self.src(*bytes));
                state.iter().for_each(|state| self.dst(*state));
            }
            MbarrierOp::ExpectTx { bytes } | MbarrierOp::CompleteTx { bytes } => self.src(*bytes),
            MbarrierOp::Test { done, token, .. } => {
                self.src(*token);
                self.pred_dst(*done);
            }
            MbarrierOp::Pending { count, state } => {
                self.src(*state);
                self.dst(*count);
            }
            MbarrierOp::Invalidate | MbarrierOp::AsyncArrive { .. } => {}
        }
    }
}
