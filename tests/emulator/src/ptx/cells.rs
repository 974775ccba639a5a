//! How finely a kernel's memory has to be watched.

use crate::isa::{Inst, MbarrierOp, MemSpace, Op};

/// Bytes of the narrowest plain writes of a kernel to shared and to global memory, at most [`Cells::WIDEST`]. Writes
/// are aligned to their width, so that each covers whole cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cells {
    pub shared: u32,
    pub global: u32,
}

impl Cells {
    const WIDEST: u32 = 16;

    pub(super) fn of(code: &[Inst]) -> Self {
        let mut cells = Self {
            shared: Self::WIDEST,
            global: Self::WIDEST,
        };
        for inst in code {
            match &inst.op {
                Op::Store { space, width, .. } => cells.write(*space, width.bytes()),
                Op::Atomic { space, bytes, .. } => cells.write(*space, *bytes),
                Op::CopyAsync { bytes, .. } => cells.write(MemSpace::Shared, *bytes),
                Op::Mbarrier { op, .. } if matches!(**op, MbarrierOp::Init { .. }) => {
                    cells.write(MemSpace::Shared, 8);
                }
                // Matrix stores and bulk copies write multiples of sixteen bytes.
                _ => {}
            }
        }
        cells
    }

    fn write(&mut self, space: MemSpace, bytes: u32) {
        if matches!(space, MemSpace::Shared | MemSpace::Generic) {
            self.shared = self.shared.min(bytes);
        }
        if matches!(space, MemSpace::Global | MemSpace::Generic) {
            self.global = self.global.min(bytes);
        }
    }
}
