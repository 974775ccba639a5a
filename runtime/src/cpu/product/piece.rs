//! The inner loop: a block of rows by panels that stays in registers.

use super::finish::{Finish, Unscaled};
use crate::cpu::ahead::Asked;
use crate::cpu::layout::Panels;
use crate::cpu::simd::{LANES, Simd};
use std::ops::Range;

/// How the single numbers of the left operand are found.
pub(super) trait Left: Copy {
    /// The address of (k, first row).
    ///
    /// # Safety
    /// The element exists.
    unsafe fn at(self, k: usize) -> *const f32;
    /// Distance from one row of the piece to the next.
    const ROW: usize;
    /// Distance from one term to the next, where they are in one panel.
    const TERM: usize;
}

/// Left(k, r) = B(k, column + r): the product B^T B.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transposed(pub(super) *const f32);

impl Left for Transposed {
    #[inline(always)]
    unsafe fn at(self, k: usize) -> *const f32 {
        // SAFETY: row k of the panel exists by the caller's word.
        unsafe { self.0.add(k * LANES) }
    }
    const ROW: usize = 1;
    const TERM: usize = LANES;
}

/// Left(k, r) = L(row + r, k): the product L R.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direct {
    /// L(row, 0).
    pub(super) start: *const f32,
    /// Numbers from one panel of L to the next.
    pub(super) stride: usize,
}

impl Left for Direct {
    #[inline(always)]
    unsafe fn at(self, k: usize) -> *const f32 {
        // SAFETY: panel k / 16 exists by the caller's word.
        unsafe { self.start.add(k / LANES * self.stride + k % LANES) }
    }
    const ROW: usize = LANES;
    const TERM: usize = 1;
}

/// Where a piece lies in the output, which part of the sum it adds.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) output: Panels,
    pub(super) row: usize,
    pub(super) panel: usize,
    /// k, starting at a multiple of 16.
    pub(super) sum: Range<usize>,
    /// Whether the sum ends with this part.
    pub(super) last: bool,
    /// In a symmetric product, the first of the piece's panels whose finished numbers are written a second time,
    /// below the diagonal. Only for pieces of eight rows.
    pub(super) mirror: Option<usize>,
    /// What is asked for when the piece begins; it lives, and no other thread uses it.
    pub(super) asked: Asked,
}

impl Place {
    /// Writes finished sums, and their mirror image where there is one.
    /// # Safety
    /// All rows and panels of the place exist in the output, with the mirror image, and nobody else accesses them.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, const ROWS: usize, const PANELS: usize>(
        &self,
        simd: S,
        sums: [[S::Vector; PANELS]; ROWS],
    ) {
        for r in 0..ROWS {
            for p in 0..PANELS {
                // SAFETY: the caller's word.
                unsafe { simd.store(self.output.row(self.panel + p, self.row + r), sums[r][p]) }
            }
        }
        if ROWS != 8 {
            return;
        }
        let Some(first) = self.mirror else { return };
        for p in 0..PANELS {
            if p >= first {
                let rows = std::array::from_fn(|r| sums[r % ROWS][p]);
                // SAFETY: the caller's word; the rows' numbers become lanes of the panel that their number falls into.
                unsafe {
                    let panel = self.output.row(self.row / LANES, (self.panel + p) * LANES);
                    simd.store_transposed(rows, panel.add(self.row % LANES));
                }
            }
        }
    }
}

/// Terms of a sum that are written out one after the other.
pub(super) const TERMS_AT_A_TIME: usize = 4;

/// Where those terms of `sum` end that are taken [`TERMS_AT_A_TIME`]; the rest, and short sums, are taken one by one.
/// Sixteen at a time of all pieces would no longer fit where decoded instructions are kept.
#[inline(always)]
pub(super) fn written_out<S: Simd>(sum: &Range<usize>) -> usize {
    if S::WIDE && sum.len() > LANES {
        sum.end - sum.len() % TERMS_AT_A_TIME
    } else {
        sum.start
    }
}

/// Adds `TERMS` terms from `k` on, all in one panel of the left operand, to the sums of a piece.
///
/// # Safety
/// As [`piece`].
#[inline(always)]
pub(super) unsafe fn add_terms<
    S: Simd,
    L: Left,
    const TERMS: usize,
    const ROWS: usize,
    const PANELS: usize,
