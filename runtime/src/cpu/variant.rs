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
        }
    }

    /// A name that tells every variant apart, as in `avx512-s3-u3-b8`.
    pub fn name(&self) -> String {
        format!(
            "{}-s{}-u{}-b{}",
            self.instruction_set.name(),
            self.blocking.symmetric,
            self.blocking.update,
            self.batch
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
