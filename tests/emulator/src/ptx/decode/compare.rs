//! Comparisons, selections and properties of numbers.

use super::Decoder;
use super::data::width_mask;
use super::modifiers::Modifiers;
use crate::isa::{BoolOp, Op, PredSrc, Src};
use crate::lanes::compare::{Comparison, Property, compare, test_property};
use crate::lanes::{CompareFn, bits};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::Type;

impl<'a> Decoder<'a> {
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
    ) -> Result<(CompareFn, [Src; 2], Option<(BoolOp, PredSrc)>), PtxError> {
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

    pub(super) fn setp(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
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

    pub(super) fn set(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
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

    pub(super) fn selp(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
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
    pub(super) fn slct(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
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

    pub(super) fn testp(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
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
