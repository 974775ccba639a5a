//! The registers that each instruction of a kernel reads and that must have been written: one list for all.

use std::ops::Range;

use super::operands::Operands;

/// Slots in one stretch of memory, since execution looks them up at every instruction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reads {
    slots: Vec<u32>,
    /// For each instruction where its registers begin, where its predicates begin, and where those end.
    bounds: Vec<[u32; 3]>,
}

impl Reads {
    pub(super) fn new(operands: &[Operands]) -> Self {
        let mut reads = Self::default();
        for of_one in operands {
            let first = reads.slots.len();
            reads.slots.extend(&of_one.reads);
            let predicates = reads.slots.len();
            reads.slots.extend(&of_one.pred_reads);
            let bounds = [first, predicates, reads.slots.len()];
            reads.bounds.push(bounds.map(|bound| bound as u32));
        }
        reads
    }

    #[inline(always)]
    fn slots(&self, range: Range<u32>) -> &[u32] {
        &self.slots[range.start as usize..range.end as usize]
    }

    /// Registers and predicates of an instruction.
    #[inline(always)]
    pub(crate) fn of(&self, instruction: usize) -> (&[u32], &[u32]) {
        let [first, predicates, end] = self.bounds[instruction];
        (self.slots(first..predicates), self.slots(predicates..end))
    }
}
