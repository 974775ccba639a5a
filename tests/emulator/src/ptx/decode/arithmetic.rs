//! Integer and floating-point arithmetic.

use super::modifiers::Modifiers;
use super::{Decoded, Decoder};
use crate::counters::InstructionKind as Kind;
use crate::isa::Op;
use crate::lanes::LaneFn;
use crate::lanes::float::{self, Double, Transcendental};
use crate::lanes::half_float::{self, HalfOp};
use crate::lanes::integer::{self, Part};
use crate::lanes::rounding::Mode;
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::{Class, Type};

impl<'a> Decoder<'a> {
    pub(super) fn arithmetic(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Decoded {
        match m.name() {
            "add" | "sub" | "addc" | "subc" if m.has("cc") || m.name().ends_with('c') => {
                self.carry(m, operands).map(Some)
            }
            "mad" | "madc" if m.has("cc") || m.name() == "madc" => {
                self.carry_mad(m, operands).map(Some)
            }
            "add" | "sub" | "mul" | "mad" | "fma" | "div" | "rem" | "min" | "max" | "neg"
            | "abs" => self.common(m, operands).map(Some),
            "rcp" | "sqrt" | "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh" => {
                self.special(m, operands).map(Some)
            }
            "sad" | "mul24" | "dp4a" => self.rare_integer(m, operands).map(Some),
            "copysign" => {
                let ty = self.type_of(m)?;
                let op = self.lanes(
                    Some(float::copysign(ty == Type::F64)),
                    (ty, &[ty, ty]),
                    operands,
                )?;
                Ok(Some((op, Kind::Float32)))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn type_of(&self, m: &mut Modifiers<'a>) -> Result<Type, PtxError> {
        m.take_type().ok_or_else(|| self.error("no type suffix"))
    }

    fn common(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        let ty = self.type_of(m)?;
        match (ty.class(), ty) {
            (Class::Float, Type::F32) => self.single(m, operands),
            (Class::Float, Type::F64) => self.double(m, operands),
            (Class::Float, _) => self.half(m, ty, operands),
            _ => self.integer(m, ty, operands),
        }
    }

    fn integer(
        &mut self,
        m: &mut Modifiers<'a>,
        ty: Type,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        let part = self.product_part(m);
        let wide = match ty {
            Type::U16 | Type::S16 => Type::B32,
            _ => Type::B64,
        };
        let sat = m.take("sat");
        let result = if part == Part::Wide { wide } else { ty };
        let (f, sources): (Option<LaneFn>, &[Type]) = match m.name() {
            "add" => (integer::add(ty, sat), &[ty, ty]),
            "sub" => (integer::sub(ty, sat), &[ty, ty]),
            "mul" => (integer::mul(ty, part), &[ty, ty]),
            "mad" => (integer::mad(ty, part).filter(|_| !sat), &[ty, ty, result]),
            "div" => (integer::div(ty), &[ty, ty]),
            "rem" => (integer::rem(ty), &[ty, ty]),
            "min" => (integer::min(ty), &[ty, ty]),
            "max" => (integer::max(ty), &[ty, ty]),
            "neg" => (integer::neg(ty), &[ty]),
            "abs" => (integer::abs(ty), &[ty]),
            _ => (None, &[]),
        };
        Ok((self.lanes(f, (result, sources), operands)?, Kind::Integer))
    }

    fn product_part(&self, m: &mut Modifiers<'a>) -> Part {
        let known = |suffix: &str| match suffix {
            "lo" => Some(Part::Low),
            "hi" => Some(Part::High),
            "wide" => Some(Part::Wide),
            _ => None,
        };
        if matches!(m.name(), "mul" | "mad" | "mul24") {
            m.take_map(known).unwrap_or(Part::Low)
        } else {
            Part::Low
        }
    }

    fn float_modifiers(&self, m: &mut Modifiers<'a>) -> float::Modifiers {
        float::Modifiers {
            mode: m.take_rounding().unwrap_or(Mode::NearestEven),
            ftz: m.take("ftz"),
            sat: m.take("sat"),
        }
    }

    fn single(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        const F: Type = Type::F32;
        let approximate = m.take("approx");
        let full = m.take("full");
        let nan = m.take("NaN");
        let flags = self.float_modifiers(m);
        let (f, sources): (Option<LaneFn>, &[Type]) = match m.name() {
            "add" => (Some(float::add(flags)), &[F, F]),
            "sub" => (Some(float::sub(flags)), &[F, F]),
            "mul" => (Some(float::mul(flags)), &[F, F]),
            "fma" | "mad" => (Some(float::fma(flags)), &[F, F, F]),
            "div" if approximate || full => (Some(float::div_approx(flags)), &[F, F]),
            "div" => (Some(float::div(flags)), &[F, F]),
            "min" => (Some(float::min_max(flags, false, nan)), &[F, F]),
            "max" => (Some(float::min_max(flags, true, nan)), &[F, F]),
            "neg" => (Some(float::neg(flags)), &[F]),
            "abs" => (Some(float::abs(flags)), &[F]),
            _ => (None, &[]),
        };
        let kind = if m.name() == "div" {
            Kind::Special
        } else {
            Kind::Float32
        };
        Ok((self.lanes(f, (F, sources), operands)?, kind))
    }

    fn double(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        const F: Type = Type::F64;
        m.take("rn");
        let (operation, sources): (Double, &[Type]) = match m.name() {
            "add" => (Double::Add, &[F, F]),
            "sub" => (Double::Sub, &[F, F]),
            "mul" => (Double::Mul, &[F, F]),
            "fma" | "mad" => (Double::Fma, &[F, F, F]),
            "div" => (Double::Div, &[F, F]),
            "min" => (Double::Min, &[F, F]),
            "max" => (Double::Max, &[F, F]),
            "neg" => (Double::Neg, &[F]),
            _ => (Double::Abs, &[F]),
        };
        Ok((
            self.lanes(Some(float::double(operation)), (F, sources), operands)?,
            Kind::Float64,
        ))
    }

    fn half(
        &mut self,
        m: &mut Modifiers<'a>,
        ty: Type,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        m.take("rn");
        let (nan, relu, ftz) = (m.take("NaN"), m.take("relu"), m.take("ftz"));
        let operation = match (m.name(), nan, relu) {
            ("add", false, false) => HalfOp::Add,
            ("sub", false, false) => HalfOp::Sub,
            ("mul", false, false) => HalfOp::Mul,
            ("fma", false, false) => HalfOp::Fma,
            ("fma", false, true) => HalfOp::FmaRelu,
            ("neg", false, false) => HalfOp::Neg,
            ("abs", false, false) => HalfOp::Abs,
            ("min", false, false) => HalfOp::Min,
            ("max", false, false) => HalfOp::Max,
            ("min", true, false) => HalfOp::MinNan,
            ("max", true, false) => HalfOp::MaxNan,
            _ => return Err(self.error("not supported with these types and modifiers")),
        };
        let sources: &[Type] = match m.name() {
            "fma" => &[ty, ty, ty],
            "neg" | "abs" => &[ty],
            _ => &[ty, ty],
        };
        Ok((
            self.lanes(
                half_float::operation(operation, ty, ftz),
                (ty, sources),
                operands,
            )?,
            Kind::Half,
        ))
    }

    fn special(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        let ty = self.type_of(m)?;
        let approximate = m.take("approx");
        let flags = self.float_modifiers(m);
        let transcendental = match m.name() {
            "ex2" => Some(Transcendental::Exp2),
            "lg2" => Some(Transcendental::Log2),
            "sin" => Some(Transcendental::Sin),
            "cos" => Some(Transcendental::Cos),
            "tanh" => Some(Transcendental::Tanh),
            _ => None,
        };
        let f = match (ty, m.name(), transcendental) {
            (Type::F32, _, Some(function)) => Some(float::transcendental(function, flags)),
            (Type::F32, "rcp", _) => Some(float::rcp(flags)),
            (Type::F32, "sqrt", _) => Some(float::sqrt(flags)),
            (Type::F32, "rsqrt", _) => Some(float::rsqrt(flags)),
            (Type::F64, "rcp", _) if flags.mode == Mode::NearestEven && !approximate => {
                Some(float::double(Double::Rcp))
            }
            (Type::F64, "sqrt", _) if flags.mode == Mode::NearestEven => {
                Some(float::double(Double::Sqrt))
            }
            (Type::F64, "rsqrt", _) => Some(float::double(Double::Rsqrt)),
            (Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2, "ex2", _) => {
                half_float::operation(HalfOp::Exp2, ty, flags.ftz && ty.bits() == 16)
            }
            (Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2, "tanh", _) => {
                half_float::operation(HalfOp::Tanh, ty, false)
            }
            _ => None,
        };
        Ok((self.lanes(f, (ty, &[ty]), operands)?, Kind::Special))
    }

    fn rare_integer(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        let ty = self.type_of(m)?;
        let op = match m.name() {
            "sad" => self.lanes(integer::sad(ty), (ty, &[ty, ty, ty]), operands)?,
            "mul24" => {
                let part = self.product_part(m);
                self.lanes(
                    integer::mul24(ty, part == Part::High),
                    (ty, &[ty, ty]),
                    operands,
                )?
            }
            _ => {
                let second = self.type_of(m)?;
                self.lanes(
                    integer::dp4a(ty, second),
                    (Type::B32, &[Type::B32; 3]),
                    operands,
                )?
            }
        };
        Ok((op, Kind::Integer))
    }

    /// `add.cc`, `addc`, `sub.cc`, `subc`.
    fn carry(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        let ty = self.type_of(m)?;
        self.expect_integer_width(ty)?;
        self.expect_operands(operands, 3..=3)?;
        let op = Op::Carry {
            subtract: m.name().starts_with("sub"),
            carry_in: m.name().ends_with('c'),
            carry_out: m.take("cc"),
            bits: ty.bits(),
            dst: self.dst(&operands[0], ty)?,
            src: [self.src(&operands[1], ty)?, self.src(&operands[2], ty)?],
        };
        Ok((op, Kind::Integer))
    }

    /// `mad.cc` and `madc`, low or high half.
    fn carry_mad(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        let ty = self.type_of(m)?;
        self.expect_integer_width(ty)?;
        self.expect_operands(operands, 4..=4)?;
        let high = m.take("hi");
        m.take("lo");
        let op = Op::CarryMad {
            high,
            signed: ty.is_signed(),
            carry_in: m.name() == "madc",
            carry_out: m.take("cc"),
            bits: ty.bits(),
            dst: self.dst(&operands[0], ty)?,
            src: [
                self.src(&operands[1], ty)?,
                self.src(&operands[2], ty)?,
                self.src(&operands[3], ty)?,
            ],
        };
        Ok((op, Kind::Integer))
    }

    fn expect_integer_width(&self, ty: Type) -> Result<(), PtxError> {
        let integer = matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64);
        if integer {
            Ok(())
        } else {
            Err(self.error("carries are for 32-bit and 64-bit integers"))
        }
    }
}
