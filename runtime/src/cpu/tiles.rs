//! A few tiles of one size on one thread, so that the latency of one tile's short sums hides behind the others', or
//! one tile that is too large for a core on a team of threads.

mod products;

use super::ahead::{Ahead, Asked};
use super::elementwise as pass;
use super::engine::{Engine, MOST_TILES, PerTile, Products, Rescale, Slot, Slots};
use super::layout::{Panels, Shape};
use super::product::{Blocking, Combine, Finish, SymmetricPart, UpdatePart, symmetric, update};
use super::simd::{LANES, Line, Shared, Simd};
use super::team::Team;
use std::ops::Range;

/// `INLINE`: products are compiled into the caller for this very size, which needs the set's features; never rounds, and no
/// step is without its linear term.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a, S, D, const INLINE: bool> {
    pub(super) simd: S,
    pub(super) shape: D,
    pub(super) slots: Slots,
    pub(super) blocking: Blocking,
    rounds: bool,
    pub(super) team: Team<'a>,
    /// What is asked for while this engine computes; nothing on a team of several threads.
    ahead: Option<&'a Ahead>,
    /// Start of the buffers of each tile.
    bases: [*mut f32; MOST_TILES],
    tiles: usize,
}

impl<'a, S: Simd, D: Shape, const INLINE: bool> Tiles<'a, S, D, INLINE> {
    /// An engine without tiles.
    pub(super) fn new(
        simd: S,
        shape: D,
        slots: Slots,
        blocking: Blocking,
        rounds: bool,
        team: Team<'a>,
        ahead: Option<&'a Ahead>,
    ) -> Self {
        debug_assert!(
            ahead.is_none() || team.is_alone(),
            "a team asks for nothing"
        );
        Tiles {
            simd,
            shape,
            slots,
            blocking,
            rounds,
            team,
            ahead,
            bases: [std::ptr::null_mut(); MOST_TILES],
            tiles: 0,
        }
    }

    /// The same tiles, without rounding, compiled for their size.
    ///
    /// # Safety
    /// `shape` is theirs, and the two engines are not used at the same time.
    pub(super) unsafe fn specialised<T: Shape>(&self, shape: T) -> Tiles<'a, S, T, true> {
        Tiles {
            simd: self.simd,
            shape,
            slots: self.slots,
            blocking: self.blocking,
            rounds: false,
            team: Team::ALONE,
            ahead: self.ahead,
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

    /// What is asked for while this engine computes.
    pub(super) fn ahead(&self) -> Option<&'a Ahead> {
        self.ahead
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
        let (panels, asked) = (self.shape.panels(), self.asked());
        let part = |rows, columns| SymmetricPart {
            input,
            depth,
            output,
            rows,
            columns,
            width: self.blocking.symmetric.into(),
            sum: self.blocking.sum.into(),
            asked,
        };
        // SAFETY: see below; two parts share no block of the output, and where several threads compute nothing is asked for.
        unsafe {
            // Not within a closure: the features of the caller would end there.
            if INLINE {
                symmetric::<S, true>(self.simd, part(0..panels, 0..panels), finish);
            } else {
                self.team
                    .blocks(0..panels, 0..panels, 1, true, |rows, columns| {
                        symmetric::<S, false>(self.simd, part(rows, columns), finish);
                    });
            }
        }
        if self.rounds() {
            self.round(output, self.shape.columns());
        }
    }

    #[inline(always)]
    fn multiply(&self, left: Panels, right: Panels, output: Panels, finish: Finish) {
        let asked = self.asked();
        let part = |rows, columns| UpdatePart {
            left,
            right,
            depth: self.shape.columns(),
            output,
            rows,
            columns,
            width: self.blocking.update.into(),
            sum: self.blocking.sum.into(),
            asked,
        };
        let (rows, panels) = (self.shape.rows(), self.shape.panels());
        // SAFETY: see below; two parts share no block of the output, and where several threads compute nothing is asked for.
        unsafe {
            // Not within a closure: the features of the caller would end there.
            if INLINE {
                update::<S, true>(self.simd, part(0..rows, 0..panels), finish);
            } else {
                self.team
                    .blocks(0..rows, 0..panels, LANES, false, |rows, columns| {
                        update::<S, false>(self.simd, part(rows, columns), finish);
                    });
            }
        }
        if self.rounds() {
            self.round(output, rows);
        }
    }

    /// Asks for a little of what comes next.
    #[inline(always)]
    fn ask(&self) {
        if let Some(ahead) = self.ahead {
            ahead.ask_with_product(self.simd);
        }
    }

    /// What the pieces of a product ask for; those that are compiled into the caller nothing.
    #[inline(always)]
    fn asked(&self) -> Asked {
        match self.ahead {
            Some(ahead) if !INLINE => ahead.asked(),
            _ => Asked::NOTHING,
        }
    }

    /// Calls `pass` with ranges of panels.
    #[inline(always)]
    fn panels(&self, pass: impl Fn(Range<usize>) + Sync) {
        self.team.ranges(self.shape.panels(), 1, pass);
    }

    fn round(&self, matrix: Panels, rows: usize) {
        // SAFETY: see below.
        self.panels(|panels| unsafe { pass::round(self.simd, matrix, panels, rows) });
    }

