//! The only source of chance in the trainer: ChaCha8 streams named by a seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Standard normal values, by the method of Box and Muller.
pub(crate) struct NormalGenerator {
    generator: ChaCha8Rng,
    spare: Option<f32>,
}

impl NormalGenerator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            generator: ChaCha8Rng::seed_from_u64(seed),
            spare: None,
        }
    }

    /// The next value.
    pub(crate) fn sample(&mut self) -> f32 {
        if let Some(value) = self.spare.take() {
            return value;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some((radius * sine) as f32);
        (radius * cosine) as f32
    }

    /// A value in (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.generator.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        let mut generator = NormalGenerator::new(7);
        let values: Vec<f64> = (0..200_000)
            .map(|_| f64::from(generator.sample()))
            .collect();
        let moment = |k: i32| values.iter().map(|v| v.powi(k)).sum::<f64>() / values.len() as f64;
        // Five standard errors of each estimate.
        assert!(moment(1).abs() < 0.012);
        assert!((moment(2) - 1.0).abs() < 0.016);
        assert!((moment(4) - 3.0).abs() < 0.11);
    }
}
