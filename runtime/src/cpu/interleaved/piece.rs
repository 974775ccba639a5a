//! The inner loops: rows x four numbers that stay in registers, and four terms of their sums.

use crate::cpu::simd::{EDGE, Lanes};

/// The sums of a piece.
pub(super) type Sums<N, const ROWS: usize> = [[N; EDGE]; ROWS];

/// Addresses of the rows of a piece that begins with row `first`; `block` gives where the rows of a block of rows
/// begin, `apart` how far they are apart.
#[inline(always)]
pub(super) fn rows<const ROWS: usize>(
    first: usize,
    apart: usize,
    block: impl Fn(usize) -> *mut f32,
) -> [*mut f32; ROWS] {
    if ROWS == EDGE {
        // Pieces of four rows are blocks.
        let start = block(first / EDGE);
        return std::array::from_fn(|row| start.wrapping_add(row * apart));
    }
    std::array::from_fn(|row| {
        let row = first + row;
        block(row / EDGE).wrapping_add(row % EDGE * apart)
    })
}

/// Where the numbers of [`EDGE`] terms of an operand are: those of each of `COUNT` rows (of the left operand) or columns
/// (of the right one), and the distance from one term to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<const COUNT: usize> {
    first: [*mut f32; COUNT],
    apart: usize,
}

impl<const COUNT: usize> Terms<COUNT> {
    /// Each term is a row of a block.
    #[inline(always)]
    pub(super) fn straight<L: Lanes>(first: [*mut f32; COUNT]) -> Self {
        let apart = EDGE * L::TILES;
        Terms { first, apart }
    }

    /// Each term is a column of a block.
    #[inline(always)]
    pub(super) fn turned<L: Lanes>(first: [*mut f32; COUNT]) -> Self {
        let apart = L::TILES;
        Terms { first, apart }
    }

    /// Number `at` of term `k`.
    ///
    /// # Safety
    /// It is readable.
    #[inline(always)]
    unsafe fn load<L: Lanes>(&self, lanes: L, k: usize, at: usize) -> L::Numbers {
        // SAFETY: the caller's word.
        unsafe { lanes.load(self.first[at].add(k * self.apart)) }
    }
}

/// Adds left(k, r) right(k, c) for four k.
///
/// # Safety
/// Those numbers are readable.
#[inline(always)]
pub(super) unsafe fn add_terms<L: Lanes, const ROWS: usize>(
    lanes: L,
    left: Terms<ROWS>,
    right: Terms<EDGE>,
    sums: &mut Sums<L::Numbers, ROWS>,
) {
    for k in 0..EDGE {
        // The rows' numbers are kept, three at least, and those of the columns used one by one: twelve sums leave room for
        // four registers of sixteen.
        let mut column = [lanes.same(0.0); ROWS];
        for r in 0..ROWS {
            // SAFETY: the caller's word.
            column[r] = unsafe { left.load(lanes, k, r) };
        }
        for c in 0..EDGE {
            // SAFETY: the caller's word.
            let x = unsafe { right.load(lanes, k, c) };
            for r in 0..ROWS {
                sums[r][c] = lanes.fused(column[r], x, sums[r][c]);
            }
        }
    }
}

/// As [`add_terms`] where both operands are the same, for the sums on and above the diagonal.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn add_diagonal_terms<L: Lanes>(
    lanes: L,
    operand: Terms<EDGE>,
    sums: &mut Sums<L::Numbers, EDGE>,
) {
    for k in 0..EDGE {
        let mut row = [lanes.same(0.0); EDGE];
        for c in 0..EDGE {
            // SAFETY: the caller's word.
            row[c] = unsafe { operand.load(lanes, k, c) };
        }
        for r in 0..EDGE {
            for c in r..EDGE {
                sums[r][c] = lanes.fused(row[r], row[c], sums[r][c]);
            }
        }
    }
}

/// Where finished sums go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<const ROWS: usize> {
    pub(super) rows: [*mut f32; ROWS],
    /// Where they go a second time, as columns.
    pub(super) mirror: Option<[*mut f32; ROWS]>,
    /// Whether the rows are a block on the diagonal, whose sums below it are copies of those above.
    pub(super) diagonal: bool,
}

/// What becomes of each finished sum P: factor P + first B1 + second B2, where B1 and B2 are named; first is added first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finish<const ROWS: usize> {
    pub(super) factor: f32,
    /// `first` and `second`, and the rows of what is added.
    pub(super) added: [Option<(f32, [*mut f32; ROWS])>; 2],
}

impl<const ROWS: usize> Finish<ROWS> {
    /// Finishes the sums and stores them.
    ///
    /// # Safety
    /// Four numbers of each row of the target are writable, and of what is added readable.
    #[inline(always)]
    pub(super) unsafe fn store<L: Lanes>(
        self,
        lanes: L,
        mut sums: Sums<L::Numbers, ROWS>,
        to: Target<ROWS>,
    ) {
        let first = |row: usize| if to.diagonal { row } else { 0 };
        // A factor of 1 changes no bit.
        if self.factor != 1.0 {
            for r in 0..ROWS {
                for c in first(r)..EDGE {
                    sums[r][c] = lanes.mul(lanes.same(self.factor), sums[r][c]);
                }
            }
        }
        for r in 0..ROWS {
            for c in first(r)..EDGE {
                let mut sum = sums[r][c];
                // SAFETY: the caller's word.
                unsafe {
                    if let Some((weight, rows)) = self.added[0] {
                        let added = lanes.load(rows[r].add(c * L::TILES));
                        sum = lanes.fused(lanes.same(weight), added, sum);
                    }
                    if let Some((weight, rows)) = self.added[1] {
                        let added = lanes.load(rows[r].add(c * L::TILES));
                        sum = lanes.fused(lanes.same(weight), added, sum);
                    }
                    lanes.store(to.rows[r].add(c * L::TILES), sum);
                    if to.diagonal && c > r {
                        lanes.store(to.rows[c % ROWS].add(r * L::TILES), sum);
                    }
                    if let Some(mirror) = to.mirror {
                        lanes.store(mirror[r].add(c * EDGE * L::TILES), sum);
                    }
                }
            }
        }
    }
}
