//! Memory that is asked for before it is needed, so that it arrives while the recurrence computes.
//!
//! What a batch is stored to and what the next is made of lie in many short rows, which no hardware prefetcher
//! follows. A few lines are asked for with every piece of a product, or with every product of small tiles, which have few
//! pieces: all at once would fill the queue of misses, and the products would wait behind it.

use super::simd::Simd;
use std::cell::Cell;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Most elements of a batch that is asked for: three tensors of 64 KiB beside as much scratch fill a third of a
/// second-level cache of 1 MiB. Tiles of 256 x 256 gain nothing: what their passes no longer wait for, their products do.
pub(crate) const MOST_AHEAD: usize = 128 * 128;

/// Rows between the one that a pass loads or stores and the one that it asks for, of batches that the products ask nothing of.
const ROWS_AHEAD: usize = 4;

/// The row that a pass over `rows` x `columns` numbers asks for while it is at `row`, if any.
#[inline(always)]
pub(super) fn row_ahead(row: usize, rows: usize, columns: usize) -> Option<usize> {
    let later = row + ROWS_AHEAD;
    (rows * columns > MOST_AHEAD && later < rows).then_some(later)
}

/// Most lines of a portion, a part of a row: 128 numbers of `f32`, and one more line since a row need not begin with
/// one.
const PORTION: usize = 9;

/// The part of a tensor that a batch covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    start: *const u8,
    /// Bytes from one row to the next.
    pitch: usize,
    /// Lines of a row.
    lines: usize,
    rows: usize,
}

impl Rows {
    /// `rows` rows of `bytes` bytes each.
    pub(super) fn new(start: *const u8, pitch: usize, bytes: usize, rows: usize) -> Rows {
        // A row need not begin with a line: most allocators give 16 bytes. All rows begin alike, or each as it likes.
        let (before, beside) = match pitch % LINE {
            0 => (start.addr() % LINE, start.addr() % LINE),
            _ => (0, LINE - 1),
        };
        Rows {
            start: start.wrapping_sub(before),
            pitch,
            lines: (beside + bytes).div_ceil(LINE),
            rows,
        }
    }

    /// Portions of a row.
    fn strips(&self) -> usize {
        self.lines.div_ceil(PORTION)
    }
}

/// When a portion is asked for, and how often at least.
#[derive(Clone, Copy, Debug)]
pub(super) enum Calls {
    /// With every product.
    Products(usize),
    /// With every piece of a product.
    Pieces(usize),
}

/// Lines that are still to be asked for, in portions: row by row of one strip after the other.
#[derive(Debug)]
pub(super) struct Ahead {
    tensors: [Option<Rows>; 3],
    by_piece: bool,
    /// Portions of one call; 0 when nothing is left.
    at_a_time: Cell<usize>,
    /// Tensor and strip that come next.
    strip: Cell<(usize, usize)>,
    /// The next portion, and what the one after it is away from it.
    next: Cell<(*const u8, usize)>,
    /// Lines of a portion.
    lines: Cell<usize>,
    /// Portions of this strip.
    left: Cell<usize>,
}

impl Ahead {
    /// Parts of tensors, asked for one after the other.
    pub(super) fn new(tensors: [Option<Rows>; 3], calls: Calls) -> Ahead {
        let (by_piece, calls) = match calls {
            Calls::Products(calls) => (false, calls),
            Calls::Pieces(calls) => (true, calls),
        };
        let portions = |rows: &Rows| rows.rows * rows.strips();
        let portions: usize = tensors.iter().flatten().map(portions).sum();
        Ahead {
            tensors,
            by_piece,
            at_a_time: Cell::new(portions.div_ceil(calls.max(1))),
            strip: Cell::new((0, 0)),
            next: Cell::new((std::ptr::null(), 0)),
            lines: Cell::new(0),
            left: Cell::new(0),
        }
    }

    /// To be called with every product.
    #[inline(always)]
    pub(super) fn ask_with_product<S: Simd>(&self, simd: S) {
        if !self.by_piece {
            self.ask(simd);
        }
    }

    /// What the pieces of a product are to ask for; `self` has to outlive the product.
    #[inline(always)]
    pub(super) fn asked(&self) -> Asked {
        if self.by_piece {
            Asked(self)
        } else {
            Asked::NOTHING
        }
    }

    /// Asks for the next portions.
    #[inline(always)]
    fn ask<S: Simd>(&self, simd: S) {
        for _ in 0..self.at_a_time.get() {
            let Some((at, lines)) = self.portion() else {
                return;
            };
            for line in 0..lines {
                simd.prefetch(at.wrapping_add(line * LINE));
            }
        }
    }

