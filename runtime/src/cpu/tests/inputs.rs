//! Seeded input.

/// Standard normal numbers (Box-Muller over a 64-bit linear congruential generator).
pub(super) struct Normal(u64);

impl Normal {
    pub(super) fn new(seed: u64) -> Self {
        Normal(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub(super) fn next(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform()).cos()) as f32
    }

    pub(super) fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// A rows x columns matrix of rank `rank` plus `noise` times Gaussian numbers.
pub(super) fn low_rank(
    seed: u64,
    rows: usize,
    columns: usize,
    rank: usize,
    noise: f32,
) -> Vec<f32> {
    let mut normal = Normal::new(seed);
    let (left, right) = (normal.numbers(rows * rank), normal.numbers(rank * columns));
    let mut matrix: Vec<f32> = normal.numbers(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let product: f32 = (0..rank)
                .map(|k| left[row * rank + k] * right[k * columns + column])
                .sum();
            let at = row * columns + column;
            matrix[at] = product + noise * matrix[at];
        }
    }
    matrix
}
