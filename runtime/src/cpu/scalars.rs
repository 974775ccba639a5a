//! Tiles of one element: sixteen of them in a vector.
//!
//! The map of a 1 x 1 tile is sign(g) s_K(1), s_K the K composed polynomials: an elementwise function, so that a
//! step costs what reading and writing its tensors costs. Every lane runs the operations of a tile on its own,
//! one by one, because the bits must be those of [`process`]: x / |x| need not be exactly 1 in `f32`.

use super::elementwise::Norm;
use super::engine::{Products, Slot};
use super::job::{Counts, Job, Map};
use super::layout::{BLOCK, BUFFER_PADDING, Panels};
use super::load::{Rectangle, load, store_momentum};
use super::recurrence;
use super::simd::{LANES, Line, Simd, Vectorized};
use super::store::store;
use super::team::Team;
use super::tile::{Batch, process};
use himuon_templates::{Criterion, Mode, StepTable};
use std::cell::Cell;
use std::ops::Range;

/// Elements that are loaded, mapped and stored at a time.
const STRIP: usize = 1024;
// They fit into the two tall buffers that any tile has in scratch.
const _: () = assert!(STRIP <= 2 * (BLOCK + BUFFER_PADDING));

/// The steps of the recurrence, if the tiles of `job` are single elements that nobody asks more of than the map.
pub(super) fn steps<'a>(map: &'a Map, job: &Job) -> Option<&'a [[f32; 3]]> {
    let single = job.grid.tile_rows == 1 && job.grid.tile_columns == 1;
    let plain = matches!(map.criterion, Criterion::Always)
        && job.decided.is_none()
        && job.outcomes.is_none()
        && map.mode == Mode::Accurate;
    match &map.table {
        StepTable::Odd(steps) if single && plain => Some(steps),
        _ => None,
    }
}

/// Processes tiles of one element.
///
/// # Safety
/// As [`process`], for the tiles of the range; [`steps`] gave `steps`.
pub(super) unsafe fn process_scalars<S: Simd>(
    simd: S,
    map: &Map,
    steps: &[[f32; 3]],
    job: &Job,
    tiles: Range<usize>,
    base: *mut f32,
) -> Counts {
    let mut counts = Counts::default();
    let columns = job.grid.columns;
    let mut first = tiles.start;
    while first < tiles.end {
        let (row, column) = (first / columns, first % columns);
        let count = STRIP.min(columns - column).min(tiles.end - first);
        let rectangle = Rectangle {
            row,
            column,
            rows: 1,
            columns: count,
        };
        // SAFETY: the caller's word: the elements lie in one row of the matrix.
        unsafe {
            if !process_strip(simd, steps, job, rectangle, base) {
                counts.merge(one_by_one(simd, map, job, rectangle, first, base));
            }
        }
        first += count;
    }
    counts
}

/// Whether all numbers of the strip were finite; if not, nothing has been written.
///
/// # Safety
/// As [`process`], for the elements of the rectangle: at most [`STRIP`] in one row.
unsafe fn process_strip<S: Simd>(
    simd: S,
    steps: &[[f32; 3]],
    job: &Job,
    rectangle: Rectangle,
    base: *mut f32,
) -> bool {
    let strip = Panels {
        start: base,
        stride: LANES,
    };
    // SAFETY: the caller's word; one row of panels of sixteen numbers each.
    unsafe {
        if load(simd, &job.source, &rectangle, strip).non_finite {
            return false;
        }
        store_momentum(simd, &job.source, &rectangle);
        simd.vectorize(MapStrip {
            strip,
            panels: rectangle.columns.div_ceil(LANES),
            steps,
        });
        let scale = job.scale.of(&job.grid, job.grid.rectangle(0));
        store(simd, &job.sink, &rectangle, strip, scale);
    }
    true
}

/// Every tile by itself.
///
/// # Safety
/// As [`process`], for the elements of the rectangle; `first` is the number of the first.
unsafe fn one_by_one<S: Simd>(
    simd: S,
    map: &Map,
    job: &Job,
    rectangle: Rectangle,
    first: usize,
    base: *mut f32,
) -> Counts {
    let mut counts = Counts::default();
    for element in 0..rectangle.columns {
        let batch = Batch {
            first: first + element,
            rectangle: job.grid.rectangle(first + element),
            count: 1,
        };
        // SAFETY: the caller's word.
        counts.merge(unsafe { process(simd, map, job, &batch, None, Team::ALONE, base) });
    }
    counts
}

