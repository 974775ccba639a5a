//! The update of both levels, and one optimizer step with it.

use super::{CoarsePart, coarse_part, outside, seeded_basis};
use crate::coarse::{COLD_START_ITERATIONS, REMAINDER, coarse_rank};
use crate::launch::GroupScalars;
use crate::reference::error::ReferenceError;
use crate::reference::matrix::Matrix;
use crate::reference::matrix_map::MappedMatrix;
use crate::reference::momentum::momentum_step;
use crate::reference::row_normalisation::normalise_rows;
use crate::reference::scale::{exact_scale, rms_factor, tile_scale};
use crate::reference::step::{StepState, step};
use crate::reference::tile_map::{MappedTile, ReferenceMap};
use crate::reference::tiling::{TileBounds, tiles};
use himuon_templates::{Coarse, Fine, Tile};

/// The update of a matrix by both levels.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoLevels {
    /// The sum of both parts, scaled (for p > 0 up to one factor for the whole matrix).
    pub update: Matrix,
    /// The coarse part.
    pub coarse: CoarsePart,
    /// The mapped tiles of the remainder.
    pub fine: MappedMatrix,
    /// Whether the coarse part is all there is: as specified, or because nothing is left at full rank.
    pub alone: bool,
}

/// What the parts are multiplied with at p = 0.
#[derive(Clone, Copy, Debug)]
enum Scale<'a> {
    /// As the group's rule says; the coarse part as a tile that is the whole matrix.
    Group(&'a GroupScalars),
    /// The coarse part by `factor * sqrt(max(H, W))`, each tile by `factor * sqrt(max(h, w))`.
    Exact(f64),
}

impl ReferenceMap {
    /// Both levels of a matrix. `None` where there is no coarse part: the specification has none, the matrix is one
    /// tile or not finite, or nothing is captured.
    ///
    /// * p = 0: `k scale_c P polar(R^T) V'^T + F`, k the factor of the coarse part (1 where it is alone), F the scaled tiles of the remainder E = M - captured, taken out of
    ///   the two spans if the specification says projected.
    /// * 0 < p < 1: with s = ||R||_F, `max(H, W)^((1-p)/2) P (R^T/s)^(p) V'^T` and tiles
    ///   `max(Th, Tw)^((1-p)/2) (f_t/s)^p Y_t`. An N x N matrix of independent entries has singular values of about
    ///   sqrt(N), so that both parts have the RMS they would have at one size; for p = 0 these are the factors
    ///   above, and for p = 1 the sum would be M again.
    fn both(
        &self,
        matrix: &Matrix,
        basis: &Matrix,
        refresh: bool,
        scale: Scale<'_>,
    ) -> Option<TwoLevels> {
        let spec = self.spec();
        let (rows, columns) = matrix.shape();
        let Coarse::Polar { fine, .. } = spec.coarse else {
            return None;
        };
        if coarse_rank(spec, rows, columns) == 0 {
            return None;
        }
        let p = spec.power.to_f64();
        let coarse = coarse_part(matrix, basis, p, refresh)?;
        let whole = TileBounds {
            row: 0,
            column: 0,
            rows,
            columns,
        };
        let strength = coarse.strength;
        let factor = |tile: Tile, bounds: &TileBounds| match scale {
            Scale::Group(scalars) => tile_scale(scalars, tile, rows, columns, bounds),
            Scale::Exact(factor) => factor * exact_scale(bounds),
        };
        let root = |(rows, columns): (usize, usize)| (rows.max(columns) as f64).powf(0.5 - 0.5 * p);
        let coarse_factor = if p > 0.0 {
            root((rows, columns)) / strength.powf(p)
        } else {
            factor(Tile::Full, &whole)
        };
        let tile_factor = |bounds: &TileBounds, mapped: &MappedTile| {
            if p > 0.0 {
                root(spec.tile.effective(rows, columns)) * (mapped.norm / strength).powf(p)
            } else {
                factor(spec.tile, bounds)
            }
        };
        let full = coarse_rank(spec, rows, columns) == rows.min(columns);
        let alone = full || fine == Fine::Nothing;
        let beside = match scale {
            Scale::Group(scalars) if !alone => f64::from(scalars.coarse_factor),
            _ => 1.0,
        };
        let remainder = if alone {
            Matrix::zeros(rows, columns)
        } else {
            remainder(matrix, &coarse.captured, spec.tile)
        };
        let mapped = self.matrix(&remainder);
        let mut tiled = mapped.assembled(tile_factor);
        if fine == Fine::Projected {
            tiled = outside(&tiled, &coarse.left, &coarse.right);
        }
        Some(TwoLevels {
            update: tiled.combined(1.0, beside * coarse_factor, &coarse.values),
            coarse,
            fine: mapped,
            alone,
        })
    }

