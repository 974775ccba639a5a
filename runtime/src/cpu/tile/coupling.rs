//! What the coarse part does to the tiles of a batch.

use super::Work;
use crate::coarse::REMAINDER;
use crate::cpu::coarse::{Coupling, Place};
use crate::cpu::elementwise::Norm;
use crate::cpu::engine::Slot;
use crate::cpu::layout::Panels;
use crate::cpu::load::Rectangle;
use crate::cpu::simd::{LANES, Simd};

// SAFETY of every block below: as in the parent module, whose `process` was granted the scratch and the tensors' parts.
impl<S: Simd> Work<'_, S> {
    /// Writes what the coarse part leaves of m, which lies in `whole` as in memory, to `target`.
    pub(super) unsafe fn subtract_coarse_part(
        &self,
        tile: usize,
        coupling: Coupling,
        whole: Panels,
        target: Panels,
    ) {
        let (simd, place) = (self.engine.simd, self.place(tile));
        let rows = place.rectangle.rows;
        // SAFETY: see above.
        self.engine.team.ranges(rows, LANES, |rows| unsafe {
            coupling.subtract(simd, place, rows.clone(), whole, target);
            coupling.decay_momentum(simd, &self.job.source, place, rows, (whole, target));
        });
    }

    fn place(&self, tile: usize) -> Place {
        Place {
            rectangle: self.batch.rectangle(tile),
            width: self.engine.blocking.update.into(),
        }
    }

    /// The norm of a remainder; zero where the remainder is only rounding, or to be left out.
    pub(super) fn without_rounding(&self, norm: Norm, largest: f32) -> Norm {
        let Rectangle { rows, columns, .. } = self.batch.rectangle;
        let limit = REMAINDER * f64::from(largest) * ((rows * columns) as f64).sqrt();
        match self.job.coupling {
            Some(coupling) if coupling.mute || norm.norm <= limit => Norm {
                inverse: 0.0,
                norm: 0.0,
                ..norm
            },
            _ => norm,
        }
    }

    /// Adds the coarse part to factor times a mapped tile that lies in `slot`, where there is one: what is to be
    /// stored, and its factor.
    pub(super) unsafe fn with_coarse_part(
        &self,
        tile: usize,
        slot: Slot,
        (from, factor): (Panels, f64),
    ) -> (Panels, f64) {
        let Some(coupling) = self.job.coupling.filter(Coupling::adds) else {
            return (from, factor);
        };
        let (simd, place) = (self.engine.simd, self.place(tile));
        let to = self.unturned(tile, self.other(slot));
        let mapped = (from, factor as f32);
        // SAFETY: see above.
        self.engine
            .team
            .ranges(place.rectangle.rows, LANES, |rows| unsafe {
                coupling.add(simd, place, rows, mapped, to);
            });
        (to, 1.0)
    }

    /// A buffer that is free while `slot` is in use.
    pub(super) fn other(&self, slot: Slot) -> Slot {
        match slot {
            Slot::Tall(number) => Slot::Tall((number + 1) % self.engine.slots.tall),
            Slot::Gram | Slot::Kept => Slot::Tall(0),
        }
    }
}
