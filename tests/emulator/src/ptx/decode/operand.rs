//! Operands to slots, with their widths checked.

use super::Decoder;
use super::symbols::{Place, special};
use crate::isa::{Address, Constant, Pred, PredSrc, Reg, Src};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::Type;

/// Whether a register must have exactly the width of the instruction's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Exact,
    /// `ld`, `st` and `cvt` take registers at least as wide.
    AtLeast,
}

impl<'a> Decoder<'a> {
    /// The operand at an index.
    pub(super) fn operand<'o>(
        &self,
        operands: &'o [Operand<'a>],
        index: usize,
    ) -> Result<&'o Operand<'a>, PtxError> {
        operands
            .get(index)
            .ok_or_else(|| self.error(format!("operand {} is missing", index + 1)))
    }

    /// Fails unless there are that many operands.
    pub(super) fn expect_operands(
        &self,
        operands: &[Operand<'a>],
        counts: std::ops::RangeInclusive<usize>,
    ) -> Result<(), PtxError> {
        if counts.contains(&operands.len()) {
            return Ok(());
        }
        let (low, high) = (counts.start(), counts.end());
        let wanted = if low == high {
            low.to_string()
        } else {
            format!("{low} to {high}")
        };
        Err(self.error(format!("{} operands, expected {wanted}", operands.len())))
    }

    fn register_slot(&mut self, name: &str) -> Result<(u32, Type), PtxError> {
        let Some((declaration, index, ty)) = self.scopes.register(name) else {
            return Err(self.error(format!("`{name}` is no declared register")));
        };
        Ok((self.slots.register(declaration, index, ty, name), ty))
    }

    fn value_register(&mut self, name: &str, ty: Type, fit: Fit) -> Result<u32, PtxError> {
        let (slot, declared) = self.register_slot(name)?;
        let fits = match fit {
            Fit::Exact => declared.bits() == ty.bits(),
            Fit::AtLeast => declared.bits() >= ty.bits(),
        };
        if declared == Type::Pred || declared == Type::B128 || !fits {
            let found = if declared == Type::Pred {
                "a predicate".to_owned()
            } else {
                format!("{} bits wide", declared.bits())
            };
            return Err(self.error(format!(
                "`{name}` is {found}, the instruction needs {} bits",
                ty.bits()
            )));
        }
        Ok(slot)
    }

    /// Width of a declared register.
    pub(super) fn register_bits(&self, operand: &Operand<'a>) -> Option<u32> {
        match operand {
            Operand::Name(name) => self.scopes.register(name).map(|(_, _, ty)| ty.bits()),
            _ => None,
        }
    }

    pub(super) fn bits(&mut self, value: u64) -> Src {
        self.slots.constant(Constant::Bits(value))
    }

    /// A source of an instruction of that type.
    pub(super) fn src(&mut self, operand: &Operand<'a>, ty: Type) -> Result<Src, PtxError> {
        self.src_fit(operand, ty, Fit::Exact)
    }

    pub(super) fn src_fit(
        &mut self,
        operand: &Operand<'a>,
        ty: Type,
        fit: Fit,
    ) -> Result<Src, PtxError> {
        match operand {
            Operand::Name(name) if self.scopes.register(name).is_some() => {
                Ok(Src::register(self.value_register(name, ty, fit)?))
            }
            Operand::Name(name) => self.named_value(name, 0),
            Operand::NameOffset(name, offset) => self.named_value(name, *offset),
            Operand::Int(value) => self.integer_bits(*value, ty),
            Operand::Float32(bits) => {
                let value = if ty == Type::F64 {
                    f64::from(f32::from_bits(*bits)).to_bits()
                } else {
                    u64::from(*bits)
                };
                Ok(self.bits(value))
            }
            Operand::Float64(bits) => {
                let single = matches!(ty, Type::F32 | Type::B32);
                let value = if single {
                    u64::from((f64::from_bits(*bits) as f32).to_bits())
                } else {
                    *bits
                };
                Ok(self.bits(value))
            }
            _ => Err(self.error("expected a register or a literal")),
        }
    }

    fn integer_bits(&mut self, value: i128, ty: Type) -> Result<Src, PtxError> {
        let bits = ty.bits().min(64);
        let mask = if bits == 64 {
            u64::MAX
        } else {
            (1 << bits) - 1
        };
        Ok(self.bits(value as u64 & mask))
    }

    /// A special register or the address of a variable.
    fn named_value(&mut self, name: &'a str, offset: i64) -> Result<Src, PtxError> {
        if let Some(special) = special(name) {
            return Ok(self.slots.special(special, name));
        }
        let Some(place) = self.place(name) else {
            return Err(self.error(format!("`{name}` is not declared")));
        };
        Ok(self.place_address(place, offset))
    }

    /// Address of a place in its own state space.
    fn place_address(&mut self, place: Place, offset: i64) -> Src {
        let constant = match place {
            Place::Global(index) => Constant::Global { index, offset },
            Place::Shared(at) | Place::Local(at) | Place::Param(at) => {
                Constant::Bits(at.wrapping_add_signed(offset))
            }
            Place::DynamicShared => Constant::DynamicShared { offset },
        };
        self.slots.constant(constant)
    }

    /// A destination register.
    pub(super) fn dst(&mut self, operand: &Operand<'a>, ty: Type) -> Result<Reg, PtxError> {
        self.dst_fit(operand, ty, Fit::Exact)
    }

    pub(super) fn dst_fit(
        &mut self,
        operand: &Operand<'a>,
        ty: Type,
        fit: Fit,
    ) -> Result<Reg, PtxError> {
        match operand {
            Operand::Name(name) => Ok(Reg(self.value_register(name, ty, fit)?)),
            _ => Err(self.error("the destination must be a register")),
        }
    }

    /// A destination that may be the sink `_`.
    pub(super) fn dst_or_sink(
        &mut self,
        operand: &Operand<'a>,
        ty: Type,
        fit: Fit,
    ) -> Result<Option<Reg>, PtxError> {
        match operand {
            Operand::Name("_") => Ok(None),
            _ => self.dst_fit(operand, ty, fit).map(Some),
        }
    }

    pub(super) fn pred(&mut self, name: &str) -> Result<Pred, PtxError> {
        let (slot, ty) = self.register_slot(name)?;
        if ty != Type::Pred {
            return Err(self.error(format!("`{name}` is no predicate")));
        }
        Ok(Pred(slot))
    }

    pub(super) fn pred_dst(&mut self, operand: &Operand<'a>) -> Result<Pred, PtxError> {
        match operand {
            Operand::Name(name) => self.pred(name),
            _ => Err(self.error("expected a predicate register")),
        }
    }

    pub(super) fn pred_dst_or_sink(
        &mut self,
        operand: &Operand<'a>,
    ) -> Result<Option<Pred>, PtxError> {
        match operand {
            Operand::Name("_") => Ok(None),
            _ => self.pred_dst(operand).map(Some),
        }
    }

    pub(super) fn pred_src(&mut self, operand: &Operand<'a>) -> Result<PredSrc, PtxError> {
        match operand {
            Operand::Name(name) => Ok(PredSrc::Register {
                pred: self.pred(name)?,
                negated: false,
            }),
            Operand::Not(name) => Ok(PredSrc::Register {
                pred: self.pred(name)?,
                negated: true,
            }),
            Operand::Int(value) => Ok(PredSrc::Literal(*value != 0)),
            _ => Err(self.error("expected a predicate")),
        }
    }

    /// `[base + offset]`. Shared, local and parameter addresses may be 32 or 64 bits wide.
    pub(super) fn address(&mut self, operand: &Operand<'a>) -> Result<Address, PtxError> {
        let Operand::Address { base, offset } = operand else {
            return Err(self.error("expected an address in brackets"));
        };
        let Some(name) = base else {
            return Ok(Address {
                base: self.bits(0),
                offset: *offset,
            });
        };
        if self.scopes.register(name).is_none() {
            let base = self.named_value(name, *offset)?;
            return Ok(Address { base, offset: 0 });
        }
        let slot = self.value_register(name, Type::B32, Fit::AtLeast)?;
        Ok(Address {
            base: Src::register(slot),
            offset: *offset,
        })
    }

    /// The members of a vector, or the operand itself as the only one.
    pub(super) fn members<'o>(&self, operand: &'o Operand<'a>) -> &'o [Operand<'a>] {
        match operand {
            Operand::Vector(members) => members,
            other => std::slice::from_ref(other),
        }
    }

    /// The registers of a vector of exactly that length.
    pub(super) fn vector_src(
        &mut self,
        operand: &Operand<'a>,
        ty: Type,
        length: usize,
    ) -> Result<Box<[Src]>, PtxError> {
        let members = self.members(operand);
        self.expect_length(members.len(), length)?;
        members.iter().map(|member| self.src(member, ty)).collect()
    }

    pub(super) fn vector_dst(
        &mut self,
        operand: &Operand<'a>,
        ty: Type,
        length: usize,
    ) -> Result<Box<[Reg]>, PtxError> {
        let members = self.members(operand);
        self.expect_length(members.len(), length)?;
        members.iter().map(|member| self.dst(member, ty)).collect()
    }

    pub(super) fn expect_length(&self, found: usize, expected: usize) -> Result<(), PtxError> {
        if found == expected {
            return Ok(());
        }
        Err(self.error(format!(
            "a vector of {found} registers, expected {expected}"
        )))
    }

    /// A literal that must be known when decoding.
    pub(super) fn literal(&self, operand: &Operand<'a>) -> Result<u32, PtxError> {
        match operand {
            Operand::Int(value) => u32::try_from(*value)
                .map_err(|_| self.error(format!("{value} is out of range here"))),
            _ => Err(self.error("expected an integer literal")),
        }
    }
}