/// Maps every lane of some vectors; made by [`process_strip`] alone, so that its caller's word holds for them.
struct MapStrip<'a> {
    strip: Panels,
    panels: usize,
    steps: &'a [[f32; 3]],
}

impl Vectorized for MapStrip<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for panel in 0..self.panels {
            // SAFETY: the strip has that many panels of one row.
            let at = unsafe { self.strip.row(panel, 0) };
            // SAFETY: as above.
            let m = unsafe { simd.load(at) };
            let lanes = Lanes::new(simd, normalised(simd, m));
            let mapped = recurrence::odd(&lanes, self.steps, false);
            // SAFETY: as above.
            unsafe { simd.store(at, lanes.get(mapped.slot)) }
        }
    }
}

/// x / |x| of each lane, in the operations of a tile's normalisation.
#[inline(always)]
fn normalised<S: Simd>(simd: S, m: S::Vector) -> S::Vector {
    let magnitude = simd.to_line(simd.abs(m));
    let scale = Line(magnitude.0.map(Norm::scale));
    // SAFETY: a line is readable.
    let scale = unsafe { simd.load(scale.0.as_ptr()) };
    let scaled = simd.mul(scale, m);
    let root = simd.to_line(simd.sqrt(simd.fused(scaled, scaled, simd.splat(0.0))));
    let inverse = Line(root.0.map(|root| if root > 0.0 { 1.0 / root } else { 0.0 }));
    // SAFETY: as above.
    let inverse = unsafe { simd.load(inverse.0.as_ptr()) };
    simd.mul(simd.mul(m, scale), inverse)
}

/// Sixteen 1 x 1 tiles: a product is a multiplication.
struct Lanes<S: Simd> {
    simd: S,
    /// The two tall buffers and the Gram matrix.
    slots: [Cell<S::Vector>; 3],
}

impl<S: Simd> Lanes<S> {
    #[inline(always)]
    fn new(simd: S, x: S::Vector) -> Self {
        let empty = || Cell::new(simd.splat(0.0));
        Lanes {
            simd,
            slots: [Cell::new(x), empty(), empty()],
        }
    }

    #[inline(always)]
    fn slot(&self, slot: Slot) -> &Cell<S::Vector> {
        match slot {
            Slot::Tall(0) => &self.slots[0],
            Slot::Tall(_) => &self.slots[1],
            Slot::Gram | Slot::Kept => &self.slots[2],
        }
    }

    #[inline(always)]
    fn get(&self, slot: Slot) -> S::Vector {
        self.slot(slot).get()
    }

    /// A sum of one product, as [`super::product`] begins it.
    #[inline(always)]
    fn product(&self, a: S::Vector, b: S::Vector, factor: f32) -> S::Vector {
        let simd = self.simd;
        simd.mul(simd.splat(factor), simd.fused(a, b, simd.splat(0.0)))
    }
}

impl<S: Simd> Products for Lanes<S> {
    #[inline(always)]
    fn rounds(&self) -> bool {
        false
    }

    #[inline(always)]
    fn gram(&self, x: Slot, gram: Slot, factor: f32) {
        let x = self.get(x);
        self.slot(gram).set(self.product(x, x, factor));
    }

    #[inline(always)]
    fn polynomial(&self, gram: Slot, output: Slot, linear: f32, quadratic: f32) {
        let gram = self.get(gram);
        let square = self.product(gram, gram, quadratic);
        let sum = self.simd.fused(self.simd.splat(linear), gram, square);
        self.slot(output).set(sum);
    }

    #[inline(always)]
    fn update(&self, left: Slot, gram: Slot, output: Slot, linear: f32, factor: f32) {
        let left = self.get(left);
        let mut sum = self.product(left, self.get(gram), factor);
        if linear != 0.0 {
            sum = self.simd.fused(self.simd.splat(linear), left, sum);
        }
        self.slot(output).set(sum);
    }
}
