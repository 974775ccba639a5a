//! The table of coupled matrices, as `lib/coupling_table.cuh` declares it.

use himuon_templates::{Coarse, Fine};

use super::layout::{MatrixLayout, Units};
use crate::cuda::table::{Fields, MatrixEntry};

/// Bytes of a matrix's entry.
pub(in crate::cuda) const COUPLED_BYTES: usize = 240;

const REFRESH: u32 = 1;
const ALONE: u32 = 2;
const PROJECTED: u32 = 4;
const NORMALISED: u32 = 8;

/// One coupled matrix of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct CoupledEntry<'a> {
    /// Its tensors, extents, first tile and group.
    pub(super) matrix: MatrixEntry,
    pub(super) layout: &'a MatrixLayout,
    /// Where the layout of the chunk begins.
    pub(super) workspace: u64,
    pub(super) tile: (u32, u32),
    pub(super) coarse: Coarse,
    /// The state's address and columns; 0 where there is no coarse part.
    pub(super) basis: (u64, u32),
    pub(super) refresh: bool,
    /// The address of the row moments, b2 and eps.
    pub(super) row_normalisation: Option<(u64, f32, f32)>,
    /// The first units of each kind.
    pub(super) firsts: Units<u32>,
    pub(super) coarse_factor: f32,
    pub(super) captured_decay: f32,
}

impl CoupledEntry<'_> {
    pub(super) fn write(&self, table: &mut Vec<u8>) {
        let CoupledEntry { matrix, layout, .. } = self;
        for pointer in [
            matrix.gradient,
            matrix.momentum,
            matrix.weight,
            matrix.remainder.unwrap_or(0),
            self.workspace + layout.fine,
            self.basis.0,
        ] {
            table.long(pointer);
        }
        for offset in layout.parts() {
            table.long(if layout.rank == 0 {
                0
            } else {
                self.workspace + offset
            });
        }
        let (moments, beta2, epsilon) = self.row_normalisation.unwrap_or_default();
        table.long(moments);
        for offset in layout.of_rows() {
            table.long(if moments == 0 {
                0
            } else {
                self.workspace + offset
            });
        }
        let (blocks, more) = self.firsts.split_at(3);
        for word in [
            matrix.rows,
            matrix.columns,
            matrix.gradient_leading,
            matrix.weight_leading,
            self.tile.0,
            self.tile.1,
            matrix.first_tile,
            matrix.group,
            layout.rank,
            layout.stride,
            self.basis.1,
            self.flags(),
        ]
        .into_iter()
        .chain(blocks.iter().copied())
        {
            table.word(word);
        }
        let factor = match is_alone(self.coarse, layout) {
            true => 1.0,
            false => self.coarse_factor,
        };
        table.number(factor).number(self.captured_decay);
        table.number(beta2).number(epsilon);
        for word in more {
            table.word(*word);
        }
    }

    fn flags(&self) -> u32 {
        [
            (REFRESH, self.refresh),
            (ALONE, is_alone(self.coarse, self.layout)),
            (PROJECTED, is_projected(self.coarse, self.layout)),
            (NORMALISED, self.row_normalisation.is_some()),
        ]
        .into_iter()
        .filter_map(|(flag, holds)| holds.then_some(flag))
        .sum()
    }
}

/// Whether the coarse part is all there is: as specified, or because nothing is left at full rank.
fn is_alone(coarse: Coarse, layout: &MatrixLayout) -> bool {
    let nothing = matches!(coarse, Coarse::Polar { fine, .. } if fine == Fine::Nothing);
    nothing || layout.is_full()
}

/// Whether the fine part is taken out of both spans.
pub(super) fn is_projected(coarse: Coarse, layout: &MatrixLayout) -> bool {
    let projected = matches!(coarse, Coarse::Polar { fine, .. } if fine == Fine::Projected);
    projected && layout.rank > 0 && !is_alone(coarse, layout)
}
