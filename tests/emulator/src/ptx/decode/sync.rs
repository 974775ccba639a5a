//! Barriers, fences, mbarrier objects and hints to the scheduler.

use super::modifiers::Modifiers;
use super::{Decoded, Decoder};
use crate::counters::InstructionKind as Kind;
use crate::isa::{Barrier, BarrierMode, BarrierReduce, MbarrierOp, MemSpace, Op, Src};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::Type;

const W: Type = Type::B32;

impl<'a> Decoder<'a> {
    pub(super) fn sync(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Decoded {
        let decoded = match m.name() {
            "bar" | "barrier" if m.has("cluster") => {
                return Err(self.error("clusters are not supported"));
            }
            "bar" if m.take("warp") => {
                m.take("sync");
                let members = match operands.first() {
                    Some(members) => self.src(members, W)?,
                    None => self.all_lanes(),
                };
                (Op::WarpSync { members }, Kind::Exchange)
            }
            "bar" | "barrier" => (self.barrier(m, operands)?, Kind::Barrier),
            "membar" | "fence" => (self.fence(m)?, Kind::Fence),
            "nanosleep" => {
                m.take("u32");
                (Op::Yield, Kind::Fence)
            }
            // Without dependent launches the grid before has always finished; register limits have no effect here.
            "griddepcontrol" | "setmaxnreg" | "pmevent" => {
                m.drop_all(|_| true);
                (Op::Hint, Kind::Fence)
            }
            "mbarrier" => (self.mbarrier(m, operands)?, Kind::Barrier),
            "cp" if m.has("async") && m.has("mbarrier") => {
                (self.async_arrive(m, operands)?, Kind::Async)
            }
            _ => return Ok(None),
        };
        Ok(Some(decoded))
    }

    fn barrier(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        m.take("cta");
        // `bar` is short for `barrier` with `.aligned`.
        let aligned = m.take("aligned") || m.name() == "bar";
        if m.take("sync") {
            self.expect_operands(operands, 1..=2)?;
            return self.barrier_op(BarrierMode::Sync, aligned, &operands[0], operands.get(1));
        }
        if m.take("arrive") {
            self.expect_operands(operands, 2..=2)?;
            return self.barrier_op(BarrierMode::Arrive, aligned, &operands[0], operands.get(1));
        }
        if !m.take("red") {
            return Err(self.error("expected `.sync`, `.arrive` or `.red`"));
        }
        self.expect_operands(operands, 3..=4)?;
        let reduce = if m.take("popc") {
            m.take("u32");
            BarrierReduce::Popc(self.dst(&operands[0], Type::U32)?)
        } else {
            m.take("pred");
            let dst = self.pred_dst(&operands[0])?;
            if m.take("and") {
                BarrierReduce::And(dst)
            } else if m.take("or") {
                BarrierReduce::Or(dst)
            } else {
                return Err(self.error("no reduction"));
            }
        };
        let pred = self.pred_src(&operands[operands.len() - 1])?;
        let threads = if operands.len() == 4 {
            operands.get(2)
        } else {
            None
        };
        self.barrier_op(
            BarrierMode::Reduce { op: reduce, pred },
            aligned,
            &operands[1],
            threads,
        )
    }

    fn barrier_op(
        &mut self,
        mode: BarrierMode,
        aligned: bool,
        id: &Operand<'a>,
        threads: Option<&Operand<'a>>,
    ) -> Result<Op, PtxError> {
        let id = self.src(id, W)?;
        let threads = match threads {
            Some(threads) => Some(self.src(threads, W)?),
            None => None,
        };
        Ok(Op::Barrier(Box::new(Barrier {
            mode,
            aligned,
            id,
            threads,
        })))
    }

    fn fence(&mut self, m: &mut Modifiers<'a>) -> Result<Op, PtxError> {
        if m.take("proxy") {
            let known = m.take("async") || m.take("alias") || m.take("async::generic");
            m.drop_all(|suffix| {
                matches!(
                    suffix,
                    "global"
                        | "shared::cta"
                        | "shared::cluster"
                        | "acquire"
                        | "release"
                        | "sync_restrict::shared::cta"
                        | "cluster"
                )
            });
            return if known {
                Ok(Op::ProxyFence)
            } else {
                Err(self.error("this proxy is not supported"))
            };
        }
        let block_only = m.take("cta");
        m.drop_all(|suffix| {
            matches!(
                suffix,
                "sc" | "acq_rel"
                    | "acquire"
                    | "release"
                    | "gpu"
                    | "gl"
                    | "sys"
                    | "cluster"
                    | "mbarrier_init"
            )
        });
        Ok(Op::Fence {
            device: !block_only,
        })
    }

    fn async_arrive(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        m.take("async");
        m.take("mbarrier");
        let whole = m.take("arrive");
        let no_increment = m.take("noinc");
        let space = self.mbarrier_space(m)?;
        m.take("b64");
        if !whole {
            return Err(self.error("expected `.arrive`"));
        }
        let address = self.address(self.operand(operands, 0)?)?;
        Ok(Op::Mbarrier {
            address,
            space,
            op: Box::new(MbarrierOp::AsyncArrive { no_increment }),
        })
    }

    fn mbarrier_space(&self, m: &mut Modifiers<'a>) -> Result<MemSpace, PtxError> {
        if m.take("shared::cluster") {
            return Err(self.error("clusters are not supported"));
        }
        Ok(if m.take("shared") || m.take("shared::cta") {
            MemSpace::Shared
        } else {
            MemSpace::Generic
        })
    }

    fn mbarrier(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        let space = self.mbarrier_space(m)?;
        self.order(m);
        m.take("b64");
        let operation = m.take_map(|suffix| {
            let known = [
                "init",
                "inval",
                "arrive",
                "arrive_drop",
                "expect_tx",
                "complete_tx",
                "test_wait",
                "try_wait",
                "pending_count",
            ];
            known.into_iter().find(|name| *name == suffix)
        });
        let one = self.bits(1);
        let (address, op) = match operation {
            Some("init") => {
                self.expect_operands(operands, 2..=2)?;
                (
                    &operands[0],
                    MbarrierOp::Init {
                        count: self.src(&operands[1], W)?,
                    },
                )
            }
            Some("inval") => (self.operand(operands, 0)?, MbarrierOp::Invalidate),
            Some("arrive" | "arrive_drop") => {
                return self.mbarrier_arrive(m, space, operation == Some("arrive_drop"), operands);
            }
            Some("expect_tx") => (
                self.operand(operands, 0)?,
                MbarrierOp::ExpectTx {
                    bytes: self.src(self.operand(operands, 1)?, W)?,
                },
            ),
            Some("complete_tx") => (
                self.operand(operands, 0)?,
                MbarrierOp::CompleteTx {
                    bytes: self.src(self.operand(operands, 1)?, W)?,
                },
            ),
            Some("test_wait" | "try_wait") => {
                let parity = m.take("parity");
                self.expect_operands(operands, 3..=4)?;
                let token = self.src(&operands[2], if parity { W } else { Type::B64 })?;
                let done = self.pred_dst(&operands[0])?;
                (
                    &operands[1],
                    MbarrierOp::Test {
                        done,
                        token,
                        parity,
                        suspend: operation == Some("try_wait"),
                    },
                )
            }
            Some("pending_count") => {
                self.expect_operands(operands, 2..=2)?;
                let op = MbarrierOp::Pending {
                    count: self.dst(&operands[0], W)?,
                    state: self.src(&operands[1], Type::B64)?,
                };
                return Ok(Op::Mbarrier {
                    address: crate::isa::Address {
                        base: one,
                        offset: 0,
                    },
                    space,
                    op: Box::new(op),
                });
            }
            _ => return Err(self.error("no such operation")),
        };
        let address = self.address(address)?;
        Ok(Op::Mbarrier {
            address,
            space,
            op: Box::new(op),
        })
    }

    fn mbarrier_arrive(
        &mut self,
        m: &mut Modifiers<'a>,
        space: MemSpace,
        drop: bool,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        // In the text `arrive.expect_tx` is two suffixes.
        let expects = m.take("expect_tx");
        if m.take("noComplete") {
            return Err(self.error("`.noComplete` is not supported"));
        }
        let has_state = !matches!(operands.first(), Some(Operand::Address { .. }));
        let first = usize::from(has_state);
        self.expect_operands(operands, first + 1 + usize::from(expects)..=first + 2)?;
        let state = match &operands[0] {
            operand if has_state => {
                self.dst_or_sink(operand, Type::B64, super::operand::Fit::Exact)?
            }
            _ => None,
        };
        let address = self.address(&operands[first])?;
        let last: Option<Src> = match operands.get(first + 1) {
            Some(operand) => Some(self.src(operand, W)?),
            None => None,
        };
        let one = self.bits(1);
        let (count, expect) = if expects {
            (one, last)
        } else {
            (last.unwrap_or(one), None)
        };
        Ok(Op::Mbarrier {
            address,
            space,
            op: Box::new(MbarrierOp::Arrive {
                state,
                count,
                expect,
                drop,
            }),
        })
    }
}
