//! Moves, packing, conversions, comparisons and selections.

use super::modifiers::Modifiers;
use super::operand::Fit;
use super::{Decoded, Decoder};
use crate::counters::InstructionKind as Kind;
use crate::isa::{BoolOp, MemSpace, Op, PredSrc, Src};
use crate::lanes::compare::{Comparison, Property, compare, test_property};
use crate::lanes::rounding::Mode;
use crate::lanes::{bits, convert, integer};
use crate::memory::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::{Class, Type};

/// All ones in the low bits of a register.
fn width_mask(bits: u32) -> u64 {
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

    fn cvt(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        if m.take("pack") {
            return Err(self.error("packing conversions of integers are not supported"));
        }
        let integral = m.take_integral_rounding();
        let mode = m.take_rounding();
        let dst_type = self.type_of(m)?;
        if matches!(dst_type, Type::F16x2 | Type::Bf16x2) {
            return self.cvt_packed(m, dst_type, mode, operands);
        }
        let src_type = self.type_of(m)?;
        let flags = convert::Modifiers {
            mode: integral.or(mode).unwrap_or(Mode::NearestEven),
            integral: integral.is_some(),
            ftz: m.take("ftz"),
            sat: m.take("sat"),
            relu: m.take("relu"),
        };
        m.take("satfinite");
        let float = |ty: Type| ty.class() == Class::Float;
        let f = match (float(dst_type), float(src_type)) {
            (false, false) => convert::integer(dst_type, src_type, flags.sat),
            (false, true) => convert::float_to_integer(dst_type, src_type, flags),
            (true, false) => convert::integer_to_float(dst_type, src_type, flags.mode),
            (true, true) => convert::float(dst_type, src_type, flags),
        };
        let f = f.ok_or_else(|| self.error("not supported with these types and modifiers"))?;
        self.expect_operands(operands, 2..=2)?;
        let source = self.src_fit(&operands[1], src_type, Fit::AtLeast)?;
        let dst = self.dst_fit(&operands[0], dst_type, Fit::AtLeast)?;
        let result = Op::Lanes {
            f,
            dst,
            src: [source; 4],
        };
        let register = self.register_bits(&operands[0]).unwrap_or(dst_type.bits());
        if register > dst_type.bits() && dst_type.is_signed() {
            return self.widened(result, dst, dst_type, register);
        }
        Ok(result)
    }

    /// A signed result fills a wider register with its sign: a second conversion does it.
    fn widened(
        &mut self,
        result: Op,
        dst: crate::isa::Reg,
        ty: Type,
        register: u32,
    ) -> Result<Op, PtxError> {
        let wide = match register {
            16 => Type::S16,
            32 => Type::S32,
            _ => Type::S64,
        };
        self.emit(result, Kind::Convert);
        let f = convert::integer(wide, ty, false).ok_or_else(|| self.error("no such widening"))?;
        Ok(Op::Lanes {
            f,
            dst,
            src: [Src::register(dst.0); 4],
        })
    }

    fn cvt_packed(
        &mut self,
        m: &mut Modifiers<'a>,
        dst_type: Type,
        mode: Option<Mode>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        if self.type_of(m)? != Type::F32 {
            return Err(self.error("packed conversions start from f32"));
        }
        let flags = convert::Modifiers {
            mode: mode.unwrap_or(Mode::NearestEven),
            integral: false,
            ftz: false,
            sat: false,
            relu: m.take("relu"),
        };
        self.lanes(
            convert::packed(dst_type, flags),
            (dst_type, &[Type::F32, Type::F32]),
            operands,
        )
    }

    fn bool_op(&self, m: &mut Modifiers<'a>) -> Option<BoolOp> {
        m.take_map(|suffix| {
            Some(match suffix {
                "and" => BoolOp::And,
                "or" => BoolOp::Or,
                "xor" => BoolOp::Xor,
                _ => return None,
            })
        })
    }

    #[expect(
        clippy::type_complexity,
        reason = "the two halves are destructured at once"
    )]
    fn comparison(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(crate::lanes::CompareFn, [Src; 2], Option<(BoolOp, PredSrc)>), PtxError> {
        let comparison = m
            .take_map(Comparison::from_suffix)
            .ok_or_else(|| self.error("no comparison"))?;
        let combine = self.bool_op(m);
        let ftz = m.take("ftz");
        let ty = self.type_of(m)?;
        let f = compare(comparison, ty, ftz)
            .ok_or_else(|| self.error("no such comparison of this type"))?;
        let combined = usize::from(combine.is_some());
        self.expect_operands(operands, 3 + combined..=3 + combined)?;
        let src = [self.src(&operands[1], ty)?, self.src(&operands[2], ty)?];
        let combine = match combine {
            Some(op) => Some((op, self.pred_src(&operands[3])?)),
            None => None,
        };
        Ok((f, src, combine))
    }

    fn setp(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let (f, src, combine) = self.comparison(m, operands)?;
        let (dst, complement) = match &operands[0] {
            Operand::Pair(first, second) => (
                self.pred_dst_or_sink(first)?,
                self.pred_dst_or_sink(second)?,
            ),
            single => (self.pred_dst_or_sink(single)?, None),
        };
        Ok(Op::Compare {
            f,
            src,
            combine,
            dst,
            complement,
        })
    }

    fn set(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let result = self.type_of(m)?;
        let (f, src, combine) = self.comparison(m, operands)?;
        let truth = match result {
            Type::U32 | Type::S32 => u64::from(u32::MAX),
            Type::F32 => u64::from(1f32.to_bits()),
            _ => return Err(self.error("the result must be u32, s32 or f32")),
        };
        Ok(Op::Set {
            f,
            src,
            combine,
            dst: self.dst(&operands[0], result)?,
            truth,
        })
    }

    fn selp(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let ty = self.type_of(m)?;
        self.expect_operands(operands, 4..=4)?;
        Ok(Op::Select {
            dst: self.dst(&operands[0], ty)?,
            a: self.src(&operands[1], ty)?,
            b: self.src(&operands[2], ty)?,
            pred: self.pred_src(&operands[3])?,
            mask: width_mask(ty.bits()),
        })
    }

    /// `slct`: the first source where the third is not negative.
    fn slct(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let ty = self.type_of(m)?;
        let selector = self.type_of(m)?;
        m.take("ftz");
        let f = match (ty.bits(), selector) {
            (32 | 64, Type::S32) => bits::select_by_integer(),
            (32 | 64, Type::F32) => bits::select_by_float(),
            _ => return Err(self.error("not supported with these types")),
        };
        self.lanes(Some(f), (ty, &[ty, ty, selector]), operands)
    }

    fn testp(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let property = m.take_map(|suffix| {
            Some(match suffix {
                "finite" => Property::Finite,
                "infinite" => Property::Infinite,
                "number" => Property::Number,
                "notanumber" => Property::NotANumber,
                "normal" => Property::Normal,
                "subnormal" => Property::Subnormal,
                _ => return None,
            })
        });
        let property = property.ok_or_else(|| self.error("no property"))?;
        let ty = self.type_of(m)?;
        if !matches!(ty, Type::F32 | Type::F64) {
            return Err(self.error("only f32 and f64 have properties"));
        }
        self.expect_operands(operands, 2..=2)?;
        let source = self.src(&operands[1], ty)?;
        let dst = Some(self.pred_dst(&operands[0])?);
        Ok(Op::Compare {
            f: test_property(property, ty == Type::F64),
            src: [source; 2],
            combine: None,
            dst,
            complement: None,
        })
    }
}
