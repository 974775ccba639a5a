//! The map of every tile of a matrix.

use super::matrix::Matrix;
use super::scale::{exact_scale, rms_factor};
use super::tile_map::{MappedTile, ReferenceMap};
use super::tiling::{TileBounds, tiles};

/// A matrix whose tiles have been mapped.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedMatrix {
    /// The mapped tiles put back together; non-finite ones are zero.
    pub values: Matrix,
    /// Each tile, row by row from the top left.
    pub tiles: Vec<(TileBounds, MappedTile)>,
}

impl MappedMatrix {
    /// How many tiles held a NaN or an infinity.
    pub fn non_finite_tiles(&self) -> usize {
        self.tiles.iter().filter(|(_, t)| t.non_finite).count()
    }

    /// How many finite tiles the criterion left unorthogonalised.
    pub fn unorthogonalised_tiles(&self) -> usize {
        let kept = |tile: &MappedTile| !tile.non_finite && !tile.orthogonalised;
        self.tiles.iter().filter(|(_, t)| kept(t)).count()
    }

    /// Every tile multiplied by `factor` of it, put back together.
    pub(crate) fn assembled(&self, factor: impl Fn(&TileBounds, &MappedTile) -> f64) -> Matrix {
        let mut whole = Matrix::zeros(self.values.rows(), self.values.columns());
        for (bounds, tile) in &self.tiles {
            whole.paste(bounds, &tile.values.scaled(factor(bounds, tile)));
        }
        whole
    }

    /// v_t = (f_t / max f_t)^p Y_t: the map of the unscaled tiles up to one factor for the whole matrix,
    /// which cancels in the normalisation; the maximum only guards against overflow.
    pub(crate) fn unscaled(&self, power: f64) -> Matrix {
        let largest = self.tiles.iter().map(|(_, t)| t.norm).fold(0.0, f64::max);
        self.assembled(|_, tile| {
            if largest > 0.0 {
                (tile.norm / largest).powf(power)
            } else {
                0.0
            }
        })
    }
}

/// How mapped tiles are scaled when no optimizer step surrounds them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Normalisation {
    /// The bare map of X = tile/||tile||_F.
    None,
    /// Each tile times `factor * sqrt(max(h, w))`.
    Tile {
        /// 0.2 in arXiv 2606.27216.
        factor: f64,
    },
    /// Each tile times f_t^p, then the RMS of the whole matrix set to `factor` (arXiv 2606.13867).
    Rms {
        /// 0.2.
        factor: f64,
    },
}

impl ReferenceMap {
    /// The bare map of every tile.
    pub fn matrix(&self, matrix: &Matrix) -> MappedMatrix {
        self.mapped(matrix, |_| false)
    }

    /// Whether the criterion left a tile as M itself, which nothing scales.
    pub(crate) fn leaves_momentum(&self, tile: &MappedTile) -> bool {
        self.spec().criterion.leaves_momentum() && !tile.orthogonalised && !tile.non_finite
    }

    /// The map of every tile, scaled, but for those that the criterion leaves as they are.
    pub fn apply(&self, matrix: &Matrix, normalisation: Normalisation) -> Matrix {
        let mapped = self.matrix(matrix);
        match normalisation {
            Normalisation::None => mapped.values,
            Normalisation::Tile { factor } => {
                mapped.assembled(|bounds, tile| match self.leaves_momentum(tile) {
                    true => 1.0,
                    false => factor * exact_scale(bounds),
                })
            }
            Normalisation::Rms { factor } => self.whole(&mapped, factor),
        }
    }

    /// The tiles times f_t^p with one RMS over all that are scaled.
    fn whole(&self, mapped: &MappedMatrix, factor: f64) -> Matrix {
        let left = |tile: &MappedTile| self.leaves_momentum(tile);
        let mut update = mapped.unscaled(self.spec().power.to_f64());
        for (bounds, tile) in mapped.tiles.iter().filter(|(_, tile)| left(tile)) {
            update.paste(bounds, &tile.values.map(|_| 0.0));
        }
        let scaled = mapped
            .tiles
            .iter()
            .filter(|(_, tile)| !tile.non_finite && !left(tile));
        let count = scaled.map(|(bounds, _)| bounds.rows * bounds.columns).sum();
        let mut update = update.scaled(rms_factor(&update, factor, count));
        for (bounds, tile) in mapped.tiles.iter().filter(|(_, tile)| left(tile)) {
            update.paste(bounds, &tile.values);
        }
        update
    }

    /// The map of every tile; those for which `skip` holds count as non-finite.
    pub(crate) fn mapped(
        &self,
        matrix: &Matrix,
        skip: impl Fn(&TileBounds) -> bool,
    ) -> MappedMatrix {
        let all = tiles(self.spec().tile, matrix.rows(), matrix.columns());
        let cut = |bounds: &TileBounds| {
            let tile = matrix.cut(bounds);
            if skip(bounds) {
                tile.map(|_| f64::NAN)
            } else {
                tile
            }
        };
        let mut usable = Matrix::zeros(matrix.rows(), matrix.columns());
        for bounds in &all {
            let tile = cut(bounds);
            if tile.is_finite() {
                usable.paste(bounds, &tile);
            }
        }
        let matrix_holds = self.matrix_holds(&usable);
        let mut mapped = MappedMatrix {
            values: Matrix::zeros(matrix.rows(), matrix.columns()),
            tiles: Vec::with_capacity(all.len()),
        };
        for bounds in all {
            let tile = self.tile(&cut(&bounds), matrix_holds);
            mapped.values.paste(&bounds, &tile.values);
            mapped.tiles.push((bounds, tile));
        }
        mapped
    }
}
