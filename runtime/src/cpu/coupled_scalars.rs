//! Tiles of one element beside a coarse part: sixteen of them in a vector, a few rows at a time, because what couples
//! them is a product.

use super::coarse::{Coupling, Place};
use super::elementwise::{Norm, extent};
use super::job::{Counts, Job, Map};
use super::layout::{BLOCK, BUFFER_PADDING, Panels};
use super::load::{Rectangle, load, restore_momentum};
use super::scalars::{MapStrip, one_by_one};
use super::simd::{LANES, Simd};
use super::store::store;
use crate::coarse::REMAINDER;
use std::ops::Range;

/// Rows and panels of a patch, which is loaded, mapped and stored at a time.
const ROWS: usize = 8;
const PANELS: usize = 2;
const PATCH: usize = ROWS * PANELS * LANES;
// Three patches fit into the two tall buffers that any tile has in scratch.
const _: () = assert!(3 * PATCH <= 2 * (BLOCK + BUFFER_PADDING));

/// Processes whole rows of tiles of one element.
///
/// # Safety
/// As [`super::tile::process`], for the tiles of the range, which begins and ends with a row;
/// [`super::scalars::steps`] gave the steps.
pub(super) unsafe fn process_coupled<S: Simd>(
    simd: S,
    (map, steps): (&Map, &[[f32; 3]]),
    job: &Job,
    coupling: &Coupling,
    tiles: Range<usize>,
    base: *mut f32,
) -> Counts {
    let mut counts = Counts::default();
    let columns = job.grid.columns;
    let last = tiles.end / columns;
    for row in (tiles.start / columns..last).step_by(ROWS) {
        for column in (0..columns).step_by(PANELS * LANES) {
            let rectangle = Rectangle {
                row,
                column,
                rows: ROWS.min(last - row),
                columns: (PANELS * LANES).min(columns - column),
            };
            // SAFETY: the caller's word: the elements lie in the rows of the range.
            unsafe {
                if !process_patch(simd, steps, job, coupling, rectangle, base) {
                    counts.merge(one_by_one(simd, map, job, rectangle, base));
                }
            }
        }
    }
    counts
}

/// Whether all numbers of the patch were finite; if not, the tensors are as they were.
///
/// # Safety
/// As [`process_coupled`], for the elements of the rectangle: a patch at most.
unsafe fn process_patch<S: Simd>(
    simd: S,
    steps: &[[f32; 3]],
    job: &Job,
    coupling: &Coupling,
    rectangle: Rectangle,
    base: *mut f32,
) -> bool {
    let [remainder, whole, previous] = [0, 1, 2].map(|number| Panels {
        start: base.wrapping_add(number * PATCH),
        stride: ROWS * LANES,
    });
    let panels = rectangle.columns.div_ceil(LANES);
    let place = Place {
        rectangle,
        // A patch has no room for more rows than its own: eight are two pieces of four.
        width: if S::WIDE { PANELS } else { 4 },
    };
    let rows = 0..rectangle.rows;
    // SAFETY: the caller's word; a patch has the rows that the last piece of a product may reach into, since a piece
    // is one of eight rows or four.
    unsafe {
        load(simd, &job.source, &rectangle, whole, Some(previous));
        if extent(simd, whole, 0..panels, rows.clone()).non_finite {
            restore_momentum(simd, &job.source, &rectangle, previous);
            return false;
        }
        if !coupling.mute {
            coupling.subtract(simd, place, rows.clone(), whole, remainder);
            coupling.decay_momentum(simd, &job.source, place, rows.clone(), (whole, remainder));
        }
        for panel in 0..panels {
            for row in rows.clone() {
                let (whole, remainder) = (whole.row(panel, row), remainder.row(panel, row));
                match coupling.mute {
                    true => simd.store(remainder, simd.mul(simd.load(whole), simd.splat(0.0))),
                    false => drop_rounding(whole, remainder),
                }
            }
            simd.vectorize(MapStrip {
                start: remainder.row(panel, 0),
                vectors: rectangle.rows,
                steps,
            });
        }
        let scale = job.scale.of(&job.grid, job.grid.rectangle(0));
        if coupling.adds() {
            coupling.add(simd, place, rows, (remainder, scale as f32), whole);
            store(simd, &job.sink, &rectangle, whole, 1.0);
        } else {
            store(simd, &job.sink, &rectangle, remainder, scale);
        }
    }
    true
}

/// Sixteen remainders of sixteen elements: zero where a remainder is only rounding, as
/// [`super::tile`] decides for larger tiles.
///
/// # Safety
/// Both are sixteen numbers in scratch.
#[inline(always)]
unsafe fn drop_rounding(whole: *const f32, remainder: *mut f32) {
    // SAFETY: the caller's word.
    let (whole, remainder) = unsafe {
        (
            &*whole.cast::<[f32; LANES]>(),
            &mut *remainder.cast::<[f32; LANES]>(),
        )
    };
    let mut near = false;
    for (element, left) in whole.iter().zip(&*remainder) {
        near |= left.abs() <= 2.0 * REMAINDER as f32 * element.abs();
    }
    if near {
        for (element, left) in whole.iter().zip(remainder) {
            if is_rounding(*element, *left) {
                *left *= 0.0;
            }
        }
    }
}

fn is_rounding(element: f32, left: f32) -> bool {
    let squares = left * left;
    let norm = if Norm::is_ordinary(squares) {
        Norm::of(1.0, squares)
    } else {
        let scale = Norm::scale(element.abs());
        Norm::of(scale, (scale * left) * (scale * left))
    };
    norm.norm <= REMAINDER * f64::from(element.abs())
}
