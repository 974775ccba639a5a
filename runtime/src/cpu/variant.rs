//! Ways to compute the same bits.

use super::product::Blocking;
use super::simd::InstructionSet;

/// How a kernel runs: changes the time, never the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuVariant {
    /// Instructions.
    pub instruction_set: InstructionSet,
    /// Panels of the register blocks.
    pub blocking: Blocking,
    /// Most tiles that a thread works on at a time, 1 to 8: of 16 x 16 or fewer elements that many, of up to 32 x 32 in
    /// proportion fewer.
    pub batch: u8,
    /// Whether the tensors of the next tiles are asked for while these are computed. Tiles that all threads share have
    /// no next ones.
    pub ahead: bool,
}

/// How many tiles of rows x columns are worked on at a time: their buffers stay in the first-level cache.
pub(crate) fn tiles_at_a_time(batch: usize, rows: usize, columns: usize) -> usize {
    const SMALL: usize = 32 * 32;
    const SMALLEST: usize = 16 * 16;
    let area = rows * columns;
    if area <= SMALL {
        (batch * SMALLEST / area.max(1)).clamp(1, batch)
    } else {
        1
    }
}

impl CpuVariant {
    /// The default for an instruction set.
    pub const fn new(instruction_set: InstructionSet) -> Self {
        CpuVariant {
            instruction_set,
            blocking: Blocking {
                symmetric: 3,
                update: 3,
            },
            batch: 8,
            ahead: true,
        }
    }

    /// A name that tells every variant apart, as in `avx512-s3-u3-b8`; with `-a0` where nothing is asked for ahead.
    pub fn name(&self) -> String {
        format!(
            "{}-s{}-u{}-b{}{}",
            self.instruction_set.name(),
            self.blocking.symmetric,
            self.blocking.update,
            self.batch,
            if self.ahead { "" } else { "-a0" }
        )
    }

    /// All that make sense on this processor, the default first.
    pub(super) fn all() -> Vec<CpuVariant> {
        let mut variants = vec![CpuVariant::new(InstructionSet::best())];
        for instruction_set in InstructionSet::ALL {
            if !instruction_set.is_available() {
                continue;
            }
            for (symmetric, update, batch) in candidates(instruction_set) {
                let variant = CpuVariant {
                    instruction_set,
                    blocking: Blocking { symmetric, update },
                    batch,
                    ahead: batch > 1,
                };
                if !variants.contains(&variant) {
                    variants.push(variant);
                }
            }
        }
        variants
    }
}

/// Register blocks only differ where there are registers for more than one panel.
fn candidates(instruction_set: InstructionSet) -> Vec<(u8, u8, u8)> {
    let mut list = Vec::new();
    for batch in [1, 8] {
        if instruction_set == InstructionSet::Avx512 {
            for symmetric in [2, 3] {
                list.extend([2, 3, 4].map(|update| (symmetric, update, batch)));
            }
        } else {
            list.push((3, 3, batch));
        }
    }
    list
}
