//! r x r matrices: in f64 where they are factors, in f32 panels where they are mapped or multiplied with.

use crate::cpu::elementwise::Norm;
use crate::cpu::engine::{Slot, Slots};
use crate::cpu::layout::{AnyShape, Panels, Shape};
use crate::cpu::product::Blocking;
use crate::cpu::recurrence;
use crate::cpu::simd::{LANES, Simd};
use crate::cpu::team::Team;
use crate::cpu::tiles::Tiles;
use himuon_templates::spec::coarse_map;
use himuon_templates::{Power, SpecError, StepTable};

/// A matrix of so many rows and columns, row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Square(pub(super) usize);

impl Square {
    /// right <- left right, both upper triangular.
    pub(super) fn multiply_upper(self, left: &[f64], right: &mut [f64]) {
        let size = self.0;
        for column in 0..size {
            // Row i of the result needs rows from i on of the operand: ascending rows overwrite nothing too early.
            for row in 0..=column {
                let mut sum = 0.0;
                for k in row..=column {
                    sum += left[row * size + k] * right[k * size + column];
                }
                right[row * size + column] = sum;
            }
        }
    }
}

/// Writes a rows x columns matrix into panels, with zeros beyond its columns.
///
/// # Safety
/// `panels` has so many rows and the panels of so many columns, and is the caller's alone.
pub(super) unsafe fn fill_panels(
    panels: Panels,
    rows: usize,
    columns: usize,
    element: impl Fn(usize, usize) -> f32,
) {
    for panel in 0..columns.div_ceil(LANES) {
        for row in 0..rows {
            for lane in 0..LANES {
                let column = panel * LANES + lane;
                let value = if column < columns {
                    element(row, column)
                } else {
                    0.0
                };
                // SAFETY: the caller's word.
                unsafe { *panels.row(panel, row).add(lane) = value }
            }
        }
    }
}

/// How the r x r matrix is mapped: to f32 accuracy, whatever steps the tiles take.
#[derive(Clone, Debug)]
pub(in crate::cpu) struct SmallMap {
    table: StepTable,
    power: f64,
}

impl SmallMap {
    /// The map for a power below 1; see [`coarse_map`].
    pub(in crate::cpu) fn new(power: Power) -> Result<SmallMap, SpecError> {
        Ok(SmallMap {
            table: coarse_map(power)?,
            power: power.to_f64(),
        })
    }

    fn slots(&self) -> Slots {
        recurrence::slots(&self.table, false)
    }

    /// Numbers of scratch for r x r.
    pub(in crate::cpu) fn scratch(&self, rank: usize) -> usize {
        self.slots().length(shape(rank))
    }

    /// output <- U S^p V^T of X / ||X||_F with X = U S V^T; returns ||X||_F.
    ///
    /// # Safety
    /// `scratch`, on a 64-byte boundary, has [`SmallMap::scratch`] numbers; `output` holds an r x r matrix in panels.
    /// Both are the caller's alone.
    pub(super) unsafe fn run<S: Simd>(
        &self,
        simd: S,
        rank: usize,
        input: impl Fn(usize, usize) -> f64,
        scratch: *mut f32,
        output: Panels,
    ) -> f64 {
        let mut squares = 0.0;
        for i in 0..rank {
            for j in 0..rank {
                squares += input(i, j) * input(i, j);
            }
        }
        let norm = squares.sqrt();
        let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        let blocking = Blocking::of(S::WIDE);
        let mut engine = Tiles::<S, AnyShape, false>::new(
            simd,
            shape(rank),
            self.slots(),
            blocking,
            false,
            Team::ALONE,
            None,
        );
        // SAFETY: the caller's word.
        unsafe {
            engine.push(scratch);
            let x = engine.tall(0, Slot::Tall(0));
            fill_panels(x, rank, rank, |i, j| (input(i, j) * inverse) as f32);
            // Rounding may leave the norm above 1 by some 1e-7, where the first steps are steep.
            let squares = engine.product(x, x, rank, 1.0);
            let rounded = Norm::of(1.0, squares);
            engine.normalise(x, 1.0, rounded.inverse);
            let mapped = recurrence::iterate(&engine, &self.table, self.power, false);
            let from = engine.tall(0, mapped.slot);
            let factor = mapped.factors[0];
            for panel in 0..shape(rank).panels() {
                for row in 0..rank {
                    let value = simd.mul(simd.splat(factor), simd.load(from.row(panel, row)));
                    simd.store(output.row(panel, row), value);
                }
            }
        }
        norm
    }
}

fn shape(rank: usize) -> AnyShape {
    AnyShape {
        rows: rank,
        columns: rank,
    }
}
