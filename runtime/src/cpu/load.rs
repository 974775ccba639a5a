//! From memory into panels, with the momentum on the way.

use super::ahead::row_ahead;
use super::layout::Panels;
use super::simd::{LANES, Simd, Vectorized};
use super::storage::{Pointer, Stored, read, with_type, write};
use super::store::{Sink, store};
use std::ops::Range;

/// What a tile is made of: `buf <- mu buf + c g; m <- alpha g + beta buf`, or the gradient itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) gradient: Pointer,
    pub(super) gradient_leading: usize,
    /// The momentum and the distance of its rows.
    pub(super) momentum: Option<(Pointer, usize)>,
    pub(super) mu: f32,
    pub(super) c: f32,
    pub(super) alpha: f32,
    pub(super) beta: f32,
    /// Whether the next momentum is stored.
    pub(super) advances: bool,
    /// Whether buf and m are rounded to bf16, as in `reference` mode.
    pub(super) rounds: bool,
}

/// A part of a matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rectangle {
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Rectangle {
    /// Some of its rows.
    pub(super) fn strip(self, rows: Range<usize>) -> Rectangle {
        Rectangle {
            row: self.row + rows.start,
            rows: rows.len(),
            ..self
        }
    }
}

/// Writes m of the rectangle to `target`, element (0, 0) of the rectangle first. With `previous` the next momentum is
/// written too, where the source advances, and what it was goes there, so that [`restore_momentum`] can undo it.
///
/// # Safety
/// The tensors hold the rectangle and are not written meanwhile, nor is this part of the momentum accessed by anybody
/// else; `target` and `previous` have its rows and panels.
pub(super) unsafe fn load<S: Simd>(
    simd: S,
    source: &Source,
    rectangle: &Rectangle,
    target: Panels,
    previous: Option<Panels>,
) {
    let previous = previous.filter(|_| source.advances);
    with_type!(source.gradient, gradient => match source.momentum {
        None => simd.vectorize(Load {
            source,
            gradient: gradient.cast_const(),
            momentum: None::<(*mut f32, usize)>,
            rectangle,
            target,
            previous: None,
        }),
        Some((momentum, leading)) => with_type!(momentum, momentum => simd.vectorize(Load {
            source,
            gradient: gradient.cast_const(),
            momentum: Some((momentum, leading)),
            rectangle,
            target,
            previous,
        })),
    });
}

/// [`load`] of known types; made by it alone, so that its caller's word holds for the addresses.
struct Load<'a, G, M> {
    source: &'a Source,
    gradient: *const G,
    momentum: Option<(*mut M, usize)>,
    // By reference: a copy of what was just written would wait until it has left the store buffer.
    rectangle: &'a Rectangle,
    target: Panels,
    previous: Option<Panels>,
}

impl<G: Stored, M: Stored> Vectorized for Load<'_, G, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let &Rectangle { rows, columns, .. } = self.rectangle;
        let (whole, rest) = (columns / LANES, columns % LANES);
        for row in 0..rows {
            if let Some(later) = row_ahead(row, rows, columns) {
                self.ask(simd, later);
            }
            for panel in 0..whole {
                // SAFETY: whoever made `self` granted the rectangle and the panels.
                unsafe { self.vector(simd, row, panel, LANES) }
            }
            if rest > 0 {
                // SAFETY: as above.
                unsafe { self.vector(simd, row, whole, rest) }
            }
        }
    }
}