    /// Sum of a b over all elements of two matrices of `rows` rows.
    pub(super) fn product(&self, a: Panels, b: Panels, rows: usize, scale: f32) -> f32 {
        let panels = self.shape.panels();
        if self.team.is_alone() {
            // SAFETY: see below.
            return unsafe { pass::product(self.simd, a, b, panels, rows, scale) };
        }
        let mut sums = vec![Line::ZERO; panels];
        let shared = Shared(sums.as_mut_ptr());
        self.panels(|panels| {
            for panel in panels {
                // SAFETY: see below; there is a line for each panel.
                unsafe { *shared.at(panel) = pass::panel_sums(self.simd, a, b, panel, rows, scale) }
            }
        });
        pass::total(&sums)
    }

    /// x <- second (first x), rounded where intermediate matrices are.
    pub(super) fn normalise(&self, x: Panels, first: f32, second: f32) {
        let rows = self.shape.rows();
        // SAFETY: see below.
        self.panels(|panels| unsafe { pass::scale(self.simd, x, panels, rows, first, second) });
        if self.rounds() {
            self.round(x, rows);
        }
    }
}

// SAFETY: the buffers' addresses only; a team's tasks touch disjoint parts of them. `ahead`, which is no `Sync`, is
// there on a team of one thread only.
unsafe impl<S: Simd, D: Shape, const INLINE: bool> Sync for Tiles<'_, S, D, INLINE> {}

// SAFETY of every block here, above and in `products`: `push` granted the buffers to this engine alone, the slots of one
// operation are distinct (the recurrences never name one twice, but for the in-place operands documented), and
// the ranges are those of the shape that the slots were laid out for.
impl<S: Simd, D: Shape, const INLINE: bool> Engine for Tiles<'_, S, D, INLINE> {
    #[inline(always)]
    fn columns(&self) -> usize {
        self.shape.columns()
    }

    #[inline(always)]
    fn combine(&self, left: Slot, gram: Slot, y: (Slot, f32), x: (Slot, f32)) {
        self.ask();
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
        let rows = self.shape.rows();
        for tile in 0..self.tiles {
            let (to, y, x) = (
                self.tall(tile, output),
                (self.tall(tile, y.0), y.1),
                (self.tall(tile, x.0), x.1),
            );
            // SAFETY: see above.
            self.panels(|panels| unsafe { pass::mix(self.simd, to, y, x, panels, rows) });
            if self.rounds() {
                self.round(to, rows);
            }
        }
    }

    fn copy(&self, from: Slot, to: Slot) {
        let rows = self.shape.rows();
        for tile in 0..self.tiles {
            let (from, to) = (self.tall(tile, from), self.tall(tile, to));
            // SAFETY: see above.
            self.panels(|panels| unsafe { pass::copy(self.simd, from, to, panels, rows) });
        }
    }

    fn add_diagonal(&self, gram: Slot, value: f32) {
        for tile in 0..self.tiles {
            // SAFETY: see above.
            unsafe { pass::add_diagonal(self.small(tile, gram), self.shape.columns(), value) }
        }
    }

    fn gram_norm_squared(&self, gram: Slot) -> PerTile {
        let mut squares = [0.0; MOST_TILES];
        for (tile, square) in squares.iter_mut().enumerate().take(self.tiles) {
            let gram = self.small(tile, gram);
            *square = self.product(gram, gram, self.shape.columns(), 1.0);
        }
        squares
    }

    fn scale(&self, x: Slot, factors: &PerTile) {
        let rows = self.shape.rows();
        for tile in 0..self.tiles {
            let (x, factor) = (self.tall(tile, x), factors[tile]);
            // SAFETY: see above.
            self.panels(|panels| unsafe { pass::scale(self.simd, x, panels, rows, factor, 1.0) });
        }
    }

    fn scale_gram(&self, gram: Slot, factors: &PerTile) {
        let rows = self.shape.columns();
        for tile in 0..self.tiles {
            let (gram, factor) = (self.small(tile, gram), factors[tile]);
            // SAFETY: see above.
            self.panels(|panels| unsafe {
                pass::scale(self.simd, gram, panels, rows, factor, 1.0)
            });
        }
    }
}

impl<S: Simd, D: Shape, const INLINE: bool> Rescale for Tiles<'_, S, D, INLINE> {
    fn balance(&self, x: Slot, gram: Slot, factors: Slot) {
        let simd = self.simd;
        let (rows, columns) = (self.shape.rows(), self.shape.columns());
        for tile in 0..self.tiles {
            let (x, gram) = (self.tall(tile, x), self.small(tile, gram));
            let factors = Shared(self.small(tile, factors).start);
            // SAFETY: see above; the factors are at most one panel long.
            self.panels(|panels| unsafe {
                pass::balance_factors(simd, gram, panels, columns, factors.at(0));
            });
            // SAFETY: as above.
            self.panels(|panels| unsafe {
                pass::balance(simd, x, panels.clone(), rows, factors.at(0), false);
                pass::balance(simd, gram, panels, columns, factors.at(0), true);
            });
        }
    }
}
