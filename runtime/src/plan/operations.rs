//! Nominal operation counts: what the matrix products of the map cost, a multiply and an add counted as two.

use himuon_templates::spec::SpecError;
use himuon_templates::spec::coarse_map;
use himuon_templates::{Coarse, Fine, KernelSpec, StepTable};

use crate::coarse::coarse_rank;

/// Operations of the map's matrix products over a `rows` x `columns` matrix, ragged tiles at their own size.
///
/// For a tile with r = min and n = max of its sides, symmetric products counted in full:
/// an odd quintic step is X X^T (2 r^2 n), A^2 (2 r^3) and (bA + cA^2) X (2 r^2 n), that is 6 T^3 for a
/// square tile; a cubic step (c = 0) leaves A^2 out. The element-wise work is not counted. Exact below 2^53, and at most
/// `u64::MAX`.
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
        let whole = (length / edge) as f64;
        let rest = length % edge;
        [(edge, whole), (rest, if rest > 0 { 1.0 } else { 0.0 })]
    };
    // Of whatever size, and without overflow.
    let mut total = 0.0;
    for (tile_rows, down) in sizes(rows, height) {
        for (tile_columns, across) in sizes(columns, width) {
            if down * across > 0.0 {
                total += down * across * tile_operations(&table, tile_rows, tile_columns);
            }
        }
    }
    Ok(total as u64)
}

/// Operations of the coarse part over a `rows` x `columns` matrix at a refresh; 0 without one.
///
/// With r its rank and HW the elements: M V and M^T P are 4 HW r; what is captured is subtracted and the part added,
/// 4 HW r (fine part none: added alone, 2 HW r); a projected fine part takes 6 HW r more (two products with it, and one
/// more term of the sum). The r-column work is 8 (H + W) r^2 for both orthonormal factors, of which half is in f64, and
/// 4 H r^2 for the left factors, and an r x r map is 2 r^3 a product.
///
/// # Errors
/// As [`operations`].
pub fn coarse_operations(spec: &KernelSpec, rows: usize, columns: usize) -> Result<u64, SpecError> {
    let rank = coarse_rank(spec, rows, columns);
    let Coarse::Polar { fine, .. } = spec.coarse else {
        return Ok(0);
    };
    if rank == 0 {
        return Ok(0);
    }
    let full = rank == rows.min(columns);
    let passes = match fine {
        Fine::Nothing => 6.0,
        _ if full => 6.0,
        Fine::Fused => 8.0,
        Fine::Projected => 14.0,
    };
    let (rank, rows, columns) = (rank as f64, rows as f64, columns as f64);
    let skinny = 8.0 * (rows + columns) * rank * rank + 4.0 * rows * rank * rank;
    let small = 2.0 * rank * rank * rank * coarse_map(spec.power)?.products() as f64;
    Ok((passes * rows * columns * rank + skinny + small) as u64)
}

fn tile_operations(table: &StepTable, rows: usize, columns: usize) -> f64 {
    let short = rows.min(columns) as f64;
    let long = rows.max(columns) as f64;
    let wide = 2.0 * short * short * long;
    let square = 2.0 * short * short * short;
    match table {
        StepTable::Odd(steps) | StepTable::Turbo(steps) => steps
            .iter()
            .map(|[_, _, c]| 2.0 * wide + if *c == 0.0 { 0.0 } else { square })
            .sum(),
        StepTable::Fitted(steps) => 2.0 * wide * steps.len() as f64,
        StepTable::Coupled { m, n, steps } => {
            let products = (1.0 + f64::from(*m) + f64::from(*n)) * steps.len() as f64;
            wide * (products - f64::from(*m)).max(0.0)
        }
        StepTable::Authors { steps, .. } => 2.0 * wide * f64::from(*steps),
        StepTable::Identity => 0.0,
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

    /// What a matrix of the largest declared shapes would take is more than fits into 64 bits.
    #[test]
    fn counts_end_at_the_largest_number() {
        let spec = KernelSpec::new(Tile::Full);
        assert_eq!(operations(&spec, 1 << 26, 1 << 26), Ok(u64::MAX));
        assert_eq!(operations(&KernelSpec::new(Tile::square(64)), 0, 64), Ok(0));
    }

    #[test]
    fn the_coarse_part_counts_by_rank_and_form() {
        let of = |tile, rank, fine| {
            let spec = KernelSpec {
                coarse: Coarse::Polar { rank, fine },
                ..KernelSpec::new(Tile::square(tile))
            };
            coarse_operations(&spec, 384, 1536).unwrap()
        };
        let element = |operations: u64| operations as f64 / (384.0 * 1536.0);
        // 8 r and 14 r an element, and less than a tenth more for the r-column work.
        for (fine, passes) in [(Fine::Fused, 8.0), (Fine::Projected, 14.0)] {
            let found = element(of(32, 32, fine)) / 32.0;
            assert!((passes..1.2 * passes).contains(&found), "{fine:?}: {found}");
        }
        assert_eq!(of(2048, 32, Fine::Fused), 0);
    }

    #[test]
    fn cubic_steps_have_two_products() {
        let mut spec = KernelSpec::new(Tile::square(32));
        spec.recurrence = Recurrence::NewtonSchulz(CoefficientSet::Cubic);
        assert_eq!(operations(&spec, 32, 32), Ok(5 * 4 * 32 * 32 * 32));
    }
}
