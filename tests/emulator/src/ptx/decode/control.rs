//! Branches and exits.

use super::modifiers::Modifiers;
use super::{BranchTarget, Decoded, Decoder, PendingBranch};
use crate::counters::InstructionKind as Kind;
use crate::isa::{NEVER, Op};
use crate::ptx::PtxError;
use crate::ptx::syntax::Operand;
use crate::ptx::types::Type;

impl<'a> Decoder<'a> {
    pub(super) fn control(&mut self, m: &mut Modifiers<'a>, operands: &[Operand<'a>]) -> Decoded {
        let op = match m.name() {
            "bra" => {
                m.take("uni");
                let label = self.label(self.operand(operands, 0)?)?;
                self.pending(BranchTarget::Label(label));
                Op::Branch {
                    target: 0,
                    reconverge: NEVER,
                }
            }
            "brx" => {
                m.take("idx");
                m.take("uni");
                self.expect_operands(operands, 2..=2)?;
                let table = self.label(&operands[1])?;
                let index = self.src(&operands[0], Type::U32)?;
                self.pending(BranchTarget::Table(table));
                Op::BranchTable {
                    index,
                    targets: Box::new([]),
                    reconverge: NEVER,
                }
            }
            "ret" | "exit" => {
                m.take("uni");
                Op::Exit
            }
            "trap" | "brkpt" => Op::Trap,
            "call" => {
                return Err(self.error("calls of device functions are not supported: inline them"));
            }
            _ => return Ok(None),
        };
        Ok(Some((op, Kind::Control)))
    }

    fn label(&self, operand: &Operand<'a>) -> Result<&'a str, PtxError> {
        match operand {
            Operand::Name(label) => Ok(label),
            _ => Err(self.error("expected a label")),
        }
    }

    fn pending(&mut self, target: BranchTarget<'a>) {
        self.branches.push(PendingBranch {
            at: self.code.len(),
            scopes: self.scopes.chain(),
            target,
            line: self.line,
        });
    }
}
