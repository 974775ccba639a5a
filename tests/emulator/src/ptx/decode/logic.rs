//! Bitwise logic, shifts, fields, permutes; and the same on predicates.

use super::modifiers::Modifiers;
use super::{Decoded, Decoder};
use crate::counters::InstructionKind as Kind;
use crate::isa::{BoolOp, Op, PredSrc};
use crate::lanes::bits::{self, Permute};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::Type;

impl<'a> Decoder<'a> {
    pub(super) fn logic(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Decoded {
        let name = m.name();
        if !matches!(
            name,
            "and"
                | "or"
                | "xor"
                | "not"
                | "cnot"
                | "lop3"
                | "shl"
                | "shr"
                | "shf"
                | "popc"
                | "clz"
                | "brev"
                | "bfind"
                | "bfe"
                | "bfi"
                | "bmsk"
                | "szext"
                | "prmt"
        ) {
            return Ok(None);
        }
        if m.take("pred") {
            return self
                .predicate_logic(name, operands)
                .map(|op| Some((op, Kind::Compare)));
        }
        let op = match name {
            "lop3" | "shf" | "prmt" | "bmsk" | "szext" => self.word_logic(m, operands)?,
            _ => self.typed_logic(m, operands)?,
        };
        Ok(Some((op, Kind::Logic)))
    }

    fn typed_logic(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        const N: Type = Type::U32;
        let ty = self.type_of(m)?;
        let width = ty.bits();
        match m.name() {
            "and" => self.lanes(Some(bits::and()), (ty, &[ty, ty]), operands),
            "or" => self.lanes(Some(bits::or()), (ty, &[ty, ty]), operands),
            "xor" => self.lanes(Some(bits::xor()), (ty, &[ty, ty]), operands),
            "not" => self.lanes(bits::not(width), (ty, &[ty]), operands),
            "cnot" => self.lanes(bits::cnot(width), (ty, &[ty]), operands),
            "shl" => self.lanes(bits::shl(width), (ty, &[ty, N]), operands),
            "shr" => self.lanes(bits::shr(ty), (ty, &[ty, N]), operands),
            "popc" => self.lanes(bits::popc(width), (N, &[ty]), operands),
            "clz" => self.lanes(bits::clz(width), (N, &[ty]), operands),
            "brev" => self.lanes(bits::brev(width), (ty, &[ty]), operands),
            "bfind" => {
                let shift = m.take("shiftamt");
                self.lanes(bits::bfind(ty, shift), (N, &[ty]), operands)
            }
            "bfe" => self.lanes(bits::bfe(ty), (ty, &[ty, N, N]), operands),
            _ => self.lanes(bits::bfi(width), (ty, &[ty, ty, N, N]), operands),
        }
    }

    fn word_logic(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        const W: Type = Type::B32;
        match m.name() {
            "lop3" => {
                m.take("b32");
                self.lanes(Some(bits::lop3()), (W, &[W, W, W, W]), operands)
            }
            "shf" => {
                m.take("b32");
                let left = m.take("l");
                let right = m.take("r");
                let wrap = m.take("wrap");
                let clamp = m.take("clamp");
                if left == right || wrap == clamp {
                    return Err(self.error("needs `.l` or `.r`, and `.wrap` or `.clamp`"));
                }
                self.lanes(Some(bits::funnel(left, wrap)), (W, &[W, W, W]), operands)
            }
            "prmt" => {
                m.take("b32");
                let mode = m.take_map(|suffix| {
                    Some(match suffix {
                        "f4e" => Permute::Forward4,
                        "b4e" => Permute::Backward4,
                        "rc8" => Permute::Replicate8,
                        "ecl" => Permute::EdgeLeft,
                        "ecr" => Permute::EdgeRight,
                        "rc16" => Permute::Replicate16,
                        _ => return None,
                    })
                });
                self.lanes(
                    Some(bits::prmt(mode.unwrap_or(Permute::Selector))),
                    (W, &[W, W, W]),
                    operands,
                )
            }
            name => {
                let wrap = m.take("wrap");
                m.take("clamp");
                let ty = self.type_of(m)?;
                let f = if name == "bmsk" {
                    bits::bmsk(wrap)
                } else {
                    bits::szext(ty.is_signed(), wrap)
                };
                self.lanes(Some(f), (W, &[W, W]), operands)
            }
        }
    }

    fn predicate_logic(&mut self, name: &str, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let unary = name == "not";
        self.expect_operands(operands, if unary { 2..=2 } else { 3..=3 })?;
        let dst = self.pred_dst(&operands[0])?;
        let a = self.pred_src(&operands[1])?;
        let (op, b) = match name {
            "and" => (BoolOp::And, self.pred_src(&operands[2])?),
            "or" => (BoolOp::Or, self.pred_src(&operands[2])?),
            "xor" => (BoolOp::Xor, self.pred_src(&operands[2])?),
            "not" => (BoolOp::Xor, PredSrc::Literal(true)),
            _ => return Err(self.error("not defined for predicates")),
        };
        Ok(Op::PredLogic { op, dst, a, b })
    }
}
