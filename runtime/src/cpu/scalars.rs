//! Tiles of one element: sixteen of them in a vector.
//!
//! The map of a 1 x 1 tile is sign(g) s_K(1), s_K the K composed polynomials: an elementwise function, so that a
//! step costs what reading and writing its tensors costs. Every lane runs the operations of a tile on its own,
//! one by one, because the bits must be those of [`process`]: x / |x| need not be exactly 1 in `f32`.

use super::coupled_scalars::process_coupled;
use super::elementwise::{Norm, extent};
use super::engine::{Products, Slot};
use super::job::{Counts, Job, Map};
use super::layout::{BLOCK, BUFFER_PADDING, Panels};
use super::load::{Rectangle, load, restore_momentum};
use super::recurrence;
use super::simd::{LANES, Line, Simd, Vectorized};
use super::store::store;
use super::team::Team;
use super::tile::{Batch, process};
use himuon_templates::{Criterion, Mode, StepTable};
use std::cell::Cell;
use std::ops::Range;

/// Elements that are loaded, mapped and stored at a time.
const STRIP: usize = 512;
// Two strips fit into the two tall buffers that any tile has in scratch.
const _: () = assert!(2 * STRIP <= 2 * (BLOCK + BUFFER_PADDING));

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
    if let Some(coupling) = &job.coupling {
        // SAFETY: the caller's word.
        return unsafe { process_coupled(simd, (map, steps), job, coupling, tiles, base) };
    }
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
                counts.merge(one_by_one(simd, map, job, rectangle, base));
            }
        }
        first += count;
    }
    counts
}

/// Whether all numbers of the strip were finite; if not, the tensors are as they were.
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
    let panels = rectangle.columns.div_ceil(LANES);
    // SAFETY: the caller's word; one row of panels of sixteen numbers each, twice.
    unsafe {
        let previous = Panels {
            start: base.add(STRIP),
            stride: LANES,
        };
        load(simd, &job.source, &rectangle, strip, Some(previous));
        if extent(simd, strip, 0..panels, 0..1).non_finite {
            restore_momentum(simd, &job.source, &rectangle, previous);
            return false;
        }
        simd.vectorize(MapStrip {
            start: base,
            vectors: panels,
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
/// As [`process`], for the elements of the rectangle.
pub(super) unsafe fn one_by_one<S: Simd>(
    simd: S,
    map: &Map,
    job: &Job,
    rectangle: Rectangle,
    base: *mut f32,
) -> Counts {
    let mut counts = Counts::default();
    for row in rectangle.row..rectangle.row + rectangle.rows {
        let first = row * job.grid.columns + rectangle.column;
        for element in first..first + rectangle.columns {
            let batch = Batch {
                first: element,
                rectangle: job.grid.rectangle(element),
                across: 1,
                count: 1,
            };
            // SAFETY: the caller's word.
            counts.merge(unsafe { process(simd, map, job, &batch, None, Team::ALONE, base) });
        }
    }
    counts
}

/// Maps every lane of some vectors, one after the other in scratch; made where those are granted.
pub(super) struct MapStrip<'a> {
    pub(super) start: *mut f32,
    pub(super) vectors: usize,
    pub(super) steps: &'a [[f32; 3]],
}

impl Vectorized for MapStrip<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let mut first = 0;
        while first + SIDE_BY_SIDE <= self.vectors {
            self.map::<S, SIDE_BY_SIDE>(simd, first);
            first += SIDE_BY_SIDE;
        }
        while first < self.vectors {
            self.map::<S, 1>(simd, first);
            first += 1;
        }
    }
}

impl MapStrip<'_> {
    /// Maps N vectors from `first` on.
    // Loops, not closures: those would be compiled without the instruction set's features.
    #[inline(always)]
    fn map<S: Simd, const N: usize>(&self, simd: S, first: usize) {
        let at = |i: usize| self.start.wrapping_add((first + i) * LANES);
        let mut x = [simd.splat(0.0); N];
        for i in 0..N {
            // SAFETY: `run` names only the vectors that there are.
            x[i] = normalised(simd, unsafe { simd.load(at(i)) });
        }
        let lanes = Lanes::new(simd, x);
        let mapped = lanes.get(recurrence::odd(&lanes, self.steps, false).slot);
        for i in 0..N {
            // SAFETY: as above.
            unsafe { simd.store(at(i), mapped[i]) }
        }
    }
}

/// Vectors that are mapped together, so that none waits for its own last product.
const SIDE_BY_SIDE: usize = 4;

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

/// Sixteen 1 x 1 tiles in each of N vectors: a product is a multiplication.
struct Lanes<S: Simd, const N: usize> {
    simd: S,
    /// The two tall buffers and the Gram matrix.
    slots: [Cell<[S::Vector; N]>; 3],
}

impl<S: Simd, const N: usize> Lanes<S, N> {
    #[inline(always)]
    fn new(simd: S, x: [S::Vector; N]) -> Self {
        let zeros = [simd.splat(0.0); N];
        Lanes {
            simd,
            slots: [Cell::new(x), Cell::new(zeros), Cell::new(zeros)],
        }
    }

    #[inline(always)]
    fn slot(&self, slot: Slot) -> &Cell<[S::Vector; N]> {
        match slot {
            Slot::Tall(0) => &self.slots[0],
            Slot::Tall(_) => &self.slots[1],
            Slot::Gram | Slot::Kept => &self.slots[2],
        }
    }

    #[inline(always)]
    fn get(&self, slot: Slot) -> [S::Vector; N] {
        self.slot(slot).get()
    }

    /// linear a + factor (a b), or factor (a b), as the products of larger tiles begin and finish.
    #[inline(always)]
    fn product(
        &self,
        a: [S::Vector; N],
        b: [S::Vector; N],
        linear: Option<f32>,
        factor: f32,
    ) -> [S::Vector; N] {
        let simd = self.simd;
        let mut sums = a;
        for i in 0..N {
            let sum = simd.fused(a[i], b[i], simd.splat(0.0));
            sums[i] = simd.mul(simd.splat(factor), sum);
            if let Some(linear) = linear {
                sums[i] = simd.fused(simd.splat(linear), a[i], sums[i]);
            }
        }
        sums
    }
}

impl<S: Simd, const N: usize> Products for Lanes<S, N> {
    #[inline(always)]
    fn rounds(&self) -> bool {
        false
    }

    #[inline(always)]
    fn gram(&self, x: Slot, gram: Slot, factor: f32) {
        let x = self.get(x);
        self.slot(gram).set(self.product(x, x, None, factor));
    }

    #[inline(always)]
    fn polynomial(&self, gram: Slot, output: Slot, linear: f32, quadratic: f32) {
        let gram = self.get(gram);
        let sum = self.product(gram, gram, Some(linear), quadratic);
        self.slot(output).set(sum);
    }

    #[inline(always)]
    fn update(&self, left: Slot, gram: Slot, output: Slot, linear: f32, factor: f32) {
        let linear = (linear != 0.0).then_some(linear);
        let sum = self.product(self.get(left), self.get(gram), linear, factor);
        self.slot(output).set(sum);
    }
}
