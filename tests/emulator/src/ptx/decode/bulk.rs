//! One-dimensional bulk copies.

use super::modifiers::Modifiers;
use super::{Decoded, Decoder};
use crate::counters::InstructionKind as Kind;
use crate::isa::{Bulk, Op};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::Type;

impl<'a> Decoder<'a> {
    pub(super) fn bulk(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Decoded {
        if m.name() != "cp" || !(m.take("async") & m.take("bulk")) {
            return Ok(None);
        }
        let op = if m.take("commit_group") {
            Op::BulkCommit
        } else if m.take("wait_group") {
            m.take("read");
            Op::BulkWait {
                pending: self.literal(self.operand(operands, 0)?)?,
            }
        } else {
            self.bulk_copy(m, operands)?
        };
        Ok(Some((op, Kind::Async)))
    }

    fn bulk_copy(
        &mut self,
        m: &mut Modifiers<'a>,
        operands: &[Operand<'a>],
    ) -> Result<Op, PtxError> {
        if ["tensor", "prefetch", "reduce", "multicast::cluster"]
            .iter()
            .any(|suffix| m.has(suffix))
        {
            return Err(self.error("only plain one-dimensional copies are supported"));
        }
        let hint = usize::from(m.take("L2::cache_hint"));
        if m.take("mbarrier::complete_tx::bytes") {
            let to_shared = m.take("shared::cluster") || m.take("shared::cta");
            if !(m.take("global") && to_shared) {
                return Err(self.error("with an mbarrier: from global to shared memory"));
            }
            self.expect_operands(operands, 4 + hint..=4 + hint)?;
            return Ok(Op::Bulk(Bulk::GlobalToShared {
                destination: self.address(&operands[0])?,
                source: self.address(&operands[1])?,
                bytes: self.src(&operands[2], Type::U32)?,
                mbarrier: self.address(&operands[3])?,
            }));
        }
        if !(m.take("global") & m.take("shared::cta") & m.take("bulk_group")) {
            return Err(self.error("expected `.global.shared::cta.bulk_group` or an mbarrier"));
        }
        self.expect_operands(operands, 3 + hint..=3 + hint)?;
        Ok(Op::Bulk(Bulk::SharedToGlobal {
            destination: self.address(&operands[0])?,
            source: self.address(&operands[1])?,
            bytes: self.src(&operands[2], Type::U32)?,
        }))
    }
}
