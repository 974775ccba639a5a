//! Loads, stores, atomics, asynchronous copies and cache hints.

use super::modifiers::Modifiers;
use super::operand::Fit;
use super::{Decoded, Decoder};
use crate::counters::InstructionKind as Kind;
use crate::isa::{AtomicOp, Extend, FloatKind, MemOrder, MemSpace, Op, PredSrc, Width};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::{Class, Type};

/// Bytes of the widest vector access.
const MAX_VECTOR_BYTES: u32 = 32;

impl<'a> Decoder<'a> {
    pub(super) fn memory(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Decoded {
        let decoded = match m.name() {
            "ld" | "ldu" => self.load(m, operands)?,
            "st" => self.store(m, operands)?,
            "atom" | "red" => (self.atomic(m, operands)?, Kind::Atomic),
            "cp" if m.has("async") && !m.has("bulk") && !m.has("mbarrier") => {
                (self.copy_async(m, operands)?, Kind::Async)
            }
            "prefetch" | "prefetchu" | "applypriority" | "discard" => {
                m.drop_all(|_| true);
                (Op::Hint, Kind::Fence)
            }
            "createpolicy" => {
                m.drop_all(|_| true);
                let src = self.bits(0);
                let dst = self.dst(self.operand(operands, 0)?, Type::B64)?;
                (
                    Op::Move {
                        dst,
                        src,
                        mask: u64::MAX,
                    },
                    Kind::Move,
                )
            }
            _ => return Ok(None),
        };
        Ok(Some(decoded))
    }

    /// The named state space; generic without a name.
    pub(super) fn space(&self, m: &mut Modifiers<'a>) -> Result<MemSpace, PtxError> {
        if m.has("shared::cluster") && matches!(m.name(), "ld" | "st" | "atom" | "red") {
            return Err(self.error("clusters are not supported"));
        }
        let space = m.take_map(|suffix| {
            Some(match suffix {
                "global" | "const" => MemSpace::Global,
                "shared" | "shared::cta" => MemSpace::Shared,
                "local" => MemSpace::Local,
                "param" | "param::entry" => MemSpace::Param,
                _ => return None,
            })
        });
        Ok(space.unwrap_or(MemSpace::Generic))
    }

    /// Removes ordering and scope. Anything but `weak` is synchronisation.
    pub(super) fn order(&self, m: &mut Modifiers<'a>) -> MemOrder {
        let before = m.left().len();
        m.drop_all(|suffix| {
            matches!(
                suffix,
                "volatile" | "relaxed" | "acquire" | "release" | "acq_rel" | "mmio"
            )
        });
        let strong = m.left().len() < before;
        m.take("weak");
        m.drop_all(|suffix| matches!(suffix, "cta" | "cluster" | "gpu" | "sys"));
        if strong {
            MemOrder::Strong
        } else {
            MemOrder::Weak
        }
    }

    fn width(&self, m: &mut Modifiers<'a>) -> Result<(Width, Type), PtxError> {
        let count = m.take_map(|suffix| match suffix {
            "v2" => Some(2),
            "v4" => Some(4),
            "v8" => Some(8),
            _ => None,
        });
        let ty = self.type_of(m)?;
        let width = Width {
            element: ty.bytes(),
            count: count.unwrap_or(1),
        };
        if matches!(ty, Type::Pred | Type::B128) || width.bytes() > MAX_VECTOR_BYTES {
            return Err(self.error("not supported with this type"));
        }
        Ok((width, ty))
    }

    /// A cache policy may follow the operands; it changes no result.
    fn without_policy<'o>(
        &self,
        m: &mut Modifiers<'a>,
        operands: &'o [Operand<'a>],
    ) -> &'o [Operand<'a>] {
        if m.take("L2::cache_hint") {
            operands
                .get(..operands.len().saturating_sub(1))
                .unwrap_or(operands)
        } else {
            operands
        }
    }

    fn load(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        let operands = self.without_policy(m, operands);
        m.drop_cache_hints();
        let order = self.order(m);
        let space = self.space(m)?;
        let (width, ty) = self.width(m)?;
        self.expect_operands(operands, 2..=2)?;
        let members = self.members(&operands[0]);
        self.expect_length(members.len(), width.count as usize)?;
        let dsts = members
            .iter()
            .map(|member| self.dst_or_sink(member, ty, Fit::AtLeast))
            .collect::<Result<_, _>>()?;
        let extend = match members.iter().find_map(|member| self.register_bits(member)) {
            Some(bits) if ty.is_signed() && bits > ty.bits() => Extend::Sign(bits),
            _ => Extend::Zero,
        };
        let address = self.address(&operands[1])?;
        let kind = match space {
            MemSpace::Param => Kind::LoadParam,
            MemSpace::Shared => Kind::LoadShared,
            MemSpace::Local => Kind::Local,
            MemSpace::Global | MemSpace::Generic => Kind::LoadGlobal,
        };
        Ok((
            Op::Load {
                space,
                width,
                extend,
                order,
                address,
                dsts,
            },
            kind,
        ))
    }

    fn store(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<(Op, Kind), PtxError> {
        let operands = self.without_policy(m, operands);
        m.drop_cache_hints();
        if m.has("async") || m.has("bulk") {
            return Err(self.error("not supported"));
        }
        let order = self.order(m);
        let space = self.space(m)?;
        let (width, ty) = self.width(m)?;
        self.expect_operands(operands, 2..=2)?;
        let members = self.members(&operands[1]);
        self.expect_length(members.len(), width.count as usize)?;
        let srcs = members
            .iter()
            .map(|member| self.src_fit(member, ty, Fit::AtLeast))
            .collect::<Result<_, _>>()?;
        let address = self.address(&operands[0])?;
        let kind = match space {
            MemSpace::Shared => Kind::StoreShared,
            MemSpace::Local => Kind::Local,
            MemSpace::Param => return Err(self.error("parameters cannot be written")),
            MemSpace::Global | MemSpace::Generic => Kind::StoreGlobal,
        };
        Ok((
            Op::Store {
                space,
                width,
                order,
                address,
                srcs,
            },
            kind,
        ))
    }

    fn atomic(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Result<Op, PtxError> {
        let operands = self.without_policy(m, operands);
        m.drop_cache_hints();
        self.order(m);
        m.take("noftz");
        let space = self.space(m)?;
        if !matches!(
            space,
            MemSpace::Global | MemSpace::Shared | MemSpace::Generic
        ) {
            return Err(self.error("atomics are for global and shared memory"));
        }
        let suffix = m.take_map(|suffix| {
            let known = [
                "add", "and", "or", "xor", "exch", "cas", "min", "max", "inc", "dec",
            ];
            known.into_iter().find(|name| *name == suffix)
        });
        let suffix = suffix.ok_or_else(|| self.error("no operation"))?;
        let ty = self.type_of(m)?;
        let op = self.atomic_op(suffix, ty)?;
        let returns = m.name() == "atom";
        let sources = if op == AtomicOp::CompareSwap { 2 } else { 1 };
        let first = usize::from(returns);
        self.expect_operands(operands, first + 1 + sources..=first + 1 + sources)?;
        let dst = if returns {
            self.dst_or_sink(&operands[0], ty, Fit::Exact)?
        } else {
            None
        };
        let address = self.address(&operands[first])?;
        let source = self.src(&operands[first + 1], ty)?;
        let second = if sources == 2 {
            self.src(&operands[first + 2], ty)?
        } else {
            source
        };
        Ok(Op::Atomic {
            space,
            op,
            bytes: ty.bytes(),
            address,
            dst,
            src: [source, second],
        })
    }

    fn atomic_op(&self, suffix: &str, ty: Type) -> Result<AtomicOp, PtxError> {
        let float = match ty {
            Type::F16 => Some(FloatKind::F16),
            Type::F16x2 => Some(FloatKind::F16x2),
            Type::Bf16 => Some(FloatKind::Bf16),
            Type::Bf16x2 => Some(FloatKind::Bf16x2),
            Type::F32 => Some(FloatKind::F32),
            Type::F64 => Some(FloatKind::F64),
            _ => None,
        };
        let signed = ty.is_signed();
        let word = ty.class() != Class::Float && ty.bits() >= 32 && ty.bits() <= 64;
        Ok(match (suffix, float) {
            ("add", Some(kind)) => AtomicOp::FloatAdd(kind),
            ("min", Some(kind)) => AtomicOp::FloatMin(kind),
            ("max", Some(kind)) => AtomicOp::FloatMax(kind),
            ("exch", Some(FloatKind::F32)) => AtomicOp::Exchange,
            ("cas", None) if ty.bits() == 16 => AtomicOp::CompareSwap,
            ("add", None) if word => AtomicOp::Add,
            ("and", None) if word => AtomicOp::And,
            ("or", None) if word => AtomicOp::Or,
            ("xor", None) if word => AtomicOp::Xor,
            ("exch", None) if word => AtomicOp::Exchange,
            ("cas", None) if word => AtomicOp::CompareSwap,
            ("min", None) if word => AtomicOp::Min { signed },
            ("max", None) if word => AtomicOp::Max { signed },
            ("inc", None) if ty == Type::U32 => AtomicOp::Inc,
            ("dec", None) if ty == Type::U32 => AtomicOp::Dec,
            _ => return Err(self.error("not supported with this type")),
        })
    }

    /// `cp.async` and its groups.
    fn copy_async(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        m.take("async");
        if m.take("commit_group") {
            return Ok(Op::CommitGroup);
        }
        if m.take("wait_all") {
            return Ok(Op::WaitGroup { pending: None });
        }
        if m.take("wait_group") {
            return Ok(Op::WaitGroup {
                pending: Some(self.literal(self.operand(operands, 0)?)?),
            });
        }
        let operands = self.without_policy(m, operands);
        let bypass = m.has("cg");
        m.drop_cache_hints();
        if !(m.take("shared") || m.take("shared::cta")) || !m.take("global") {
            return Err(self.error("copies from global to shared memory"));
        }
        self.expect_operands(operands, 3..=4)?;
        let bytes = self.literal(&operands[2])?;
        if !matches!(bytes, 4 | 8 | 16) || (bypass && bytes != 16) {
            return Err(self.error(format!(
                "cannot copy {bytes} bytes: 4, 8 or 16, and with `.cg` 16"
            )));
        }
        let (mut source_bytes, mut ignore) = (None, PredSrc::Literal(false));
        if let Some(last) = operands.get(3) {
            let predicate = self.register_bits(last) == Some(1) || matches!(last, Operand::Not(_));
            if predicate {
                ignore = self.pred_src(last)?;
            } else {
                source_bytes = Some(self.src(last, Type::U32)?);
            }
        }
        Ok(Op::CopyAsync {
            destination: self.address(&operands[0])?,
            source: self.address(&operands[1])?,
            bytes,
            source_bytes,
            ignore,
        })
    }
}
