//! What the recurrences are written in: a few operations on named buffers of a tile.

use super::layout::Shape;

/// Most tiles that one engine works on at a time.
pub(super) const MOST_TILES: usize = 16;

/// One number for each tile.
pub(super) type PerTile = [f32; MOST_TILES];

/// A buffer of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// M x N (an N x N matrix fits too), number 0, 1 or 2.
    Tall(usize),
    /// N x N.
    Gram,
    /// M x N: X as it was before the recurrence, where somebody needs it afterwards.
    Kept,
}

/// Which buffers a tile has, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// Number of [`Slot::Tall`].
    pub(super) tall: usize,
    /// Whether there is a [`Slot::Kept`].
    pub(super) kept: bool,
}

impl Slots {
    /// Numbers of all buffers of a tile.
    pub(super) fn length(self, shape: impl Shape) -> usize {
        (self.tall + usize::from(self.kept)) * shape.tall_length() + shape.gram_length()
    }

    /// Where a buffer begins.
    #[inline(always)]
    pub(super) fn offset(self, slot: Slot, shape: impl Shape) -> usize {
        match slot {
            Slot::Tall(number) => number * shape.tall_length(),
            Slot::Gram => self.tall * shape.tall_length(),
            Slot::Kept => self.tall * shape.tall_length() + shape.gram_length(),
        }
    }
}

/// What Newton-Schulz is written in. A matrix is M x N unless its name says `gram`, which is N x N.
pub(super) trait Products {
    /// Whether intermediate matrices are rounded to bf16.
    fn rounds(&self) -> bool;
    /// gram <- factor X^T X.
    fn gram(&self, x: Slot, gram: Slot, factor: f32);
    /// output <- linear G + quadratic G^2.
    fn polynomial(&self, gram: Slot, output: Slot, linear: f32, quadratic: f32);
    /// output <- linear L + factor L R.
    fn update(&self, left: Slot, gram: Slot, output: Slot, linear: f32, factor: f32);
}

/// What the other recurrences need beside the products.
pub(super) trait Engine: Products {
    /// Number of columns N.
    fn columns(&self) -> usize;
    /// y <- a y + d x + Z R.
    fn combine(&self, left: Slot, gram: Slot, y: (Slot, f32), x: (Slot, f32));
    /// output <- b y + e x.
    fn mix(&self, output: Slot, y: (Slot, f32), x: (Slot, f32));
    /// to <- from.
    fn copy(&self, from: Slot, to: Slot);
    /// gram <- gram + value I.
    fn add_diagonal(&self, gram: Slot, value: f32);
    /// ||gram||_F^2 of each tile.
    fn gram_norm_squared(&self, gram: Slot) -> PerTile;
    /// x <- factor x for each tile.
    fn scale(&self, x: Slot, factors: &PerTile);
    /// gram <- factor gram for each tile.
    fn scale_gram(&self, gram: Slot, factors: &PerTile);
}

/// What only the almost-orthogonal rescale needs.
pub(super) trait Rescale: Engine {
    /// The almost-orthogonal rescale: column j of x, and row and column j of gram, by 1/sqrt(sum_i |gram_ij|).
    fn balance(&self, x: Slot, gram: Slot, factors: Slot);
}