>(
    simd: S,
    left: L,
    right: Panels,
    k: usize,
    sums: &mut [[S::Vector; PANELS]; ROWS],
) {
    // SAFETY: the caller's word.
    unsafe {
        // Found once for all terms, which lie in one panel.
        let (left, start) = (left.at(k), right.start.add(k * LANES));
        for term in 0..TERMS {
            let (left, start) = (left.add(term * L::TERM), start.add(term * LANES));
            let mut row = [simd.splat(0.0); PANELS];
            for p in 0..PANELS {
                row[p] = simd.load(start.add(p * right.stride));
            }
            for r in 0..ROWS {
                let number = simd.splat(*left.add(r * L::ROW));
                for p in 0..PANELS {
                    sums[r][p] = simd.fused(number, row[p], sums[r][p]);
                }
            }
        }
    }
}

/// Adds one part of the sums of `ROWS` x `PANELS` vectors; `right` is panel `place.panel` of the right operand.
///
/// # Safety
/// All rows and panels named exist in `left`, `right`, the output and the matrices of `finish`, and nobody
/// else accesses this place of the output meanwhile.
#[inline(always)]
pub(super) unsafe fn piece<S: Simd, L: Left, const ROWS: usize, const PANELS: usize>(
    simd: S,
    left: L,
    right: Panels,
    place: &Place,
    finish: Finish,
) {
    // SAFETY: the place's word.
    unsafe { place.asked.ask(simd) }
    let mut sums = [[simd.splat(0.0); PANELS]; ROWS];
    // SAFETY: positions inside the place, which exist by the caller's word.
    let at = |r: usize, p: usize| unsafe { place.output.row(place.panel + p, place.row + r) };
    if place.sum.start > 0 {
        for r in 0..ROWS {
            for p in 0..PANELS {
                // SAFETY: the caller's word.
                sums[r][p] = unsafe { simd.load(at(r, p)) };
            }
        }
    }
    let single = written_out::<S>(&place.sum);
    let mut k = place.sum.start;
    // A range with a step is compiled into two loops, one within the other.
    while k < single {
        // SAFETY: the caller's word.
        unsafe { add_terms::<S, L, TERMS_AT_A_TIME, _, _>(simd, left, right, k, &mut sums) }
        k += TERMS_AT_A_TIME;
    }
    for k in single..place.sum.end {
        // SAFETY: as above.
        unsafe { add_terms::<S, L, 1, _, _>(simd, left, right, k, &mut sums) }
    }
    if place.last {
        // SAFETY: the caller's word.
        sums = unsafe { finished(simd, sums, place.panel, place.row, finish) };
        // SAFETY: as above.
        unsafe { place.store(simd, sums) }
    } else {
        for r in 0..ROWS {
            for p in 0..PANELS {
                // SAFETY: the caller's word.
                unsafe { simd.store(at(r, p), sums[r][p]) }
            }
        }
    }
}

/// Finishes the sums that begin at (`row`, panel `panel`).
///
/// # Safety
/// The matrices of `finish` have these rows and panels.
#[inline(always)]
pub(super) unsafe fn finished<S: Simd, const ROWS: usize, const PANELS: usize>(
    simd: S,
    mut sums: [[S::Vector; PANELS]; ROWS],
    panel: usize,
    row: usize,
    finish: Finish,
) -> [[S::Vector; PANELS]; ROWS] {
    if matches!(finish, Finish::Scaled(finish) if finish.factor == 1.0) {
        return sums;
    }
    // One loop for each kind: a loop that contained them all would not be unrolled, and the sums would have to
    // leave the registers.
    macro_rules! finish {
        ($($kind:pat $(if $guard:expr)? => $finish:expr),+ $(,)?) => {
            match finish {
                $($kind $(if $guard)? => {
                    for r in 0..ROWS {
                        for p in 0..PANELS {
                            // SAFETY: the caller's word.
                            sums[r][p] = unsafe { $finish.apply(simd, sums[r][p], panel + p, row + r) };
                        }
                    }
                })+
            }
        };
    }
    finish! {
        Finish::Scaled(finish) => finish,
        Finish::Affine(finish) if finish.factor == 1.0 => Unscaled(finish),
        Finish::Affine(finish) => finish,
        Finish::Combine(finish) => finish,
    }
    sums
}
