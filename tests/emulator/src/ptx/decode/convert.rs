//! Conversions.

use super::Decoder;
use super::modifiers::Modifiers;
use super::operand::Fit;
use crate::counters::InstructionKind as Kind;
use crate::isa::{Op, Reg, Src};
use crate::lanes::convert;
use crate::lanes::rounding::Mode;
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::{Class, Type};

impl<'a> Decoder<'a> {
    pub(super) fn cvt(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
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
    fn widened(&mut self, result: Op, dst: Reg, ty: Type, register: u32) -> Result<Op, PtxError> {
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
}
