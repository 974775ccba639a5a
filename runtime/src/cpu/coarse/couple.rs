//! What the coarse part does to a tile: its captured part is subtracted when the tile is loaded, and the coarse part
//! added when it is stored.

use super::buffers::Packed;
use crate::cpu::ahead::Asked;
use crate::cpu::layout::Panels;
use crate::cpu::load::{Rectangle, Source, decay_captured};
use crate::cpu::product::{Affine, Finish, SUM_BLOCK, UpdatePart, update};
use crate::cpu::simd::{LANES, Line, Simd};
use std::ops::Range;

/// The factors of one matrix. V'^T, in pieces as wide as a tile, stands on the right of both.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Coupling {
    /// P X, H x r.
    pub(super) captured: Panels,
    /// P S, H x r, and its scale; `None` where it is added later.
    pub(super) added: Option<(Panels, f32)>,
    pub(super) right: Packed,
    pub(super) rank: usize,
    /// What the momentum loses of what was captured.
    pub(in crate::cpu) captured_decay: f32,
    /// The coarse part is all there is: the remainder counts as zero.
    pub(in crate::cpu) mute: bool,
}

/// A tile in its own layout, and where it lies.
#[derive(Clone, Copy, Debug)]
pub(in crate::cpu) struct Place {
    pub(in crate::cpu) rectangle: Rectangle,
    /// Of a piece of the product: see [`UpdatePart`].
    pub(in crate::cpu) width: usize,
}

impl Coupling {
    /// Whether something is added on store.
    pub(in crate::cpu) fn adds(&self) -> bool {
        self.added.is_some()
    }

    /// to <- from - captured, for some rows of the tile.
    ///
    /// # Safety
    /// `from` and `to` hold the tile, two buffers; `to` is the caller's alone in these rows.
    pub(in crate::cpu) unsafe fn subtract<S: Simd>(
        &self,
        simd: S,
        place: Place,
        rows: Range<usize>,
        from: Panels,
        to: Panels,
    ) {
        let finish = Affine {
            base: from,
            linear: 1.0,
            factor: -1.0,
        };
        // SAFETY: the caller's word.
        unsafe { self.product(simd, self.captured, place, rows, to, finish) }
    }

    /// Takes from the momentum what it loses of what was captured, m - remainder, for some rows of the tile.
    ///
    /// # Safety
    /// `m` and `remainder` hold the tile, after [`Coupling::subtract`]; these rows of the momentum are the caller's alone.
    pub(in crate::cpu) unsafe fn decay_momentum<S: Simd>(
        &self,
        simd: S,
        source: &Source,
        place: Place,
        rows: Range<usize>,
        tile: (Panels, Panels),
    ) {
        if self.captured_decay != 0.0 {
            // SAFETY: the caller's word.
            unsafe {
                decay_captured(
                    simd,
                    source,
                    &place.rectangle,
                    rows,
                    tile,
                    self.captured_decay,
                )
            }
        }
    }

    /// to <- factor from + the scaled coarse part, for some rows of the tile.
    ///
    /// # Safety
    /// As [`Coupling::subtract`].
    pub(in crate::cpu) unsafe fn add<S: Simd>(
        &self,
        simd: S,
        place: Place,
        rows: Range<usize>,
        (from, factor): (Panels, f32),
        to: Panels,
    ) {
        if let Some((left, scale)) = self.added {
            let finish = Affine {
                base: from,
                linear: factor,
                factor: scale,
            };
            // SAFETY: the caller's word.
            unsafe { self.product(simd, left, place, rows, to, finish) }
        }
    }

    unsafe fn product<S: Simd>(
        &self,
        simd: S,
        left: Panels,
        place: Place,
        rows: Range<usize>,
        output: Panels,
        finish: Affine,
    ) {
        let Rectangle {
            row,
            column,
            rows: height,
            columns,
        } = place.rectangle;
        let (right, lane) = self.right.holding(column);
        // SAFETY: the factors have the rows of the tile and the panels of its piece. A product reads up to seven
        // rows of the left factor more than it has: the padding of the buffer follows.
        unsafe {
            let part = UpdatePart {
                left: Panels {
                    start: left.row(0, row),
                    ..left
                },
                right,
                depth: self.rank,
                output,
                rows,
                columns: 0..columns.div_ceil(LANES),
                width: place.width,
                sum: SUM_BLOCK,
                asked: Asked::NOTHING,
            };
            if height == 1 && columns == 1 {
                element(simd, part, lane, finish);
            } else {
                update::<S, false>(simd, part, Finish::Affine(finish));
            }
        }
    }
}

/// The fewest rows of a piece of a product.
const PIECE_ROWS: usize = 4;

/// The product for one element in `lane` of a piece. Its neighbours there are other tiles': their numbers must not
/// reach the tile's own padding.
///
/// # Safety
/// As [`update`].
unsafe fn element<S: Simd>(simd: S, part: UpdatePart, lane: usize, finish: Affine) {
    let (mut base, mut sums) = ([Line::ZERO; PIECE_ROWS], [Line::ZERO; PIECE_ROWS]);
    let [base, output] = [&mut base, &mut sums].map(|lines| Panels {
        start: lines.as_mut_ptr().cast(),
        stride: PIECE_ROWS * LANES,
    });
    let tile = part.output;
    // SAFETY: the caller's word for the factors and the tile; the lines have the rows of a piece.
    unsafe {
        *base.row(0, 0).add(lane) = *finish.base.row(0, 0);
        let part = UpdatePart { output, ..part };
        update::<S, false>(simd, part, Finish::Affine(Affine { base, ..finish }));
        let mut line = Line::ZERO;
        line.0[0] = *output.row(0, 0).add(lane);
        simd.store(tile.row(0, 0), simd.load(line.0.as_ptr()));
    }
}
