//! From panels into memory, with scale, decay and update on the way.

use super::ahead::row_ahead;
use super::layout::Panels;
use super::load::Rectangle;
use super::simd::{LANES, Simd, Vectorized};
use super::storage::{Pointer, Stored, read, with_type, write};
use super::weights::{Place, Plain, Weights, with_place};

/// Where the mapped tiles go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sink {
    /// W <- keep W - rate u, u the mapped and scaled tile.
    Weight {
        weight: Weights,
        /// 1 - lr wd.
        keep: f32,
        /// lr.
        rate: f32,
    },
    /// The mapped tile itself.
    Plain { output: Pointer, leading: usize },
}

/// Where a vector of the matrix is found.
#[derive(Clone, Copy, Debug)]
struct Rows {
    start: *const f32,
    /// Numbers from one vector of a row to the next.
    panel: usize,
    /// Numbers from one row to the next.
    row: usize,
    /// Whether a row's last vector ends with the row.
    ends: bool,
}

impl Rows {
    /// The first `count` numbers of a vector.
    /// # Safety
    /// The vector exists.
    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, simd: S, panel: usize, row: usize, count: usize) -> S::Vector {
        // SAFETY: the caller's word.
        unsafe {
            let at = self.start.add(panel * self.panel + row * self.row);
            if self.ends {
                read(simd, at, count)
            } else {
                simd.load(at)
            }
        }
    }
}

/// Writes factor times the matrix `from` into the rectangle of `sink`.
///
/// # Safety
/// The tensor holds the rectangle, `from` its rows and panels; nobody else accesses this part of the tensor
/// meanwhile.
pub(super) unsafe fn store<S: Simd>(
    simd: S,
    sink: &Sink,
    rectangle: &Rectangle,
    from: Panels,
    factor: f64,
) {
    let from = Rows {
        start: from.start,
        panel: from.stride,
        row: LANES,
        ends: false,
    };
    // SAFETY: the caller's word.
    unsafe { store_from(simd, sink, rectangle, &from, factor) }
}

/// As [`store`], for one row whose numbers follow each other in memory.
///
/// # Safety
/// As [`store`]; `from` is readable for the row.
pub(super) unsafe fn store_row<S: Simd>(
    simd: S,
    sink: &Sink,
    rectangle: &Rectangle,
    from: *const f32,
    factor: f64,
) {
    let from = Rows {
        start: from,
        panel: LANES,
        row: rectangle.columns,
        ends: true,
    };
    // SAFETY: the caller's word.
    unsafe { store_from(simd, sink, rectangle, &from, factor) }
}

/// Writes zeros into the rectangle of a plain sink; a weight stays as it is.
///
/// # Safety
/// As [`store`].
pub(super) unsafe fn clear<S: Simd>(simd: S, sink: &Sink, rectangle: &Rectangle) {
    if let Sink::Plain { output, leading } = *sink {
        with_type!(output, to => simd.vectorize(Clear {
            to,
            leading,
            rectangle,
        }));
    }
}

/// # Safety
/// As [`store`].
unsafe fn store_from<S: Simd>(
    simd: S,
    sink: &Sink,
    rectangle: &Rectangle,
    from: &Rows,
    factor: f64,
) {
    match *sink {
        Sink::Weight { weight, keep, rate } => with_place!(weight, to => simd.vectorize(Store {
            to,
            rectangle,
            from,
            keep: Some(keep),
            factor: (-f64::from(rate) * factor) as f32,
        })),
        Sink::Plain { output, leading } => with_type!(output, start => simd.vectorize(Store {
            to: Plain { start, leading },
            rectangle,
            from,
            keep: None,
            factor: factor as f32,
        })),
    }
}

/// to <- keep to + factor O, or factor O; made by [`store_from`] alone, so that its caller's word holds for
/// the addresses.
struct Store<'a, P> {
    to: P,
    // By reference: a copy of what was just written would wait until it has left the store buffer.
    rectangle: &'a Rectangle,
    from: &'a Rows,
    keep: Option<f32>,
    factor: f32,
}

impl<P: Place> Vectorized for Store<'_, P> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let &Rectangle { rows, columns, .. } = self.rectangle;
        let (whole, rest) = (columns / LANES, columns % LANES);
        for row in 0..rows {
            if let Some(later) = row_ahead(row, rows, columns) {
                let (row, first) = (self.rectangle.row + later, self.rectangle.column);
                for column in (first..first + columns).step_by(LANES) {
                    self.to.ask(simd, row, column);
                }
            }
            for panel in 0..whole {
                // SAFETY: whoever made `self` granted the rectangle and its vectors.
                unsafe { self.vector(simd, row, panel, LANES) }
            }
            if rest > 0 {
                // SAFETY: as above.
                unsafe { self.vector(simd, row, whole, rest) }
            }
        }
    }
}

impl<P: Place> Store<'_, P> {
    /// Stores the first `count` numbers of a vector.
    /// # Safety
    /// They lie in the rectangle, and the vector exists.
    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, simd: S, row: usize, panel: usize, count: usize) {
        let (at_row, at_column) = (
            self.rectangle.row + row,
            self.rectangle.column + panel * LANES,
        );
        let factor = simd.splat(self.factor);
        // SAFETY: the caller's word.
        unsafe {
            let mapped = self.from.vector(simd, panel, row, count);
            let value = match self.keep {
                Some(keep) => {
                    let kept = simd.mul(
                        simd.splat(keep),
                        self.to.read(simd, at_row, at_column, count),
                    );
                    simd.fused(factor, mapped, kept)
                }
                None => simd.mul(factor, mapped),
            };
            self.to.write(simd, (at_row, at_column), value, count);
        }
    }
}

/// to <- 0; made by [`clear`] alone, so that its caller's word holds for the addresses.
struct Clear<'a, E> {
    to: *mut E,
    leading: usize,
    rectangle: &'a Rectangle,
}

impl<E: Stored> Vectorized for Clear<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let &Rectangle { row, rows, .. } = self.rectangle;
        for row in row..row + rows {
            for first in (0..self.rectangle.columns).step_by(LANES) {
                let at = row * self.leading + self.rectangle.column + first;
                // SAFETY: the columns from `first` on lie in the rectangle.
                unsafe {
                    let count = self.rectangle.columns - first;
                    write(simd, self.to.add(at), simd.splat(0.0), count);
                }
            }
        }
    }
}
