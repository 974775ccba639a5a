//! What tiling does to a matrix: its spectrum, how far each tile and power is from the map of the whole
//! matrix, and what each costs.
//!
//! HiMuon is a local map, not an approximation that converges to Muon: whether a tile size hurts depends on
//! the matrices. [`diagnose`] measures it on one of them (a momentum, a gradient or a weight).
//!
//! Up to [`DiagnosisOptions::dense_limit`] rows or columns (the smaller number counts) everything is computed
//! from all singular values and from the kernels' own map of the whole matrix. Above, both are sampled:
//! stochastic Lanczos quadrature (Ubaru, Chen, Saad, 2017) with a few random vectors gives the density of the
//! singular values, the whole matrix's map on those vectors, and so the cosine with its standard error, at a
//! cost linear in the number of elements. [`Method`] says which it was.
//!
//! Beside it: [`Curvature`] tells from gradients whether Muon's step beats gradient descent's, [`NoiseScale`] and
//! [`CriticalBatch`] how large a batch still pays.
//!
//! ```
//! use himuon::diagnose::{DiagnosisOptions, diagnose};
//! use himuon::Tile;
//!
//! // Four blocks that are all alike: what a tile sees is what the whole matrix holds, four times.
//! let values: Vec<f32> = (0..64).map(|i| if (i / 8) % 4 == i % 4 { 1.0 } else { 0.0 }).collect();
//! let options = DiagnosisOptions { tiles: vec![Tile::square(4), Tile::Full], ..Default::default() };
//! let found = diagnose(&values, 8, 8, &options)?;
//! assert!((found.spectrum.stable_rank - 4.0).abs() < 1e-6);
//! assert!((found.tiles[1].maps[0].cosine.value - 1.0).abs() < 1e-6);
//! println!("{}: {}", found.recommendation.tile, found.recommendation.reason);
//! # Ok::<(), himuon::diagnose::DiagnoseError>(())
//! ```

mod comparison;
mod convergence;
mod critical_batch;
mod error;
mod lanczos;
mod noise_scale;
mod operator;
mod options;
mod recommendation;
mod report;
mod sampled;
mod spectrum;
mod tile_statistics;

use std::time::Instant;

use himuon_templates::Tile;

pub use convergence::{Curvature, polar_factor};
pub use critical_batch::{BatchFitError, BatchRun, CriticalBatch, predicted_batch};
pub use error::DiagnoseError;
pub use noise_scale::NoiseScale;
pub use options::{CriterionTest, DiagnosisOptions};
pub use recommendation::Recommendation;
pub use report::{Estimate, MapDiagnosis, MatrixDiagnosis, Method, TileDiagnosis};
pub use spectrum::{Spectrum, Tail};
pub use tile_statistics::{CriterionCount, Spread, TileGrid, TileStatistics};

use crate::cpu::MOST_THREADS;
use comparison::Comparison;
use operator::Operator;
use sampled::Sample;

/// Measures a `rows` x `columns` matrix, row by row in `values`. Of tiles that cut it alike, such as all larger ones,
/// one is measured.
///
/// # Errors
/// An empty, wrongly sized, all-zero or non-finite matrix; tiles and powers that no kernel has; shares outside of [0, 1]; more
/// threads than a pool takes.
pub fn diagnose(
    values: &[f32],
    rows: usize,
    columns: usize,
    options: &DiagnosisOptions,
) -> Result<MatrixDiagnosis, DiagnoseError> {
    let started = Instant::now();
    check(values, rows, columns, options)?;
    let workers = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|error| DiagnoseError::Threads(error.to_string()))?;
    let matrix = Operator::new(values, rows, columns);
    let dense = matrix.short() <= options.dense_limit;
    let sample = (!dense).then(|| workers.install(|| Sample::new(&matrix, options.seed)));
    let spectrum = match &sample {
        Some(sample) => sample.spectrum(),
        None => Spectrum::exact(&matrix),
    };
    let whole = dense.then_some(&spectrum);
    let mut comparison = Comparison::new(matrix, sample.as_ref(), options, &workers)?;
    let distinct = distinct(&options.tiles, rows, columns);
    let mut tiles = Vec::with_capacity(distinct.len());
    for tile in &distinct {
        tiles.push(TileDiagnosis {
            tile: tile.to_string(),
            statistics: workers
                .install(|| TileStatistics::of(&matrix, *tile, &options.criteria, whole)),
            maps: Vec::with_capacity(options.powers.len()),
        });
    }
    for power in &options.powers {
        let maps = comparison.power(*power, &distinct)?;
        for (tile, map) in tiles.iter_mut().zip(maps) {
            tile.maps.push(map);
        }
    }
    let scratch_bytes = largest_scratch(&tiles, &distinct, (rows, columns), dense);
    let recommendation = recommendation::recommend(&tiles, &spectrum, options.cosine_floor);
    Ok(MatrixDiagnosis {
        rows,
        columns,
        norm: matrix.norm(),
        method: match &sample {
            Some(_) => Method::Sampled {
                vectors: sampled::VECTORS,
                steps: sampled::STEPS,
                limit: options.dense_limit,
            },
            None => Method::Exact,
        },
        coarse_rank: spectrum.rank_holding(options.coarse_share),
        spectrum,
        tiles,
        recommendation,
        seconds: started.elapsed().as_secs_f64(),
        memory_bytes: memory_bytes(rows, columns, dense) + scratch_bytes,
    })
}

