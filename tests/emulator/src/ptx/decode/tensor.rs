//! Tensor products and matrix loads and stores.

use super::modifiers::Modifiers;
use super::{Decoded, Decoder};
use crate::counters::{InstructionKind as Kind, MmaShape};
use crate::isa::{Mma, MmaOperand, Op};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::Type;

/// Number of 8 x 8 matrices of `ldmatrix` and `stmatrix`.
fn matrices(suffix: &str) -> Option<usize> {
    match suffix {
        "x1" => Some(1),
        "x2" => Some(2),
        "x4" => Some(4),
        _ => None,
    }
}

impl<'a> Decoder<'a> {
    pub(super) fn tensor(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Decoded {
        let decoded = match m.name() {
            "mma" => (self.mma(m, operands)?, Kind::Mma),
            "ldmatrix" | "stmatrix" => (self.matrix(m, operands)?, Kind::Matrix),
            _ => return Ok(None),
        };
        Ok(Some(decoded))
    }

    fn matrix(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let whole = m.take("sync") & m.take("aligned") & m.take("m8n8") & m.take("b16");
        let count = m.take_map(matrices);
        let (Some(count), true) = (count, whole) else {
            return Err(self.error("expected `.sync.aligned.m8n8.x1|x2|x4{.trans}.shared.b16`"));
        };
        let trans = m.take("trans");
        if !m.take("shared") {
            m.take("shared::cta");
        }
        self.expect_operands(operands, 2..=2)?;
        if m.name() == "ldmatrix" {
            return Ok(Op::LoadMatrix {
                trans,
                dsts: self.vector_dst(&operands[0], Type::B32, count)?,
                address: self.address(&operands[1])?,
            });
        }
        Ok(Op::StoreMatrix {
            trans,
            srcs: self.vector_src(&operands[1], Type::B32, count)?,
            address: self.address(&operands[0])?,
        })
    }

    fn mma(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let whole = m.take("sync") & m.take("aligned") & m.take("row") & m.take("col");
        let depth = m.take_map(|suffix| match suffix {
            "m16n8k4" => Some(4u8),
            "m16n8k8" => Some(8),
            "m16n8k16" => Some(16),
            _ => None,
        });
        let types = (m.take_type(), m.take_type(), m.take_type(), m.take_type());
        let ((Some(d), Some(a), Some(b), Some(c)), Some(k), true) = (types, depth, whole) else {
            return Err(
                self.error("expected `.sync.aligned.m16n8k4|k8|k16.row.col` and four types")
            );
        };
        let (operand, name) = match (a, k) {
            (Type::F16, 8 | 16) => (MmaOperand::F16, "f16"),
            (Type::Bf16, 8 | 16) => (MmaOperand::Bf16, "bf16"),
            (Type::Tf32, 4 | 8) => (MmaOperand::Tf32, "tf32"),
            _ => return Err(self.error("no such shape with these factors")),
        };
        let accumulators = matches!((d, c), (Type::F32 | Type::F16, Type::F32 | Type::F16));
        let half = d == Type::F16 || c == Type::F16;
        if a != b || !accumulators || (half && a != Type::F16) {
            return Err(self.error("no such combination of types"));
        }
        self.expect_operands(operands, 4..=4)?;
        // 16-bit factors are packed in pairs; tf32 takes a register each.
        let packing = if operand == MmaOperand::Tf32 { 1 } else { 2 };
        let a_registers = 16 * usize::from(k) / 32 / packing;
        let b_registers = 8 * usize::from(k) / 32 / packing;
        let accumulator = |ty| {
            if ty == Type::F32 {
                (Type::B32, 4)
            } else {
                (Type::B32, 2)
            }
        };
        let ((d_type, d_length), (c_type, c_length)) = (accumulator(d), accumulator(c));
        let shape = MmaShape {
            m: 16,
            n: 8,
            k,
            operand: name,
            accumulator: if d == Type::F32 { "f32" } else { "f16" },
        };
        Ok(Op::Mma(Box::new(Mma {
            shape,
            operand,
            half_c: c == Type::F16,
            half_d: d == Type::F16,
            d: self.vector_dst(&operands[0], d_type, d_length)?,
            a: self.vector_src(&operands[1], Type::B32, a_registers)?,
            b: self.vector_src(&operands[2], Type::B32, b_registers)?,
            c: self.vector_src(&operands[3], c_type, c_length)?,
        })))
    }
}
