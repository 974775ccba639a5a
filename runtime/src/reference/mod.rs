//! The same map in `f64`, plain and slow: the judge of every kernel.
//!
//! Each formula is written as it stands in its source, without blocking, fusion or symmetry, so that a
//! reader can check it line by line. The coefficients are the exact `f32` bits that the kernels use
//! ([`StepTable`](himuon_templates::StepTable)), widened; nothing else is rounded, except in
//! [`Mode::Reference`](himuon_templates::Mode), where the rounding points of the published code are part
//! of the map.
//!
//! * [`ReferenceMap`] maps one tile ([`ReferenceMap::tile`]) or every tile of a matrix
//!   ([`ReferenceMap::matrix`], [`ReferenceMap::apply`]).
//! * [`two_level_step`] is the step with a coarse part ([`coarse_part`]) that couples the tiles.
//! * [`step`] is one optimizer step: momentum, map, scale or normalisation, decay, update.
//! * [`Matrix`] is the dense row-major matrix that both work on.
//!
//! ```
//! use himuon::reference::{Matrix, ReferenceMap};
//! use himuon::{KernelSpec, Tile};
//!
//! let map = ReferenceMap::new(&KernelSpec::new(Tile::square(1)))?;
//! // T = 1: the sign times s_K(1), 0.696 for `muon` at K = 5.
//! let mapped = map.matrix(&Matrix::from_f32(1, 3, &[2.0, -1e-20, 0.0]));
//! assert!((mapped.values.get(0, 0) - 0.696).abs() < 1e-3);
//! assert_eq!(mapped.values.get(0, 0), -mapped.values.get(0, 1));
//! assert_eq!(mapped.values.get(0, 2), 0.0);
//! # Ok::<(), himuon::reference::ReferenceError>(())
//! ```

mod coarse;
mod criterion;
mod error;
mod matrix;
mod matrix_map;
mod momentum;
mod newton_schulz;
mod power;
mod rounding;
mod row_normalisation;
mod scale;
mod singular_values;
mod step;
mod tile_map;
mod tiling;

#[cfg(test)]
mod checks;

pub use coarse::{CoarsePart, TwoLevels, coarse_part, seeded_basis, two_level_step};
pub use criterion::{effective_rank, min_gap, nuclear_rank};
pub use error::ReferenceError;
pub use matrix::Matrix;
pub use matrix_map::{MappedMatrix, Normalisation};
pub use momentum::{MomentumConvention, momentum_step};
pub use scale::tile_scale;
pub use singular_values::singular_values;
pub use step::{RowMoments, StepState, step};
pub use tile_map::{MappedTile, ReferenceMap};
pub use tiling::{TileBounds, tiles};
