//! The coarse part of a two-level map: a polar factor of low rank for what couples the tiles.

use super::KernelSpec;

/// Largest rank of a coarse part: beyond it the r x r work of a matrix is no longer small.
pub const MAX_COARSE_RANK: u32 = 512;

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
    /// The same tiles without a coarse part.
    #[must_use]
    pub fn tiles_alone(&self) -> KernelSpec {
        KernelSpec {
            coarse: Coarse::Off,
            ..self.clone()
        }
    }
}
