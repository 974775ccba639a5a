//! The two products of every recurrence, in panels: a symmetric one, of which only one triangle of
//! 16 x 16 blocks is computed, and the multiplication by a symmetric matrix from the right.
//!
//! **The same bits everywhere.** Each element of a product is one chain of fused multiply-adds that
//! starts at zero and runs over k upwards. Blocking only decides when a chain pauses in memory.

mod corner;
mod finish;
mod narrow;
mod piece;
mod symmetric;
mod transposed;
mod update;

pub(crate) use finish::{Affine, Combine, Finish, Scaled};
pub(crate) use symmetric::{SymmetricPart, symmetric};
pub(crate) use transposed::{TransposedPart, transposed};
pub(crate) use update::{UpdatePart, update};

use super::simd::InstructionSet;

/// Length of the part of a sum that one pass over a block covers, where sums are cut: three or four panels of the right
/// operand and one of the left, 128 rows each, are 32 or 40 KiB.
pub(crate) const SUM_BLOCK: usize = 128;

/// How the products are cut into pieces: a property of the variant, without influence on the bits.
///
/// A piece spans several panels where an instruction set has registers for that, and one panel elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blocking {
    /// Of a piece of a symmetric product: 2 or 3 panels, or 4, 5 or 6 rows of one panel.
    pub symmetric: u8,
    /// Of a piece of a multiplication: 2 (of twelve rows), 3 (of eight rows) or 4 (of six rows) panels, or 4, 5 or 6
    /// rows of one panel. Five rows stand for pieces of six, five and five, which are sixteen.
    pub update: u8,
    /// Length of the part of a sum that one pass over a block covers, a multiple of sixteen. With AVX-512 sums up to four
    /// times as long are not cut.
    pub sum: u16,
}

impl Blocking {
    /// All that differ on an instruction set for some tile.
    pub(crate) fn all(set: InstructionSet) -> Vec<Blocking> {
        let (symmetric, update, sums): (&[u8], &[u8], &[u16]) = match set {
            InstructionSet::Avx512 => (&[1, 2, 3], &[1, 2, 3, 4], &[128]),
            InstructionSet::Avx2 | InstructionSet::Portable => {
                (&[4, 5, 6], &[4, 5, 6], &[128, 256])
            }
        };
        let mut all = Vec::new();
        for &sum in sums {
            for &symmetric in symmetric {
                all.extend(update.iter().map(|&update| Blocking {
                    symmetric,
                    update,
                    sum,
                }));
            }
        }
        all
    }

    /// Of [`Blocking::all`] those that cut both products alike where they can: each way to cut a product is among them.
    pub(crate) fn each(set: InstructionSet) -> Vec<Blocking> {
        let mut all = Blocking::all(set);
        all.retain(|blocking| {
            set == InstructionSet::Avx512 || blocking.symmetric == blocking.update
        });
        all
    }

    /// The default; `wide`: where pieces span several panels.
    pub(crate) const fn of(wide: bool) -> Blocking {
        let (symmetric, update) = if wide { (3, 4) } else { (6, 6) };
        Blocking {
            symmetric,
            update,
            sum: SUM_BLOCK as u16,
        }
    }
}

/// Panels of the next group, when `left` are left: never a single one where it can be avoided.
#[inline(always)]
fn group(width: usize, left: usize) -> usize {
    if left <= width {
        left
    } else if left == width + 1 && width > 2 {
        left.div_ceil(2)
    } else {
        width
    }
}

/// A sum up to so many times as long as a pass is not cut by the sets with many registers.
const UNCUT: usize = 4;

/// Length of the part of a sum of `depth` terms that one pass covers with many registers. A pause stores every sum and
/// loads it again, which costs more than right operands that come from the second-level cache; where they no longer fit
/// there, at 512 terms and 24 panels a side, neither gains.
#[inline(always)]
pub(crate) fn pass_length(depth: usize, sum: usize) -> usize {
    if depth <= UNCUT * sum { depth } else { sum }
}