/// ||M||_2 of a `rows` x `columns` matrix, row by row in `values`, from below: by Lanczos steps from a random start,
/// exact up to rounding for min(rows, columns) <= 32, within a per cent else. 0 for a zero matrix.
///
/// # Errors
/// An empty, wrongly sized or non-finite matrix.
pub fn spectral_norm(values: &[f32], rows: usize, columns: usize) -> Result<f64, DiagnoseError> {
    match check_matrix(values, rows, columns) {
        Err(DiagnoseError::Zero { .. }) => Ok(0.0),
        Err(error) => Err(error),
        Ok(()) => Ok(lanczos::spectral_norm(
            &Operator::new(values, rows, columns),
            0,
            32,
        )),
    }
}

fn check(
    values: &[f32],
    rows: usize,
    columns: usize,
    options: &DiagnosisOptions,
) -> Result<(), DiagnoseError> {
    if options.tiles.is_empty() || options.powers.is_empty() {
        return Err(DiagnoseError::NothingAsked);
    }
    for (option, found) in [
        ("cosine_floor", options.cosine_floor),
        ("coarse_share", options.coarse_share),
    ] {
        if !(0.0..=1.0).contains(&found) {
            return Err(DiagnoseError::Share { option, found });
        }
    }
    if options.threads > MOST_THREADS {
        return Err(DiagnoseError::Threads(format!(
            "found {}, expected at most {MOST_THREADS}",
            options.threads
        )));
    }
    check_matrix(values, rows, columns)
}

fn check_matrix(values: &[f32], rows: usize, columns: usize) -> Result<(), DiagnoseError> {
    if rows == 0 || columns == 0 {
        return Err(DiagnoseError::Empty { rows, columns });
    }
    if rows.checked_mul(columns) != Some(values.len()) {
        return Err(DiagnoseError::Length {
            rows,
            columns,
            found: values.len(),
        });
    }
    let non_finite = values.iter().filter(|value| !value.is_finite()).count();
    if non_finite > 0 {
        let first = values
            .iter()
            .position(|value| !value.is_finite())
            .unwrap_or(0);
        return Err(DiagnoseError::NonFinite {
            count: non_finite,
            row: first / columns,
            column: first % columns,
        });
    }
    if values.iter().all(|value| *value == 0.0) {
        return Err(DiagnoseError::Zero { rows, columns });
    }
    Ok(())
}

/// Tiles that cut the matrix alike are one; where one of them is `full` that names it.
fn distinct(tiles: &[Tile], rows: usize, columns: usize) -> Vec<Tile> {
    let mut distinct: Vec<Tile> = Vec::with_capacity(tiles.len());
    for tile in tiles {
        let alike = |kept: &Tile| kept.effective(rows, columns) == tile.effective(rows, columns);
        match distinct.iter().position(alike) {
            None => distinct.push(*tile),
            Some(place) if *tile == Tile::Full => distinct[place] = Tile::Full,
            Some(_) => {}
        }
    }
    distinct
}

/// Bytes of scratch memory of the kernels that were run: above the limit the whole matrix's is not.
fn largest_scratch(
    tiles: &[TileDiagnosis],
    distinct: &[Tile],
    (rows, columns): (usize, usize),
    dense: bool,
) -> u64 {
    let run = tiles
        .iter()
        .zip(distinct)
        .filter(|(_, tile)| dense || tile.effective(rows, columns) != (rows, columns));
    let maps = run.flat_map(|(found, _)| &found.maps);
    maps.map(|map| map.workspace_bytes).max().unwrap_or(0)
}

/// Bytes that the diagnosis holds at its peak beside the kernels' scratch memory.
fn memory_bytes(rows: usize, columns: usize, dense: bool) -> u64 {
    let (elements, short, long) = (rows * columns, rows.min(columns), rows.max(columns));
    let bytes = if dense {
        // The input, the whole map and the tiled one in f32; the matrix and its Gram matrix in f64.
        3 * 4 * elements + 8 * (elements + 2 * short * short)
    } else {
        let block = 8 * sampled::VECTORS;
        2 * 4 * elements + block * ((sampled::STEPS + 3) * short + (operator::PARTS + 1) * long)
    };
    bytes as u64
}
