//! What every computation of a coarse part shares: thresholds, the seeded start, and the effective rank.

use himuon_templates::{Coarse, KernelSpec};

/// A column whose part outside the columns before it is at most this times the longest column has collapsed: it is
/// left out of the coarse part. Rounding in f32 leaves about 1e-6.
pub const COLLAPSE: f64 = 1e-5;

/// A tile of the remainder M - P P^T M whose RMS is at most this times the tile's own largest |m| is rounding: it
/// counts as zero, since the map would blow it up to full size.
pub const REMAINDER: f64 = 1e-5;

/// Columns shorter than this are zero.
pub const SMALLEST: f64 = 1e-30;

/// Power iterations of the bare map of a matrix, which has no basis from a step before.
pub const COLD_START_ITERATIONS: usize = 8;

/// The rank of the coarse part of a `rows` x `columns` matrix: 0 where the matrix is one tile, and never more than
/// its shorter side.
pub fn coarse_rank(spec: &KernelSpec, rows: usize, columns: usize) -> usize {
    let one_tile = spec.tile.effective(rows, columns) == (rows, columns);
    if spec.coarse == Coarse::Off || one_tile {
        return 0;
    }
    (spec.coarse.rank() as usize).min(rows.min(columns))
}

/// Element (`row`, `column`) of the start of every basis: uniform in [-1, 1), by the finaliser of splitmix64
/// (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014) of the position.
pub fn seed(row: usize, column: usize) -> f32 {
    let mut bits = (row as u64) << 32 | column as u64;
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use himuon_templates::{Fine, Tile};

    #[test]
    fn the_rank_fits_the_matrix() {
        let mut spec = KernelSpec::new(Tile::square(16));
        assert_eq!(coarse_rank(&spec, 64, 64), 0);
        spec.coarse = Coarse::Polar {
            rank: 32,
            fine: Fine::Projected,
        };
        assert_eq!(coarse_rank(&spec, 64, 64), 32);
        assert_eq!(coarse_rank(&spec, 20, 64), 20);
        assert_eq!(coarse_rank(&spec, 16, 12), 0);
    }

    #[test]
    fn seeds_fill_the_interval() {
        let seeds: Vec<f32> = (0..100)
            .flat_map(|row| (0..32).map(move |column| seed(row, column)))
            .collect();
        let mean = seeds.iter().sum::<f32>() / seeds.len() as f32;
        let largest = seeds
            .iter()
            .fold(0.0_f32, |largest, seed| largest.max(seed.abs()));
        // Five standard errors of the mean of 3200 uniform numbers.
        assert!(mean.abs() < 0.052, "{mean}");
        assert!((0.99..=1.0).contains(&largest), "{largest}");
    }
}
