//! What the tiles of a matrix are, before any map.

use himuon_templates::{Measure, Tile};
use rayon::prelude::*;
use serde::Serialize;

use super::operator::Operator;
use super::options::CriterionTest;
use super::spectrum::{Spectrum, singular_values};
use crate::reference::{TileBounds, tiles};

/// Operations that are spent on the singular values of the tiles of one size.
const BUDGET: f64 = 4e9;
/// Most tiles of one size that are decomposed.
const MOST: usize = 4096;

/// Least, middle and greatest of a measure over the measured tiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The median.
    pub median: f64,
    /// The greatest.
    pub greatest: f64,
}

/// One of MiMuon's criteria over the tiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CriterionCount {
    /// Name of the measure, as specifications write it.
    pub measure: &'static str,
    /// tau.
    pub threshold: f64,
    /// Measured tiles below it: they would get the momentum itself.
    pub left_alone: usize,
}

/// Norm and conditioning of each tile, row by row from the top left.
#[derive(Clone, Debug, PartialEq)]
pub struct TileGrid {
    /// Tiles down.
    pub rows: usize,
    /// Tiles across.
    pub columns: usize,
    /// ||M||_F.
    pub norms: Vec<f64>,
    /// s_max/s_min; none where the tile was not measured, infinite where it is singular.
    pub conditions: Vec<Option<f64>>,
}

/// The tiles of one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TileStatistics {
    /// How many there are.
    pub tiles: usize,
    /// How many were decomposed, evenly spaced; all, unless that takes too long.
    pub measured: usize,
    /// Those of zeros alone.
    pub zero: usize,
    /// ||M||_F of all tiles.
    pub norms: Option<Spread>,
    /// s_max/s_min.
    pub conditions: Option<Spread>,
    /// 1/(r ||X X^T||_F^2).
    pub effective_ranks: Option<Spread>,
    /// ||X||_*^2 / r: the criterion's measure with the exact polar factor.
    pub nuclear_ranks: Option<Spread>,
    /// Smallest gap between singular values of X = M/||M||_F.
    pub min_gaps: Option<Spread>,
    /// How many tiles MiMuon's criteria would leave alone.
    pub criteria: Vec<CriterionCount>,
    /// Tile by tile.
    #[serde(skip)]
    pub grid: TileGrid,
}

/// What one tile is.
#[derive(Clone, Copy, Debug)]
struct Measured {
    norm: f64,
    condition: f64,
    effective_rank: f64,
    nuclear_rank: f64,
    min_gap: f64,
}

impl TileStatistics {
    /// Of all tiles; `whole` is the matrix's own spectrum, for a tile that is the matrix.
    pub(super) fn of(
        matrix: &Operator<'_>,
        tile: Tile,
        tests: &[CriterionTest],
        whole: Option<&Spectrum>,
    ) -> Self {
        let (rows, columns) = matrix.shape();
        let bounds = tiles(tile, rows, columns);
        let norms: Vec<f64> = bounds
            .par_iter()
            .map(|bounds| norm(matrix, bounds))
            .collect();
        let chosen = if bounds.len() == 1 && whole.is_none() {
            Vec::new()
        } else {
            sample(&bounds)
        };
        let measured: Vec<Measured> = chosen
            .par_iter()
            .map(|place| match whole {
                Some(spectrum) if bounds.len() == 1 => Measured::of(&spectrum.values),
                _ => {
                    let part = &bounds[*place];
                    Measured::of(&singular_values(
                        matrix.tile_rows(part),
                        part.rows,
                        part.columns,
                    ))
                }
            })
            .collect();
        let mut conditions = vec![None; bounds.len()];
        for (place, measured) in chosen.iter().zip(&measured) {
            conditions[*place] = Some(measured.condition);
        }
        let spread = |of: fn(&Measured) -> f64| Spread::of(measured.iter().map(of).collect());
        let across = columns.div_ceil(tile.effective(rows, columns).1.max(1));
        TileStatistics {
            tiles: bounds.len(),
            measured: measured.len(),
            zero: norms.iter().filter(|norm| **norm == 0.0).count(),
            conditions: spread(|tile| tile.condition),
            effective_ranks: spread(|tile| tile.effective_rank),
            nuclear_ranks: spread(|tile| tile.nuclear_rank),
            min_gaps: spread(|tile| tile.min_gap),
            criteria: tests.iter().map(|test| count(test, &measured)).collect(),
            norms: Spread::of(norms.clone()),
            grid: TileGrid {
                rows: bounds.len() / across.max(1),
                columns: across,
                norms,
                conditions,
            },
        }
    }
}

/// The places of the tiles that are decomposed: all, or as many as the budget allows, evenly spaced.
pub(super) fn sample(bounds: &[TileBounds]) -> Vec<usize> {
    let cost = bounds.first().map_or(1.0, |tile| {
        let (short, long) = (tile.rows.min(tile.columns), tile.rows.max(tile.columns));
        4.0 * (short * short * long) as f64
    });
    let affordable = ((BUDGET / cost) as usize).clamp(1, MOST).min(bounds.len());
    (0..affordable)
        .map(|place| place * bounds.len() / affordable)
        .collect()
}

fn norm(matrix: &Operator<'_>, bounds: &TileBounds) -> f64 {
    let squares = matrix
        .tile_rows(bounds)
        .flatten()
        .map(|value| f64::from(*value).powi(2));
    squares.sum::<f64>().sqrt()
}

impl Measured {
    /// From all singular values of a tile, largest first. A zero tile has rank 0 and no gap.
    fn of(values: &[f64]) -> Self {
        let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Measured {
                norm,
                condition: f64::INFINITY,
                effective_rank: 0.0,
                nuclear_rank: 0.0,
                min_gap: 0.0,
            };
        }
        let rank = values.len() as f64;
        let sum = |power: i32| -> f64 { values.iter().map(|s| (s / norm).powi(power)).sum() };
        let gaps = values.windows(2).map(|pair| (pair[0] - pair[1]) / norm);
        Measured {
            norm,
            condition: values[0] / values[values.len() - 1],
            effective_rank: 1.0 / (rank * sum(4)),
            nuclear_rank: sum(1).powi(2) / rank,
            min_gap: gaps.fold(f64::INFINITY, f64::min),
        }
    }
}

fn count(test: &CriterionTest, measured: &[Measured]) -> CriterionCount {
    let (name, of): (&'static str, fn(&Measured) -> f64) = match test.measure {
        Measure::FroNorm => ("fro_norm", |tile| tile.norm),
        Measure::EffectiveRank => ("effective_rank", |tile| tile.effective_rank),
        Measure::NuclearRank => ("nuclear_rank", |tile| tile.nuclear_rank),
        Measure::MinGap => ("min_gap", |tile| tile.min_gap),
    };
    CriterionCount {
        measure: name,
        threshold: test.threshold,
        left_alone: measured
            .iter()
            .filter(|tile| of(tile) < test.threshold)
            .count(),
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Spread {
            least: *values.first()?,
            median: values[values.len() / 2],
            greatest: *values.last()?,
        })
    }
}
