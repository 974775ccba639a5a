//! The noise scale of gradients: how large a batch still helps (arXiv 1812.06162, arXiv 2507.01598).

/// Estimates tr(Sigma)/|G|^2 from the norms of gradients of two batch sizes b < B, such as micro-batches and
/// the gradient accumulated from them: |G|^2 = (B |G_B|^2 - b |G_b|^2)/(B - b),
/// tr(Sigma) = (|G_b|^2 - |G_B|^2)/(1/b - 1/B). The two are averaged over steps before they are divided, since
/// each alone is unbiased and their ratio is not.
///
/// ```
/// use himuon::diagnose::NoiseScale;
/// // |G|^2 = 1 and tr(Sigma) = 64 of one sample: expected squares 1 + 64/4 and 1 + 64/32.
/// let mut noise = NoiseScale::new(4.0, 32.0, 0.9).ok_or("two batch sizes")?;
/// noise.observe(17.0, 3.0);
/// assert_eq!(noise.value(), Some(64.0));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseScale {
    small: f64,
    large: f64,
    decay: f64,
    /// Moving averages, and the weight that they have gathered.
    squared_gradient: f64,
    trace: f64,
    weight: f64,
}

impl NoiseScale {
    /// Of batches of `small` and `large` samples; `decay` in [0, 1) of the moving averages. None unless
    /// 0 < small < large.
    pub fn new(small: f64, large: f64, decay: f64) -> Option<Self> {
        (small > 0.0 && small < large && (0.0..1.0).contains(&decay)).then_some(NoiseScale {
            small,
            large,
            decay,
            squared_gradient: 0.0,
            trace: 0.0,
            weight: 0.0,
        })
    }

    /// One step: the mean of |G_b|^2 over its micro-batches, and |G_B|^2 of their mean. Other than finite
    /// numbers are passed over.
    pub fn observe(&mut self, small_norm_squared: f64, large_norm_squared: f64) {
        let (b, large) = (self.small, self.large);
        let squared = (large * large_norm_squared - b * small_norm_squared) / (large - b);
        let trace = (small_norm_squared - large_norm_squared) / (1.0 / b - 1.0 / large);
        if !squared.is_finite() || !trace.is_finite() {
            return;
        }
        let average = |old: f64, new: f64| self.decay * old + (1.0 - self.decay) * new;
        let (squared, trace) = (
            average(self.squared_gradient, squared),
            average(self.trace, trace),
        );
        let weight = average(self.weight, 1.0);
        (self.squared_gradient, self.trace, self.weight) = (squared, trace, weight);
    }

    /// |G|^2 of the true gradient; none before the first step. May come out negative where noise drowns it.
    pub fn squared_gradient(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.squared_gradient / self.weight)
    }

    /// tr(Sigma) of one sample's gradient.
    pub fn trace(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.trace / self.weight)
    }

    /// tr(Sigma)/|G|^2 in samples: below it a larger batch takes nearly proportionally fewer steps. None before
    /// the first step, and while the averages say nothing (either is not positive).
    pub fn value(&self) -> Option<f64> {
        let (squared, trace) = (self.squared_gradient()?, self.trace()?);
        (squared > 0.0 && trace > 0.0).then_some(trace / squared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_averages_are_divided_not_the_ratios_averaged() {
        let mut noise = NoiseScale::new(1.0, 2.0, 0.5).unwrap();
        noise.observe(3.0, 2.0);
        noise.observe(5.0, 2.0);
        // |G|^2: 1, then -1, weighted 1 : 2; tr: 2, then 6.
        assert!((noise.squared_gradient().unwrap() + 1.0 / 3.0).abs() < 1e-12);
        assert!((noise.trace().unwrap() - 14.0 / 3.0).abs() < 1e-12);
        assert_eq!(noise.value(), None);
        let before = noise;
        noise.observe(f64::NAN, 1.0);
        assert_eq!(noise, before);
    }

    #[test]
    fn batches_must_differ() {
        assert_eq!(NoiseScale::new(4.0, 4.0, 0.9), None);
        assert_eq!(NoiseScale::new(0.0, 4.0, 0.9), None);
        assert_eq!(NoiseScale::new(1.0, 4.0, 1.0), None);
    }
}
