//! One optimizer step of one matrix.

use super::error::ReferenceError;
use super::matrix::Matrix;
use super::matrix_map::MappedMatrix;
use super::momentum::momentum_step;
use super::row_normalisation::normalise_rows;
use super::scale::{rms_factor, tile_scale};
use super::tile_map::{MappedTile, ReferenceMap};
use crate::launch::GroupScalars;

/// A weight matrix and its optimizer state, all H x W.
#[derive(Clone, Debug, PartialEq)]
pub struct StepState {
    /// W, changed by [`step`].
    pub weight: Matrix,
    /// The momentum buffer, changed by [`step`].
    pub momentum: Matrix,
    /// NorMuon's row second moment, changed by [`step`]; `None`: no row normalisation.
    pub row_moments: Option<RowMoments>,
}

/// NorMuon's state and settings.
#[derive(Clone, Debug, PartialEq)]
pub struct RowMoments {
    /// v, H numbers.
    pub values: Vec<f64>,
    /// b2.
    pub beta2: f64,
    /// eps.
    pub epsilon: f64,
}

/// One step: `buf <- mu buf + c g; m <- alpha g + beta buf; W <- (1 - lr wd) W - lr u`.
///
/// * p = 0: u is each mapped tile times its [`tile_scale`].
/// * 0 < p: u is v = f_t^p Y_t of all tiles with the RMS of the whole matrix set to `scale_factor`, whatever
///   the scale rule says (arXiv 2606.13867; one tile's RMS would lose the proportions between tiles).
/// * Row normalisation (p = 0: of the mapped tiles without scale; 0 < p: of v with RMS 1), then the RMS of
///   the whole matrix set to `scale_factor`.
/// * A tile whose gradient or momentum holds a NaN or an infinity keeps weight and momentum, decay
///   included; it counts in no norm and no mean.
/// * A tile that the criterion leaves as M ([`Otherwise::Momentum`](himuon_templates::Otherwise::Momentum)) is subtracted as it is, and counts in
///   no norm and no mean either.
///
/// Returns what became of the tiles.
///
/// # Errors
/// When the tensors are not of one shape; then nothing is changed.
pub fn step(
    map: &ReferenceMap,
    scalars: &GroupScalars,
    gradient: &Matrix,
    state: &mut StepState,
) -> Result<MappedMatrix, ReferenceError> {
    check_shapes(gradient, state)?;
    let (buffer, update) = momentum_step(scalars, &state.momentum, gradient);
    let mapped = map.mapped(&update, |bounds| {
        let finite = |matrix: &Matrix| matrix.cut(bounds).is_finite();
        !finite(gradient) || !finite(&state.momentum)
    });
    let power = map.spec().power.to_f64();
    let update = if power > 0.0 || state.row_moments.is_some() {
        whole_matrix_update(map, scalars, &mapped, state.row_moments.as_mut())
    } else {
        let (rows, columns) = state.weight.shape();
        mapped.assembled(|bounds, tile| {
            if map.leaves_momentum(tile) {
                1.0
            } else {
                tile_scale(scalars, map.spec().tile, rows, columns, bounds)
            }
        })
    };
    let rate = f64::from(scalars.learning_rate);
    let decay = 1.0 - rate * f64::from(scalars.weight_decay);
    for (bounds, _) in mapped.tiles.iter().filter(|(_, tile)| !tile.non_finite) {
        let weight = state.weight.cut(bounds);
        let new = weight.combined(decay, -rate, &update.cut(bounds));
        state.weight.paste(bounds, &new);
        state.momentum.paste(bounds, &buffer.cut(bounds));
    }
    Ok(mapped)
}

/// The update whose RMS over the whole matrix is `scale_factor`.
fn whole_matrix_update(
    map: &ReferenceMap,
    scalars: &GroupScalars,
    mapped: &MappedMatrix,
    row_moments: Option<&mut RowMoments>,
) -> Matrix {
    let power = map.spec().power.to_f64();
    let (rows, columns) = mapped.values.shape();
    let takes_part = |tile: &MappedTile| !tile.non_finite && !map.leaves_momentum(tile);
    let mut mask = Matrix::zeros(rows, columns);
    for (bounds, tile) in mapped.tiles.iter().filter(|(_, tile)| takes_part(tile)) {
        mask.paste(bounds, &tile.values.map(|_| 1.0));
    }
    let count = mask.values().iter().filter(|v| **v > 0.0).count();
    let mut update = if power > 0.0 {
        mapped.unscaled(power)
    } else {
        mapped.assembled(|_, tile| if takes_part(tile) { 1.0 } else { 0.0 })
    };
    if let Some(moments) = row_moments {
        if power > 0.0 {
            update = update.scaled(rms_factor(&update, 1.0, count));
        }
        update = normalise_rows(
            &update,
            &mut moments.values,
            moments.beta2,
            moments.epsilon,
            |row, column| mask.get(row, column) > 0.0,
        );
    }
    let target = f64::from(scalars.scale_factor);
    let mut update = update.scaled(rms_factor(&update, target, count));
    for (bounds, tile) in &mapped.tiles {
        if map.leaves_momentum(tile) {
            update.paste(bounds, &tile.values);
        }
    }
    update
}

fn check_shapes(gradient: &Matrix, state: &StepState) -> Result<(), ReferenceError> {
    let expected = state.weight.shape();
    let moments = state.row_moments.as_ref();
    let shapes = [
        ("the gradient", gradient.shape()),
        ("the momentum", state.momentum.shape()),
        (
            "the row second moment",
            (moments.map_or(expected.0, |m| m.values.len()), expected.1),
        ),
    ];
    for (what, found) in shapes {
        if found != expected {
            return Err(ReferenceError::Shape {
                what,
                found,
                expected,
            });
        }
    }
    Ok(())
}
