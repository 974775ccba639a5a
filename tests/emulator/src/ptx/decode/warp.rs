//! Exchanges between the lanes of a warp.

use super::modifiers::Modifiers;
use super::operand::Fit;
use super::{Decoded, Decoder};
use crate::counters::InstructionKind as Kind;
use crate::isa::{Op, ReduxOp, ShuffleMode, Src, VoteMode};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::Type;

const W: Type = Type::B32;

impl<'a> Decoder<'a> {
    pub(super) fn warp(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Decoded {
        let op = match m.name() {
            "shfl" => self.shuffle(m, operands)?,
            "vote" => self.vote(m, operands)?,
            "match" => self.match_lanes(m, operands)?,
            "redux" => self.redux(m, operands)?,
            "activemask" => {
                m.take("b32");
                Op::ActiveMask {
                    dst: self.dst(self.operand(operands, 0)?, W)?,
                }
            }
            "elect" => self.elect(m, operands)?,
            _ => return Ok(None),
        };
        Ok(Some((op, Kind::Exchange)))
    }

    /// The variants without `.sync` ended with sm_70.
    fn require_sync(&self, m: &mut Modifiers<'a>) -> Result<(), PtxError> {
        if m.take("sync") {
            Ok(())
        } else {
            Err(self.error("only the `.sync` form exists since sm_70"))
        }
    }

    fn shuffle(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        self.require_sync(m)?;
        let mode = m.take_map(|suffix| {
            Some(match suffix {
                "up" => ShuffleMode::Up,
                "down" => ShuffleMode::Down,
                "bfly" => ShuffleMode::Butterfly,
                "idx" => ShuffleMode::Index,
                _ => return None,
            })
        });
        let mode = mode.ok_or_else(|| self.error("no mode"))?;
        m.take("b32");
        self.expect_operands(operands, 5..=5)?;
        let (dst, valid) = match &operands[0] {
            Operand::Pair(dst, valid) => (dst.as_ref(), self.pred_dst_or_sink(valid)?),
            dst => (dst, None),
        };
        Ok(Op::Shuffle {
            mode,
            dst: self.dst(dst, W)?,
            valid,
            src: self.src(&operands[1], W)?,
            lane: self.src(&operands[2], W)?,
            clamp: self.src(&operands[3], W)?,
            members: self.src(&operands[4], W)?,
        })
    }

    fn vote(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        self.require_sync(m)?;
        self.expect_operands(operands, 3..=3)?;
        let pred = self.pred_src(&operands[1])?;
        let members = self.src(&operands[2], W)?;
        if m.take("ballot") {
            m.take("b32");
            return Ok(Op::Ballot {
                dst: self.dst(&operands[0], W)?,
                pred,
                members,
            });
        }
        let mode = m.take_map(|suffix| {
            Some(match suffix {
                "all" => VoteMode::All,
                "any" => VoteMode::Any,
                "uni" => VoteMode::Uniform,
                _ => return None,
            })
        });
        let mode = mode.ok_or_else(|| self.error("no mode"))?;
        m.take("pred");
        Ok(Op::VotePred {
            mode,
            dst: self.pred_dst(&operands[0])?,
            pred,
            members,
        })
    }

    fn match_lanes(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        self.require_sync(m)?;
        let all = m.take("all");
        let any = m.take("any");
        let ty = self.type_of(m)?;
        if all == any || !matches!(ty, Type::B32 | Type::B64) {
            return Err(self.error("expected `.any` or `.all`, and b32 or b64"));
        }
        self.expect_operands(operands, 3..=3)?;
        let (dst, pred) = match &operands[0] {
            Operand::Pair(dst, pred) => (dst.as_ref(), self.pred_dst_or_sink(pred)?),
            dst => (dst, None),
        };
        let dst = self.dst(dst, W)?;
        Ok(Op::Match {
            all,
            bits: ty.bits(),
            dst,
            pred,
            src: self.src(&operands[1], ty)?,
            members: self.src(&operands[2], W)?,
        })
    }

    fn redux(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        self.require_sync(m)?;
        let name = m.take_map(|suffix| {
            ["add", "min", "max", "and", "or", "xor"]
                .into_iter()
                .find(|name| *name == suffix)
        });
        let ty = self.type_of(m)?;
        let op = match (name, ty) {
            (Some("add"), Type::U32 | Type::S32) => ReduxOp::Add,
            (Some("min"), Type::U32) => ReduxOp::Min,
            (Some("max"), Type::U32) => ReduxOp::Max,
            (Some("min"), Type::S32) => ReduxOp::MinSigned,
            (Some("max"), Type::S32) => ReduxOp::MaxSigned,
            (Some("and"), Type::B32) => ReduxOp::And,
            (Some("or"), Type::B32) => ReduxOp::Or,
            (Some("xor"), Type::B32) => ReduxOp::Xor,
            _ => return Err(self.error("no such reduction of this type")),
        };
        self.expect_operands(operands, 3..=3)?;
        Ok(Op::Redux {
            op,
            dst: self.dst(&operands[0], ty)?,
            src: self.src(&operands[1], ty)?,
            members: self.src(&operands[2], W)?,
        })
    }

    fn elect(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        self.require_sync(m)?;
        self.expect_operands(operands, 2..=2)?;
        let Operand::Pair(dst, pred) = &operands[0] else {
            return Err(self.error("expected `register|predicate`"));
        };
        let members = self.src(&operands[1], W)?;
        Ok(Op::Elect {
            dst: self.dst_or_sink(dst, W, Fit::Exact)?,
            pred: self.pred_dst(pred)?,
            members,
        })
    }

    /// Every lane: the member mask of instructions that have none.
    pub(super) fn all_lanes(&mut self) -> Src {
        self.bits(u64::from(u32::MAX))
    }
}
