//! What the recurrences are written in: a few operations on named buffers of a tile.
//!
//! [`Serial`] runs them on one thread for a few tiles of one size at a time, so that the latency of one
//! tile's short sums hides behind the other's; [`super::parallel::Parallel`] runs them on all threads for
//! one tile that is too large for a core.

use super::elementwise as pass;
use super::layout::{Panels, Shape};
use super::product::{
    Affine, Blocking, Combine, Finish, Scaled, SymmetricPart, UpdatePart, symmetric, update,
};
use super::simd::Simd;

/// Most tiles that one [`Serial`] engine works on at a time.
pub(super) const MOST_TILES: usize = 8;

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

/// The operations. A matrix is M x N unless its name says `gram`, which is N x N.
pub(super) trait Engine {
    /// Number of columns N.
    fn columns(&self) -> usize;
    /// Whether intermediate matrices are rounded to bf16.
    fn rounds(&self) -> bool;
    /// gram <- factor X^T X.
    fn gram(&self, x: Slot, gram: Slot, factor: f32);
    /// output <- linear G + quadratic G^2.
    fn polynomial(&self, gram: Slot, output: Slot, linear: f32, quadratic: f32);
    /// output <- linear L + factor L R.
    fn update(&self, left: Slot, gram: Slot, output: Slot, linear: f32, factor: f32);
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
    /// The almost-orthogonal rescale: column j of x, and row and column j of gram, by 1/sqrt(sum_i |gram_ij|).
    fn balance(&self, x: Slot, gram: Slot, factors: Slot);
}

/// One thread, a few tiles of one size. `INLINE`: the products are compiled into the caller for this very
/// size, which then needs the instruction set's features; such an engine never rounds.
#[derive(Clone, Copy)]
pub(super) struct Serial<S, D, const INLINE: bool> {
    pub(super) simd: S,
    pub(super) shape: D,
    pub(super) slots: Slots,
    pub(super) blocking: Blocking,
    rounds: bool,
    /// Start of the buffers of each tile.
    bases: [*mut f32; MOST_TILES],
    tiles: usize,
}

impl<S: Simd, D: Shape, const INLINE: bool> Serial<S, D, INLINE> {
    /// An engine without tiles.
    pub(super) fn new(simd: S, shape: D, slots: Slots, blocking: Blocking, rounds: bool) -> Self {
        Serial {
            simd,
            shape,
            slots,
            blocking,
            rounds,
            bases: [std::ptr::null_mut(); MOST_TILES],
            tiles: 0,
        }
    }

    /// The same tiles, without rounding, compiled for their size.
    ///
    /// # Safety
    /// `shape` is theirs, and the two engines are not used at the same time.
    pub(super) unsafe fn specialised<T: Shape>(&self, shape: T) -> Serial<S, T, true> {
        Serial {
            simd: self.simd,
            shape,
            slots: self.slots,
            blocking: self.blocking,
            rounds: false,
            bases: self.bases,
            tiles: self.tiles,
        }
    }

    /// Adds a tile; more than [`MOST_TILES`] are ignored, which the caller's batch size rules out.
    ///
    /// # Safety
    /// From `base`, on a 64-byte boundary, `slots.length(shape)` numbers are this engine's alone as long as
    /// it lives.
    pub(super) unsafe fn push(&mut self, base: *mut f32) {
        if self.tiles < MOST_TILES {
            self.bases[self.tiles] = base;
            self.tiles += 1;
        }
    }

    /// Where the buffers of a tile begin.
    pub(super) fn base(&self, tile: usize) -> *mut f32 {
        self.bases[tile]
    }

    /// How many tiles there are.
    #[inline(always)]
    pub(super) fn tiles(&self) -> usize {
        self.tiles
    }

    #[inline(always)]
    fn view(&self, tile: usize, slot: Slot, stride: usize) -> Panels {
        let offset = self.slots.offset(slot, self.shape);
        Panels {
            // SAFETY: the slot lies inside the numbers that `push` was granted.
            start: unsafe { self.bases[tile].add(offset) },
            stride,
        }
    }

    /// An M x N buffer of a tile.
    #[inline(always)]
    pub(super) fn tall(&self, tile: usize, slot: Slot) -> Panels {
        self.view(tile, slot, self.shape.tall_stride())
    }

    #[inline(always)]
    fn small(&self, tile: usize, slot: Slot) -> Panels {
        self.view(tile, slot, self.shape.gram_stride())
    }

    #[inline(always)]
    fn symmetric(&self, input: Panels, depth: usize, output: Panels, finish: Finish) {
        let panels = self.shape.panels();
        let part = SymmetricPart {
            input,
            depth,
            output,
            rows: 0..panels,
            columns: 0..panels,
            width: self.blocking.symmetric.into(),
        };
        // SAFETY: see below.
        unsafe {
            symmetric::<S, INLINE>(self.simd, part, finish);
            if self.rounds() {
                pass::round(self.simd, output, 0..panels, self.shape.columns());
            }
        }
    }

    #[inline(always)]
    fn multiply(&self, left: Panels, right: Panels, output: Panels, finish: Finish) {
        let part = UpdatePart {
            left,
            right,
            depth: self.shape.columns(),
            output,
            rows: 0..self.shape.rows(),
            columns: 0..self.shape.panels(),
            width: self.blocking.update.into(),
        };
        // SAFETY: see below.
        unsafe {
            update::<S, INLINE>(self.simd, part, finish);
            if self.rounds() {
                self.round(output);
            }
        }
    }

    fn round(&self, matrix: Panels) {
        // SAFETY: see below.
        unsafe { pass::round(self.simd, matrix, 0..self.shape.panels(), self.shape.rows()) }
    }
}