    /// Where the next portion begins, and its lines.
    #[inline(always)]
    fn portion(&self) -> Option<(*const u8, usize)> {
        if self.left.get() == 0 && !self.begin_strip() {
            return None;
        }
        let (at, pitch) = self.next.get();
        self.next.set((at.wrapping_add(pitch), pitch));
        self.left.set(self.left.get() - 1);
        Some((at, self.lines.get()))
    }

    /// Goes on to the next strip, if there is one.
    #[cold]
    #[inline(never)]
    fn begin_strip(&self) -> bool {
        let (mut tensor, mut strip) = self.strip.get();
        while tensor < self.tensors.len() {
            if let Some(rows) = &self.tensors[tensor]
                && strip < rows.strips()
                && rows.rows > 0
            {
                let [first, end] =
                    [strip, strip + 1].map(|strip| rows.lines * strip / rows.strips());
                self.next
                    .set((rows.start.wrapping_add(first * LINE), rows.pitch));
                self.lines.set(end - first);
                self.left.set(rows.rows);
                self.strip.set((tensor, strip + 1));
                return true;
            }
            (tensor, strip) = (tensor + 1, 0);
        }
        self.strip.set((tensor, 0));
        self.at_a_time.set(0);
        false
    }
}

/// What a product asks for meanwhile: the [`Ahead`] of the thread that computes it, or nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked(*const Ahead);

// SAFETY: who asks says that no other thread does.
unsafe impl Sync for Asked {}

impl Asked {
    /// Nothing.
    pub(crate) const NOTHING: Asked = Asked(std::ptr::null());

    /// Asks for the next portions.
    ///
    /// # Safety
    /// The [`Ahead`] that made it lives, and no other thread uses it.
    #[inline(always)]
    pub(super) unsafe fn ask<S: Simd>(self, simd: S) {
        // SAFETY: the caller's word.
        if let Some(ahead) = unsafe { self.0.as_ref() } {
            ahead.ask(simd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ahead, Calls, LINE, PORTION, Rows};

    /// All lines that are asked for in so many calls, in order of their numbers.
    fn asked(tensors: [Option<Rows>; 3], calls: usize) -> Vec<usize> {
        let ahead = Ahead::new(tensors, Calls::Pieces(calls));
        let mut asked = Vec::new();
        for _ in 0..calls * ahead.at_a_time.get() {
            if let Some((at, lines)) = ahead.portion() {
                assert!(lines <= PORTION);
                asked.extend((0..lines).map(|line| at.addr() / LINE + line));
            }
        }
        assert!(ahead.portion().is_none());
        asked.sort_unstable();
        asked
    }

    /// The lines of rows of a tensor, and those rows.
    fn tensor(start: usize, pitch: usize, bytes: usize, rows: usize) -> (Vec<usize>, Rows) {
        let first = (0..rows).map(|row| start + row * pitch);
        let lines = first.flat_map(|first| first / LINE..=(first + bytes - 1) / LINE);
        let start = std::ptr::without_provenance(start);
        (lines.collect(), Rows::new(start, pitch, bytes, rows))
    }

    #[test]
    fn rows_that_begin_alike_are_asked_for_once() {
        for (before, bytes, rows) in [
            (0, 64, 1),
            (16, 256, 64),
            (60, 512, 128),
            (0, 2048, 5),
            (4, 1, 3),
        ] {
            let weight = tensor((1 << 20) + before, 4096, bytes, rows);
            let momentum = tensor((1 << 30) + 4 * before, 8192, bytes / 2 + 1, rows);
            let expected = [weight.0, momentum.0].concat();
            for calls in [1, 7, 100, 1000] {
                let tensors = [Some(weight.1), None, Some(momentum.1)];
                assert_eq!(
                    asked(tensors, calls),
                    expected,
                    "{before} {bytes} {rows} {calls}"
                );
            }
        }
    }

    #[test]
    fn of_other_rows_no_line_is_left_out() {
        for (before, pitch, bytes, rows) in
            [(0, 4000, 256, 64), (16, 1000, 512, 30), (60, 2002, 40, 9)]
        {
            let (expected, part) = tensor((1 << 20) + before, pitch, bytes, rows);
            let asked = asked([None, Some(part), None], 50);
            assert!(
                expected
                    .iter()
                    .all(|line| asked.binary_search(line).is_ok())
            );
            assert!(asked.len() <= expected.len() + rows);
        }
    }

    #[test]
    fn nothing_is_asked_for_where_there_is_nothing() {
        assert!(asked([None; 3], 10).is_empty());
        let empty = tensor(1 << 20, 4096, 64, 0).1;
        assert!(asked([Some(empty), None, Some(empty)], 10).is_empty());
    }
}