    /// Both levels from a seeded basis after [`COLD_START_ITERATIONS`] power iterations, the last of them in the map
    /// itself; the coarse part has the factor `factor sqrt(max(H, W))` and each tile `factor sqrt(max(h, w))`
    /// (0 < p < 1: the RMS of the whole is `factor`). `None` where there is no coarse part.
    pub fn two_levels_cold(&self, matrix: &Matrix, factor: f64) -> Option<TwoLevels> {
        let rank = coarse_rank(self.spec(), matrix.rows(), matrix.columns());
        let mut basis = seeded_basis(matrix.columns(), rank);
        let mut both = None;
        for _ in 0..COLD_START_ITERATIONS {
            let next = self.both(matrix, &basis, true, Scale::Exact(factor))?;
            basis = next.coarse.basis.clone();
            both = Some(next);
        }
        let mut both = both?;
        if self.spec().power.to_f64() > 0.0 {
            let count = matrix.rows() * matrix.columns();
            both.update = both.update.scaled(rms_factor(&both.update, factor, count));
        }
        Some(both)
    }
}

/// M - captured, with zero for every tile that is only rounding (see [`REMAINDER`]).
fn remainder(matrix: &Matrix, captured: &Matrix, tile: Tile) -> Matrix {
    let mut rest = matrix.combined(1.0, -1.0, captured);
    for bounds in tiles(tile, matrix.rows(), matrix.columns()) {
        let (own, left) = (matrix.cut(&bounds), rest.cut(&bounds));
        let largest = own
            .values()
            .iter()
            .fold(0.0_f64, |largest, m| largest.max(m.abs()));
        let area = (bounds.rows * bounds.columns) as f64;
        if left.norm() <= REMAINDER * largest * area.sqrt() {
            rest.paste(&bounds, &left.scaled(0.0));
        }
    }
    rest
}

/// One optimizer step with a coarse part; `basis` is changed by a refresh. `None` beside the changed state: the matrix
/// took the step of its tiles alone (see [`step`]), because it is one tile, holds a NaN or an infinity, or nothing was
/// captured; its basis is kept.
///
/// Momentum, decay, normalisation of rows and of the whole are those of [`step`]; rows are normalised on the sum.
///
/// # Errors
/// When the tensors are not of one shape; then nothing is changed.
pub fn two_level_step(
    map: &ReferenceMap,
    scalars: &GroupScalars,
    gradient: &Matrix,
    state: &mut StepState,
    basis: &mut Matrix,
    refresh: bool,
) -> Result<Option<TwoLevels>, ReferenceError> {
    let finite = gradient.is_finite() && state.momentum.is_finite();
    let (buffer, momentum) = momentum_step(scalars, &state.momentum, gradient);
    let both = if finite && gradient.shape() == state.weight.shape() {
        map.both(&momentum, basis, refresh, Scale::Group(scalars))
    } else {
        None
    };
    let Some(both) = both else {
        let alone = himuon_templates::KernelSpec {
            coarse: Coarse::Off,
            ..map.spec().clone()
        };
        step(&ReferenceMap::new(&alone)?, scalars, gradient, state)?;
        return Ok(None);
    };
    let count = momentum.rows() * momentum.columns();
    let mut update = both.update.clone();
    let p = map.spec().power.to_f64();
    if p > 0.0 {
        update = update.scaled(rms_factor(&update, 1.0, count));
    }
    if let Some(moments) = &mut state.row_moments {
        let (beta2, epsilon) = (moments.beta2, moments.epsilon);
        update = normalise_rows(&update, &mut moments.values, beta2, epsilon, |_, _| true);
    }
    if p > 0.0 || state.row_moments.is_some() {
        update = update.scaled(rms_factor(&update, f64::from(scalars.scale_factor), count));
    }
    let rate = f64::from(scalars.learning_rate);
    let decay = 1.0 - rate * f64::from(scalars.weight_decay);
    state.weight = state.weight.combined(decay, -rate, &update);
    state.momentum = if both.alone {
        buffer
    } else {
        buffer.combined(
            1.0,
            -f64::from(scalars.captured_decay),
            &both.coarse.captured,
        )
    };
    *basis = both.coarse.basis.clone();
    Ok(Some(both))
}
