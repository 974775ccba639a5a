//! The two products of every recurrence, in panels: a symmetric one, of which only one triangle of
//! 16 x 16 blocks is computed, and the multiplication by a symmetric matrix from the right.
//!
//! **The same bits everywhere.** Each element of a product is one chain of fused multiply-adds that
//! starts at zero and runs over k upwards. Blocking only decides when a chain pauses in memory.

mod corner;
mod finish;
mod piece;
mod symmetric;
mod transposed;
mod update;

pub(crate) use finish::{Affine, Combine, Finish, Scaled};
pub(crate) use symmetric::{SymmetricPart, symmetric};
pub(crate) use transposed::{TransposedPart, transposed};
pub(crate) use update::{UpdatePart, update};

/// Length of the part of a sum that one pass over a block covers: three panels of the right operand and
/// one of the left, 128 rows each, are 32 KiB and stay in the first-level cache.
pub(crate) const SUM_BLOCK: usize = 128;

/// How many panels a piece spans: a property of the variant, without influence on the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blocking {
    /// Panels of a piece of a symmetric product: 2 or 3.
    pub symmetric: u8,
    /// Panels of a piece of a multiplication: 2 (twelve rows), 3 (eight rows) or 4 (six rows).
    pub update: u8,
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
