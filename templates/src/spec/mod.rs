//! The specification of a kernel: what the user asked for, rounding included.

mod check;
mod coarse;
mod criterion;
mod element;
mod error;
mod fields;
mod power;
mod recurrence;
mod tile;

pub use check::MAX_TILE_EDGE;
pub use coarse::{Coarse, Fine, MAX_COARSE_RANK, coarse_map};
pub use criterion::{Criterion, Measure, Otherwise, Scope};
pub use element::{Element, Finite, Mode, Operand, Storage};
pub use error::{Field, SpecError};
pub use fields::{RecurrenceName, SpecFields};
pub use power::Power;
pub use recurrence::{CoefficientSet, Recurrence};
pub use tile::Tile;

/// What one kernel computes. Two equal specifications give the same numbers (up to the order of
/// summation, which is a property of the variant); nothing that only changes the speed is in here.
///
/// Momentum, Nesterov, learning rate, weight decay and scale are run-time scalars, not specification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelSpec {
    /// The tile that is mapped on its own.
    pub tile: Tile,
    /// Number of steps K of the recurrence; 0 exactly when the recurrence is [`Recurrence::Identity`].
    pub steps: u32,
    /// The power p of U S^p V^T: 0 is the polar factor, 1 the identity.
    pub power: Power,
    /// The iteration, with its coefficients.
    pub recurrence: Recurrence,
    /// Types of the tensors in memory.
    pub storage: Storage,
    /// Type of the operands of the matrix products (accumulation is always `f32`).
    pub operand: Operand,
    /// Rounding points.
    pub mode: Mode,
    /// When a tile is orthogonalised at all (MiMuon).
    pub criterion: Criterion,
    /// The part that couples the tiles.
    pub coarse: Coarse,
}

impl KernelSpec {
    /// The defaults of the project for a tile: K = 5, `muon`, p = 0, everything `f32`, `accurate`, no criterion.
    ///
    /// ```
    /// use himuon_templates::{KernelSpec, Tile};
    /// let spec = KernelSpec::new(Tile::square(128));
    /// assert_eq!(spec.steps, 5);
    /// assert!(spec.check().is_ok());
    /// ```
    pub const fn new(tile: Tile) -> Self {
        KernelSpec {
            tile,
            steps: 5,
            power: Power::ZERO,
            recurrence: Recurrence::NewtonSchulz(CoefficientSet::Muon),
            storage: Storage::F32,
            operand: Operand::F32,
            mode: Mode::Accurate,
            criterion: Criterion::Always,
            coarse: Coarse::Off,
        }
    }
}