impl<G: Stored, M: Stored> Load<'_, G, M> {
    /// Asks for a row of the rectangle.
    #[inline(always)]
    fn ask<S: Simd>(&self, simd: S, row: usize) {
        let row = self.rectangle.row + row;
        for column in (0..self.rectangle.columns).step_by(LANES) {
            let column = self.rectangle.column + column;
            let at = row * self.source.gradient_leading + column;
            simd.prefetch(self.gradient.wrapping_add(at).cast());
            if let Some((momentum, leading)) = self.momentum {
                simd.prefetch(momentum.wrapping_add(row * leading + column).cast());
            }
        }
    }

    /// Loads the first `count` numbers of a vector of the rectangle.
    /// # Safety
    /// They lie in the rectangle, and the vector in the panels.
    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, simd: S, row: usize, panel: usize, count: usize) {
        let source = self.source;
        let (at_row, at_column) = (
            self.rectangle.row + row,
            self.rectangle.column + panel * LANES,
        );
        // SAFETY: the caller's word.
        unsafe {
            let at = at_row * source.gradient_leading + at_column;
            let g = read(simd, self.gradient.add(at), count);
            let mut m = g;
            if let Some((momentum, leading)) = self.momentum {
                let at = momentum.add(at_row * leading + at_column);
                let old = read(simd, at.cast_const(), count);
                let new = next_momentum(simd, source, g, old);
                let from_gradient = simd.mul(simd.splat(source.alpha), g);
                m = simd.fused(simd.splat(source.beta), new, from_gradient);
                if let Some(previous) = self.previous {
                    simd.store(previous.row(panel, row), old);
                    write(simd, at, new, count);
                }
            }
            if source.rounds {
                m = simd.round_bf16(m);
            }
            simd.store(self.target.row(panel, row), m);
        }
    }
}

#[inline(always)]
fn next_momentum<S: Simd>(simd: S, source: &Source, g: S::Vector, old: S::Vector) -> S::Vector {
    let from_gradient = simd.mul(simd.splat(source.c), g);
    let new = simd.fused(simd.splat(source.mu), old, from_gradient);
    if source.rounds {
        simd.round_bf16(new)
    } else {
        new
    }
}

/// Takes `decay (m - remainder)` from the momentum that [`load`] wrote, for some rows of the rectangle.
///
/// # Safety
/// As [`load`]; `m` and `remainder` have the rows and panels of the rectangle.
pub(super) unsafe fn decay_captured<S: Simd>(
    simd: S,
    source: &Source,
    rectangle: &Rectangle,
    rows: Range<usize>,
    (m, remainder): (Panels, Panels),
    decay: f32,
) {
    let Some((momentum, leading)) = source.momentum.filter(|_| source.advances) else {
        return;
    };
    with_type!(momentum, momentum => simd.vectorize(DecayCaptured {
        momentum,
        leading,
        rectangle,
        rows,
        m,
        remainder,
        decay,
    }));
}

/// [`decay_captured`] of a known type; made by it alone, so that its caller's word holds for the addresses.
struct DecayCaptured<'a, M> {
    momentum: *mut M,
    leading: usize,
    rectangle: &'a Rectangle,
    rows: Range<usize>,
    m: Panels,
    remainder: Panels,
    decay: f32,
}

impl<M: Stored> Vectorized for DecayCaptured<'_, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let &Rectangle {
            row: first,
            column,
            columns,
            ..
        } = self.rectangle;
        let decay = simd.splat(-self.decay);
        for row in self.rows {
            for panel in 0..columns.div_ceil(LANES) {
                let count = LANES.min(columns - panel * LANES);
                // SAFETY: whoever made `self` granted the rectangle and the panels.
                unsafe {
                    let at = (first + row) * self.leading + column + panel * LANES;
                    let at = self.momentum.add(at);
                    let remainder = simd.load(self.remainder.row(panel, row));
                    let m = simd.load(self.m.row(panel, row));
                    let captured = simd.fused(simd.splat(-1.0), remainder, m);
                    let old = read(simd, at.cast_const(), count);
                    write(simd, at, simd.fused(decay, captured, old), count);
                }
            }
        }
    }
}

/// Writes back what [`load`] left in `previous`.
///
/// # Safety
/// As [`load`].
pub(super) unsafe fn restore_momentum<S: Simd>(
    simd: S,
    source: &Source,
    rectangle: &Rectangle,
    previous: Panels,
) {
    let Some((momentum, leading)) = source.momentum.filter(|_| source.advances) else {
        return;
    };
    let sink = Sink::Plain {
        output: momentum,
        leading,
    };
    // SAFETY: the caller's word.
    unsafe { store(simd, &sink, rectangle, previous, 1.0) }
}