// SAFETY of every block here and above: `push` granted the buffers to this engine alone, the slots of one
// operation are distinct (the recurrences never name one twice, but for the in-place operands documented), and
// the ranges are those of the shape that the slots were laid out for.
impl<S: Simd, D: Shape, const INLINE: bool> Engine for Serial<S, D, INLINE> {
    #[inline(always)]
    fn columns(&self) -> usize {
        self.shape.columns()
    }

    #[inline(always)]
    fn rounds(&self) -> bool {
        !INLINE && self.rounds
    }

    #[inline(always)]
    fn gram(&self, x: Slot, gram: Slot, factor: f32) {
        for tile in 0..self.tiles {
            let (input, output) = (self.tall(tile, x), self.small(tile, gram));
            self.symmetric(
                input,
                self.shape.rows(),
                output,
                Finish::Scaled(Scaled { factor }),
            );
        }
    }

    #[inline(always)]
    fn polynomial(&self, gram: Slot, output: Slot, linear: f32, factor: f32) {
        for tile in 0..self.tiles {
            let base = self.small(tile, gram);
            let finish = Finish::Affine(Affine {
                base,
                linear,
                factor,
            });
            self.symmetric(base, self.shape.columns(), self.small(tile, output), finish);
        }
    }

    #[inline(always)]
    fn update(&self, left: Slot, gram: Slot, output: Slot, linear: f32, factor: f32) {
        for tile in 0..self.tiles {
            let base = self.tall(tile, left);
            let (right, output) = (self.small(tile, gram), self.tall(tile, output));
            if linear == 0.0 {
                self.multiply(base, right, output, Finish::Scaled(Scaled { factor }));
            } else if self.rounds() {
                // The product is rounded before it is added.
                self.multiply(base, right, output, Finish::Scaled(Scaled { factor }));
                let panels = 0..self.shape.panels();
                let rows = self.shape.rows();
                // SAFETY: see above.
                unsafe {
                    pass::mix(
                        self.simd,
                        output,
                        (output, 1.0),
                        (base, linear),
                        panels,
                        rows,
                    )
                }
                self.round(output);
            } else {
                let finish = Finish::Affine(Affine {
                    base,
                    linear,
                    factor,
                });
                self.multiply(base, right, output, finish);
            }
        }
    }

    #[inline(always)]
    fn combine(&self, left: Slot, gram: Slot, y: (Slot, f32), x: (Slot, f32)) {
        for tile in 0..self.tiles {
            let output = self.tall(tile, y.0);
            let finish = Finish::Combine(Combine {
                y: (output, y.1),
                x: (self.tall(tile, x.0), x.1),
            });
            self.multiply(
                self.tall(tile, left),
                self.small(tile, gram),
                output,
                finish,
            );
        }
    }

    fn mix(&self, output: Slot, y: (Slot, f32), x: (Slot, f32)) {
        let (panels, rows) = (self.shape.panels(), self.shape.rows());
        for tile in 0..self.tiles {
            let (to, y, x) = (
                self.tall(tile, output),
                (self.tall(tile, y.0), y.1),
                (self.tall(tile, x.0), x.1),
            );
            // SAFETY: see above.
            unsafe { pass::mix(self.simd, to, y, x, 0..panels, rows) }
            if self.rounds() {
                self.round(to);
            }
        }
    }

    fn copy(&self, from: Slot, to: Slot) {
        let (panels, rows) = (self.shape.panels(), self.shape.rows());
        for tile in 0..self.tiles {
            let (from, to) = (self.tall(tile, from), self.tall(tile, to));
            // SAFETY: see above.
            unsafe { pass::copy(self.simd, from, to, 0..panels, rows) }
        }
    }

    fn add_diagonal(&self, gram: Slot, value: f32) {
        for tile in 0..self.tiles {
            // SAFETY: see above.
            unsafe { pass::add_diagonal(self.small(tile, gram), self.shape.columns(), value) }
        }
    }

    fn gram_norm_squared(&self, gram: Slot) -> PerTile {
        let (panels, rows) = (self.shape.panels(), self.shape.columns());
        let mut squares = [0.0; MOST_TILES];
        for (tile, square) in squares.iter_mut().enumerate().take(self.tiles) {
            let gram = self.small(tile, gram);
            // SAFETY: see above.
            *square = unsafe { pass::product(self.simd, gram, gram, panels, rows, 1.0) };
        }
        squares
    }

    fn scale(&self, x: Slot, factors: &PerTile) {
        let (panels, rows) = (self.shape.panels(), self.shape.rows());
        for tile in 0..self.tiles {
            let x = self.tall(tile, x);
            // SAFETY: see above.
            unsafe { pass::scale(self.simd, x, 0..panels, rows, factors[tile], 1.0) }
        }
    }

    fn scale_gram(&self, gram: Slot, factors: &PerTile) {
        let (panels, rows) = (self.shape.panels(), self.shape.columns());
        for tile in 0..self.tiles {
            let gram = self.small(tile, gram);
            // SAFETY: see above.
            unsafe { pass::scale(self.simd, gram, 0..panels, rows, factors[tile], 1.0) }
        }
    }

    fn balance(&self, x: Slot, gram: Slot, factors: Slot) {
        let (simd, panels) = (self.simd, self.shape.panels());
        let (rows, columns) = (self.shape.rows(), self.shape.columns());
        for tile in 0..self.tiles {
            let (x, gram) = (self.tall(tile, x), self.small(tile, gram));
            let factors = self.small(tile, factors).start;
            // SAFETY: see above; the factors are at most one panel long.
            unsafe {
                pass::balance_factors(simd, gram, 0..panels, columns, factors);
                pass::balance(simd, x, 0..panels, rows, factors, false);
                pass::balance(simd, gram, 0..panels, columns, factors, true);
            }
        }
    }
}
