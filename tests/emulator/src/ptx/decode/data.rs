//! Moves, packing and addresses; conversions and comparisons by name.

use super::modifiers::Modifiers;
use super::operand::Fit;
use super::{Decoded, Decoder};
use crate::counters::InstructionKind as Kind;
use crate::isa::{BoolOp, MemSpace, Op, PredSrc};
use crate::lanes::integer;
use crate::memory::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::Type;

/// All ones in the low bits of a register.
pub(super) fn width_mask(bits: u32) -> u64 {
    if bits >= 64 {
        u64::MAX
    } else {
        (1 << bits) - 1
    }
}

impl<'a> Decoder<'a> {
    pub(super) fn data(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Decoded {
        let decoded = match m.name() {
            "mov" => (self.mov(m, operands)?, Kind::Move),
            "cvta" => (self.cvta(m, operands)?, Kind::Move),
            "isspacep" => (self.isspacep(m, operands)?, Kind::Compare),
            "cvt" => (self.cvt(m, operands)?, Kind::Convert),
            "setp" => (self.setp(m, operands)?, Kind::Compare),
            "set" => (self.set(m, operands)?, Kind::Compare),
            "selp" => (self.selp(m, operands)?, Kind::Compare),
            "slct" => (self.slct(m, operands)?, Kind::Compare),
            "testp" => (self.testp(m, operands)?, Kind::Compare),
            _ => return Ok(None),
        };
        Ok(Some(decoded))
    }

    fn mov(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        self.expect_operands(operands, 2..=2)?;
        let ty = self.type_of(m)?;
        if ty == Type::Pred {
            let dst = self.pred_dst(&operands[0])?;
            let a = self.pred_src(&operands[1])?;
            return Ok(Op::PredLogic {
                op: BoolOp::And,
                dst,
                a,
                b: PredSrc::Literal(true),
            });
        }
        match (&operands[0], &operands[1]) {
            (Operand::Vector(parts), source) => self.unpack(ty, parts, source),
            (destination, Operand::Vector(parts)) => self.pack(ty, destination, parts),
            (
                destination,
                Operand::Name(
                    "%clock" | "%clock64" | "%clock_hi" | "%globaltimer" | "%globaltimer_lo",
                ),
            ) => Ok(Op::Clock {
                dst: self.dst(destination, ty)?,
            }),
            (destination, source) => {
                let dst = self.dst(destination, ty)?;
                // Special registers of 16 or 64 bits are read from the 32-bit slot.
                Ok(Op::Move {
                    dst,
                    src: self.src(source, ty)?,
                    mask: width_mask(ty.bits()),
                })
            }
        }
    }

    fn part_type(&self, ty: Type, parts: usize) -> Result<Type, PtxError> {
        match ty.bits() as usize / parts.max(1) {
            8 => Ok(Type::B8),
            16 => Ok(Type::B16),
            32 => Ok(Type::B32),
            _ => Err(self.error(format!(
                "{} bits do not split into {parts} registers",
                ty.bits()
            ))),
        }
    }

    fn pack(
        &mut self,
        ty: Type,
        destination: &Operand<'a>,
        parts: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        let part = self.part_type(ty, parts.len())?;
        let dst = self.dst(destination, ty)?;
        let parts = parts
            .iter()
            .map(|operand| self.src(operand, part))
            .collect::<Result<_, _>>()?;
        Ok(Op::Pack {
            dst,
            parts,
            bits: part.bits(),
        })
    }

    fn unpack(
        &mut self,
        ty: Type,
        parts: &[Operand<'a>],
        source: &Operand<'a>,
    ) -> Result<Op, PtxError> {
        let part = self.part_type(ty, parts.len())?;
        let src = self.src(source, ty)?;
        let dsts = parts
            .iter()
            .map(|operand| self.dst_or_sink(operand, part, Fit::Exact))
            .collect::<Result<_, _>>()?;
        Ok(Op::Unpack {
            dsts,
            src,
            bits: part.bits(),
        })
    }

    fn space_suffix(&self, m: &mut Modifiers<'a>) -> Option<MemSpace> {
        m.take_map(|suffix| {
            Some(match suffix {
                "global" | "const" => MemSpace::Global,
                "shared" | "shared::cta" | "shared::cluster" => MemSpace::Shared,
                "local" => MemSpace::Local,
                "param" | "param::entry" => MemSpace::Param,
                _ => return None,
            })
        })
    }

    /// Adds or subtracts the window of a state space.
    fn cvta(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let to_space = m.take("to");
        let space = self
            .space_suffix(m)
            .ok_or_else(|| self.error("no state space"))?;
        let ty = self.type_of(m)?;
        if ty.bits() != 64 {
            return Err(self.error("only 64-bit addresses"));
        }
        self.expect_operands(operands, 2..=2)?;
        let window = match space {
            MemSpace::Shared => SHARED_WINDOW,
            MemSpace::Local => LOCAL_WINDOW,
            MemSpace::Param => PARAM_WINDOW,
            MemSpace::Global | MemSpace::Generic => 0,
        };
        let dst = self.dst(&operands[0], ty)?;
        let source = self.src(&operands[1], ty)?;
        if window == 0 {
            return Ok(Op::Move {
                dst,
                src: source,
                mask: u64::MAX,
            });
        }
        let f = if to_space {
            integer::sub(Type::U64, false)
        } else {
            integer::add(Type::U64, false)
        };
        let f = f.ok_or_else(|| self.error("no address arithmetic"))?;
        let window = self.bits(window);
        Ok(Op::Lanes {
            f,
            dst,
            src: [source, window, source, source],
        })
    }

    fn isspacep(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        let space = self
            .space_suffix(m)
            .ok_or_else(|| self.error("no state space"))?;
        self.expect_operands(operands, 2..=2)?;
        Ok(Op::IsSpace {
            dst: self.pred_dst(&operands[0])?,
            src: self.src(&operands[1], Type::B64)?,
            space,
        })
    }
}
