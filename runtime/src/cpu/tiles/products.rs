//! The operations of Newton-Schulz, tile by tile.

use super::Tiles;
use crate::cpu::elementwise as pass;
use crate::cpu::engine::{Products, Slot};
use crate::cpu::layout::Shape;
use crate::cpu::product::{Affine, Finish, Scaled};
use crate::cpu::simd::Simd;

impl<S: Simd, D: Shape, const INLINE: bool> Products for Tiles<'_, S, D, INLINE> {
    #[inline(always)]
    fn rounds(&self) -> bool {
        !INLINE && self.rounds
    }

    #[inline(always)]
    fn gram(&self, x: Slot, gram: Slot, factor: f32) {
        self.ask();
        for tile in 0..self.tiles {
            let (input, output) = (self.tall(tile, x), self.small(tile, gram));
            self.symmetric(
                input,
                self.shape.rows(),
                output,
                Finish::Scaled(Scaled { factor }),
            );
        }
    }

    #[inline(always)]
    fn polynomial(&self, gram: Slot, output: Slot, linear: f32, factor: f32) {
        self.ask();
        for tile in 0..self.tiles {
            let base = self.small(tile, gram);
            let finish = Finish::Affine(Affine {
                base,
                linear,
                factor,
            });
            self.symmetric(base, self.shape.columns(), self.small(tile, output), finish);
        }
    }

    #[inline(always)]
    fn update(&self, left: Slot, gram: Slot, output: Slot, linear: f32, factor: f32) {
        self.ask();
        for tile in 0..self.tiles {
            let base = self.tall(tile, left);
            let (right, output) = (self.small(tile, gram), self.tall(tile, output));
            if !INLINE && linear == 0.0 {
                self.multiply(base, right, output, Finish::Scaled(Scaled { factor }));
            } else if self.rounds() {
                // The product is rounded before it is added.
                self.multiply(base, right, output, Finish::Scaled(Scaled { factor }));
                let rows = self.shape.rows();
                let (y, x) = ((output, 1.0), (base, linear));
                // SAFETY: see above.
                self.panels(|panels| unsafe { pass::mix(self.simd, output, y, x, panels, rows) });
                self.round(output, rows);
            } else {
                let finish = Finish::Affine(Affine {
                    base,
                    linear,
                    factor,
                });
                self.multiply(base, right, output, finish);
            }
        }
    }
}
