//! The coarse part of a two-level map: a polar factor of low rank for what couples the tiles.

use super::{
    CoefficientSet, Criterion, Element, Finite, KernelSpec, Power, Recurrence, SpecError, Storage,
    Tile,
};
use crate::coefficients::StepTable;

/// Largest rank of a coarse part: beyond it the r x r work of a matrix is no longer small.
pub const MAX_COARSE_RANK: u32 = 512;

/// Steps of the odd recurrence that a polar factor starts with, and of the quintic that follow.
const POLAR_STEPS: (u32, usize) = (10, 3);
/// The quintic Newton-Schulz step: an error e becomes about e^3.
const QUINTIC: [f32; 3] = [1.875, -1.25, 0.375];
/// Steps of the coupled recurrence for 0 < p < 1.
const POWER_STEPS: u32 = 10;

/// How the r x r matrix of a coarse part is mapped, to f32 accuracy, whatever steps the tiles take.
///
/// p = 0: ten minimax steps for singular values in [1e-6, 1] and three quintic ones. 0 < p < 1: ten steps of the coupled
/// recurrence, which is built for [1e-3, 1].
///
/// # Errors
/// A power that no coarse part has.
pub fn coarse_map(power: Power) -> Result<StepTable, SpecError> {
    let base = KernelSpec::new(Tile::Full);
    let spec = if power == Power::ZERO {
        let lower = Finite::new(1e-6).unwrap_or(Finite::ZERO);
        KernelSpec {
            steps: POLAR_STEPS.0,
            recurrence: Recurrence::NewtonSchulz(CoefficientSet::Minimax { lower }),
            ..base
        }
    } else {
        KernelSpec {
            steps: POWER_STEPS,
            power,
            recurrence: Recurrence::Coupled,
            ..base
        }
    };
    let mut table = spec.step_table()?;
    if let StepTable::Odd(steps) = &mut table {
        steps.extend([QUINTIC; POLAR_STEPS.1]);
    }
    Ok(table)
}

/// What the tiles add to the coarse part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fine {
    /// The tiles of the remainder M - P P^T M, mapped and scaled, minus what of them lies in span(P) and
    /// span(V): the two parts are orthogonal.
    Projected,
    /// The same tiles as they are: subtracted when a tile is loaded and added when it is stored, nothing in between.
    Fused,
    /// Nothing: the coarse part alone.
    Nothing,
}

/// Whether the tiles are coupled by a coarse part.
///
/// Per matrix M with a warm-started basis V of r columns, one power iteration a step:
/// `P = orth(M V); B = M^T P; V', R = qr(B)`; the coarse part is `P polar(R^T) V'^T`, and V' is the next basis.
/// A matrix that is one tile has no coarse part: there is nothing to couple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coarse {
    /// Tiles alone.
    Off,
    /// A coarse part.
    Polar {
        /// The rank r, 1 to [`MAX_COARSE_RANK`]; a matrix with a shorter side takes that.
        rank: u32,
        /// What the tiles add.
        fine: Fine,
    },
}

impl Coarse {
    /// The rank; 0 without a coarse part.
    pub const fn rank(self) -> u32 {
        match self {
            Coarse::Off => 0,
            Coarse::Polar { rank, .. } => rank,
        }
    }

    /// The same coarse part with another rank, 0 for none.
    #[must_use]
    pub const fn with_rank(self, rank: u32) -> Coarse {
        match self {
            Coarse::Polar { fine, .. } if rank > 0 => Coarse::Polar { rank, fine },
            _ => Coarse::Off,
        }
    }
}

impl KernelSpec {
    /// Whether nothing stands between the map of a tile and its coarse part, at p = 0: one kernel can subtract where it reads and
    /// add where it writes.
    #[must_use]
    pub fn couples_in_one_pass(&self) -> bool {
        let fine = match self.coarse {
            Coarse::Polar { fine, .. } => Some(fine),
            Coarse::Off => None,
        };
        matches!(fine, Some(Fine::Fused | Fine::Nothing))
            && self.power == Power::ZERO
            && self.criterion == Criterion::Always
    }

    /// The step of these tiles with a coarse part in one pass, whatever its rank and whether tiles add to it: the kernel takes both
    /// from its table.
    #[must_use]
    pub fn coupled_step(&self) -> KernelSpec {
        KernelSpec {
            coarse: Coarse::Polar {
                rank: 1,
                fine: Fine::Fused,
            },
            ..self.clone()
        }
    }

    /// The same tiles without a coarse part.
    #[must_use]
    pub fn tiles_alone(&self) -> KernelSpec {
        KernelSpec {
            coarse: Coarse::Off,
            ..self.clone()
        }
    }

    /// The map of what a coarse part leaves of the tiles, from f32 to f32, where a backend does everything else around it.
    #[must_use]
    pub fn remainder_map(&self) -> KernelSpec {
        KernelSpec {
            storage: Storage {
                weight: Element::F32,
                momentum: Element::F32,
                master_weights: false,
            },
            ..self.tiles_alone()
        }
    }
}
