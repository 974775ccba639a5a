//! Nominal operation counts: what the matrix products of the map cost, a multiply and an add counted as two.

use himuon_templates::spec::SpecError;
use himuon_templates::{KernelSpec, StepTable};

/// Operations of the map's matrix products over a `rows` x `columns` matrix, ragged tiles at their own size.
///
/// For a tile with r = min and n = max of its sides, symmetric products counted in full:
/// an odd quintic step is X X^T (2 r^2 n), A^2 (2 r^3) and (bA + cA^2) X (2 r^2 n), that is 6 T^3 for a
/// square tile; a cubic step (c = 0) leaves A^2 out. The element-wise work is not counted.
///
/// # Errors
/// A specification whose recurrence, power and steps do not go together.
///
/// ```
/// use himuon::{KernelSpec, Tile, plan::operations};
/// let tiled = operations(&KernelSpec::new(Tile::square(128)), 768, 768)?;
/// assert_eq!(tiled, 36 * 5 * 6 * 128u64.pow(3));
/// assert_eq!(operations(&KernelSpec::new(Tile::Full), 768, 768)?, 6 * tiled);
/// # Ok::<(), himuon::templates::spec::SpecError>(())
/// ```
pub fn operations(spec: &KernelSpec, rows: usize, columns: usize) -> Result<u64, SpecError> {
    let table = spec.step_table()?;
    let (height, width) = spec.tile.effective(rows, columns);
    if height == 0 || width == 0 {
        return Ok(0);
    }
    let sizes = |length: usize, edge: usize| {
        let whole = (length / edge) as u64;
        let rest = length % edge;
        [(edge, whole), (rest, u64::from(rest > 0))]
    };
    let mut total = 0;
    for (tile_rows, down) in sizes(rows, height) {
        for (tile_columns, across) in sizes(columns, width) {
            if down * across > 0 {
                total += down * across * tile_operations(&table, tile_rows, tile_columns);
            }
        }
    }
    Ok(total)
}

fn tile_operations(table: &StepTable, rows: usize, columns: usize) -> u64 {
    let short = rows.min(columns) as u64;
    let long = rows.max(columns) as u64;
    let wide = 2 * short * short * long;
    let square = 2 * short * short * short;
    match table {
        StepTable::Odd(steps) | StepTable::Turbo(steps) => steps
            .iter()
            .map(|[_, _, c]| 2 * wide + if *c == 0.0 { 0 } else { square })
            .sum(),
        StepTable::Fitted(steps) => 2 * wide * steps.len() as u64,
        StepTable::Coupled { m, n, steps } => {
            let products = (1 + u64::from(*m) + u64::from(*n)) * steps.len() as u64;
            wide * products.saturating_sub(u64::from(*m))
        }
        StepTable::Authors { steps, .. } => 2 * wide * u64::from(*steps),
        StepTable::Identity => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use himuon_templates::{CoefficientSet, Recurrence, Tile};

    #[test]
    fn ragged_tiles_count_at_their_own_size() {
        let spec = KernelSpec::new(Tile::square(64));
        // 100 x 70: 64x64, 64x6, 36x64, 36x6.
        let step = |r: u64, n: u64| 4 * r * r * n + 2 * r * r * r;
        let expected = 5 * (step(64, 64) + step(6, 64) + step(36, 64) + step(6, 36));
        assert_eq!(operations(&spec, 100, 70), Ok(expected));
    }

    #[test]
    fn cubic_steps_have_two_products() {
        let mut spec = KernelSpec::new(Tile::square(32));
        spec.recurrence = Recurrence::NewtonSchulz(CoefficientSet::Cubic);
        assert_eq!(operations(&spec, 32, 32), Ok(5 * 4 * 32 * 32 * 32));
    }
}
