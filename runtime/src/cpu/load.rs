//! From memory into panels, with the momentum on the way.

use super::elementwise::{largest, poisoned};
use super::layout::Panels;
use super::simd::{LANES, Simd, Vectorized};
use super::storage::{Pointer, Stored, read, with_type, write};
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

/// What loading found out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loaded {
    /// Largest |m|.
    pub(super) largest: f32,
    /// A NaN or an infinity was met.
    pub(super) non_finite: bool,
}

impl Loaded {
    /// Of no number.
    pub(super) const NOTHING: Loaded = Loaded {
        largest: 0.0,
        non_finite: false,
    };

    /// Of both.
    pub(super) fn merge(self, other: Loaded) -> Loaded {
        Loaded {
            largest: self.largest.max(other.largest),
            non_finite: self.non_finite || other.non_finite,
        }
    }
}

/// Writes m of the rectangle to `target`, element (0, 0) of the rectangle first; memory stays as it is.
///
/// # Safety
/// The tensors hold the rectangle and are not written meanwhile; `target` has its rows and panels.
pub(super) unsafe fn load<S: Simd>(
    simd: S,
    source: &Source,
    rectangle: &Rectangle,
    target: Panels,
) -> Loaded {
    with_type!(source.gradient, gradient => match source.momentum {
        None => simd.vectorize(Load {
            source,
            gradient: gradient.cast_const(),
            momentum: None::<(*const f32, usize)>,
            rectangle,
            target,
        }),
        Some((momentum, leading)) => with_type!(momentum, momentum => simd.vectorize(Load {
            source,
            gradient: gradient.cast_const(),
            momentum: Some((momentum.cast_const(), leading)),
            rectangle,
            target,
        })),
    })
}

/// [`load`] of known types; made by it alone, so that its caller's word holds for the addresses.
struct Load<'a, G, M> {
    source: &'a Source,
    gradient: *const G,
    momentum: Option<(*const M, usize)>,
    // By reference: a copy of what was just written would wait until it has left the store buffer.
    rectangle: &'a Rectangle,
    target: Panels,
}

impl<G: Stored, M: Stored> Vectorized for Load<'_, G, M> {
    type Output = Loaded;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Loaded {
        let rows = self.rectangle.rows;
        let panels = self.rectangle.columns.div_ceil(LANES);
        let mut found = [Found::nothing(simd); CHAINS];
        let whole = rows - rows % CHAINS;
        for row in (0..whole).step_by(CHAINS) {
            for panel in 0..panels {
                for chain in 0..CHAINS {
                    self.one(simd, row + chain, panel, &mut found[chain]);
                }
            }
        }
        for row in whole..rows {
            for panel in 0..panels {
                self.one(simd, row, panel, &mut found[0]);
            }
        }
        let mut all = found[0];
        for other in &found[1..] {
            all.maximum = simd.max(all.maximum, other.maximum);
            all.zeros = simd.add(all.zeros, other.zeros);
        }
        let non_finite = poisoned(simd, all.zeros);
        Loaded {
            largest: if non_finite {
                0.0
            } else {
                largest(simd, all.maximum)
            },
            non_finite,
        }
    }
}

/// Rows that are loaded side by side, so that none waits for another's maximum.
const CHAINS: usize = 4;

/// What one chain has met so far, lane by lane.
#[derive(Clone, Copy)]
struct Found<V> {
    maximum: V,
    /// 0 x for every x: a NaN once one of them was not finite.
    zeros: V,
}

impl<V> Found<V> {
    #[inline(always)]
    fn nothing<S: Simd<Vector = V>>(simd: S) -> Found<V> {
        Found {
            maximum: simd.splat(0.0),
            zeros: simd.splat(0.0),
        }
    }
}

impl<G: Stored, M: Stored> Load<'_, G, M> {
    /// Loads one vector of the rectangle.
    #[inline(always)]
    fn one<S: Simd>(&self, simd: S, row: usize, panel: usize, found: &mut Found<S::Vector>) {
        let column = panel * LANES;
        let count = self.rectangle.columns - column;
        let (first, left) = (self.rectangle.row, self.rectangle.column);
        // SAFETY: the next `count` columns lie in the rectangle, and the target has its rows and panels.
        unsafe {
            let m = self.at(simd, first + row, left + column, count);
            // Not finite where the gradient or either momentum is not: the products and sums that lead to m keep it.
            found.zeros = simd.fused(m, simd.splat(0.0), found.zeros);
            found.maximum = simd.max(found.maximum, simd.abs(m));
            simd.store(self.target.row(panel, row), m);
        }
    }

    /// m of up to sixteen columns.
    /// # Safety
    /// They lie in the rectangle.
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, simd: S, row: usize, column: usize, count: usize) -> S::Vector {
        let source = self.source;
        // SAFETY: the caller's word.
        let g = unsafe {
            read(
                simd,
                self.gradient.add(row * source.gradient_leading + column),
                count,
            )
        };
        let mut m = g;
        if let Some((momentum, leading)) = self.momentum {
            // SAFETY: the caller's word.
            let old = unsafe { read(simd, momentum.add(row * leading + column), count) };
            let new = next_momentum(simd, source, g, old);
            let from_gradient = simd.mul(simd.splat(source.alpha), g);
            m = simd.fused(simd.splat(source.beta), new, from_gradient);
        }
        if source.rounds {
            m = simd.round_bf16(m);
        }
        m
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

/// Writes the next momentum of the rectangle. The gradient and the momentum are still in the cache.
///
/// # Safety
/// The tensors hold the rectangle, and nobody else accesses this part of the momentum meanwhile.
pub(super) unsafe fn store_momentum<S: Simd>(simd: S, source: &Source, rectangle: &Rectangle) {
    let Some((momentum, leading)) = source.momentum.filter(|_| source.advances) else {
        return;
    };
    with_type!(source.gradient, gradient => with_type!(momentum, momentum => {
        simd.vectorize(StoreMomentum {
            source,
            gradient: gradient.cast_const(),
            momentum,
            leading,
            rectangle,
        });
    }));
}

/// [`store_momentum`] of known types; made by it alone, so that its caller's word holds for the addresses.
struct StoreMomentum<'a, G, M> {
    source: &'a Source,
    gradient: *const G,
    momentum: *mut M,
    leading: usize,
    rectangle: &'a Rectangle,
}

impl<G: Stored, M: Stored> Vectorized for StoreMomentum<'_, G, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let &Rectangle { rows, columns, .. } = self.rectangle;
        for row in self.rectangle.row..self.rectangle.row + rows {
            for panel in 0..columns.div_ceil(LANES) {
                let count = columns - panel * LANES;
                let column = self.rectangle.column + panel * LANES;
                // SAFETY: the next `count` columns lie in the rectangle.
                unsafe {
                    let g = self
                        .gradient
                        .add(row * self.source.gradient_leading + column);
                    let at = self.momentum.add(row * self.leading + column);
                    let old = read(simd, at.cast_const(), count);
                    let new = next_momentum(simd, self.source, read(simd, g, count), old);
                    write(simd, at, new, count);
                }
            }
        }
    }
}
