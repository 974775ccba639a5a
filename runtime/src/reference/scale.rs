//! The scale of a mapped tile.

use super::matrix::Matrix;
use super::tiling::TileBounds;
use crate::launch::{GroupScalars, ScaleRule};
use himuon_templates::Tile;

/// sqrt(max(h, w)): the reciprocal of the RMS of an h x w orthogonal factor.
pub(crate) fn exact_scale(bounds: &TileBounds) -> f64 {
    root_of_larger(bounds.rows, bounds.columns)
}

/// What `update` is multiplied by so that its RMS over `count` elements is `target`; 0 for a zero update.
pub(crate) fn rms_factor(update: &Matrix, target: f64, count: usize) -> f64 {
    let norm = update.norm();
    if norm > 0.0 {
        target * (count as f64).sqrt() / norm
    } else {
        0.0
    }
}

fn root_of_larger(a: usize, b: usize) -> f64 {
    (a.max(b) as f64).sqrt()
}

/// What a mapped tile is multiplied by at p = 0, before the learning rate.
///
/// A T x T orthogonal factor has RMS 1/sqrt(T), an h x w one 1/sqrt(max(h, w)); `Exact` therefore gives
/// every tile the RMS `scale_factor` (0.2 in arXiv 2606.27216), `Paper` only the whole ones. A tile that
/// covers the matrix in both dimensions is the matrix.
pub fn tile_scale(
    scalars: &GroupScalars,
    tile: Tile,
    rows: usize,
    columns: usize,
    bounds: &TileBounds,
) -> f64 {
    let factor = f64::from(scalars.scale_factor);
    match scalars.scale {
        ScaleRule::Exact => factor * exact_scale(bounds),
        ScaleRule::Paper => {
            let (height, width) = match tile {
                Tile::Sized {
                    rows: height,
                    columns: width,
                } if (height as usize) < rows || (width as usize) < columns => {
                    (height as usize, width as usize)
                }
                _ => (rows, columns),
            };
            factor * root_of_larger(height, width)
        }
        ScaleRule::Original => (rows as f64 / columns as f64).max(1.0).sqrt(),
        ScaleRule::MatchRmsAdamW => factor * root_of_larger(rows, columns),
        ScaleRule::None => 1.0,
    }
}
