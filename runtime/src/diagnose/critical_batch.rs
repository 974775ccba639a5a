//! The critical batch size from measured runs (arXiv 2507.01598).

use serde::Serialize;

/// A run that reached its target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BatchRun {
    /// Samples of a step.
    pub batch: f64,
    /// Steps to the target.
    pub steps: f64,
}

/// Resamplings of the interval.
const RESAMPLES: usize = 2000;
/// Part of the resamplings inside the interval.
const CONFIDENCE: f64 = 0.9;
/// The normal distribution's 95 % point, an end of the interval.
const NORMAL_END: f64 = 1.644_854;

/// T(b) = A sqrt(b)/(sqrt(b) - B), fitted to measured runs: samples b T(b) are fewest at b* = 9 B^2/4.
///
/// It is advice: the theory behind the form is a lower bound, and a target other than the measured one has
/// another b*.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CriticalBatch {
    /// A: the steps that no batch goes below.
    pub steps_floor: f64,
    /// B.
    pub noise: f64,
    /// b*.
    pub batch: f64,
    /// 5 % and 95 % of b* over resampled runs: holds the true b* in about 90 % of experiments, whatever the number of
    /// runs, if their steps scatter in proportion.
    pub interval: (f64, f64),
    /// Part of the resamplings that have a b* at all; the others bend the wrong way.
    pub resamples_with_optimum: f64,
    /// Part of the variance of 1/T that the curve explains, weighted as the fit was.
    pub explained: f64,
    /// Whether b* lies between the smallest and the largest batch measured.
    pub inside_measured: bool,
    /// The measured batch whose runs needed the fewest samples, in the mean. At an end of the measured range no
    /// measurement shows that samples rise again beyond it, whatever the curve says.
    pub fewest_measured: f64,
    /// Whether measured batches lie on both sides of it.
    pub bracketed: bool,
    /// Runs that were fitted.
    pub runs: usize,
}

/// Why no curve fits.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchFitError {
    /// Too few batch sizes.
    #[error("{found} different batch sizes reached the target; at least 3 are needed")]
    FewBatches {
        /// How many did.
        found: usize,
    },
    /// A batch or a number of steps below 1 or not finite.
    #[error("batch {batch} with {steps} steps is no run: both must be finite and at least 1")]
    NoRun {
        /// The batch.
        batch: f64,
        /// The steps.
        steps: f64,
    },
    /// Larger batches do not need fewer steps.
    #[error(
        "steps do not fall with the batch as sqrt(b)/(sqrt(b) - B): the measured batches all lie far above the \
         critical one, or the runs are too noisy; measure smaller batches or more seeds"
    )]
    WrongBend,
}

impl CriticalBatch {
    /// Fits by least squares of 1/T = (1 - B/sqrt(b))/A with weights T^2, since runs scatter in proportion.
    ///
    /// # Errors
    /// [`BatchFitError`].
    pub fn fit(runs: &[BatchRun]) -> Result<Self, BatchFitError> {
        let usable = |value: f64| value.is_finite() && value >= 1.0;
        if let Some(run) = runs
            .iter()
            .find(|run| !usable(run.batch) || !usable(run.steps))
        {
            return Err(BatchFitError::NoRun {
                batch: run.batch,
                steps: run.steps,
            });
        }
        let mut batches: Vec<f64> = runs.iter().map(|run| run.batch).collect();
        batches.sort_by(f64::total_cmp);
        batches.dedup();
        if batches.len() < 3 {
            return Err(BatchFitError::FewBatches {
                found: batches.len(),
            });
        }
        let line = Line::through(runs).ok_or(BatchFitError::WrongBend)?;
        let (interval, resamples_with_optimum) = interval(runs, &line);
        let batch = line.critical();
        let last = batches.len() - 1;
        let fewest = fewest_samples(runs, &batches);
        Ok(CriticalBatch {
            steps_floor: 1.0 / line.intercept,
            noise: line.noise(),
            batch,
            interval,
            resamples_with_optimum,
            explained: line.explained(runs),
            inside_measured: batches[0] <= batch && batch <= batches[last],
            fewest_measured: batches[fewest],
            bracketed: (1..last).contains(&fewest),
            runs: runs.len(),
        })
    }

    /// T(b); infinite where b <= B^2.
    pub fn steps(&self, batch: f64) -> f64 {
        let root = batch.sqrt();
        if root > self.noise {
            self.steps_floor * root / (root - self.noise)
        } else {
            f64::INFINITY
        }
    }

    /// b T(b).
    pub fn samples(&self, batch: f64) -> f64 {
        batch * self.steps(batch)
    }
}

/// Place of the batch whose runs needed the fewest samples, in the mean.
fn fewest_samples(runs: &[BatchRun], batches: &[f64]) -> usize {
    let mean = |batch: f64| {
        let own = runs.iter().filter(|run| run.batch == batch);
        let (sum, count) = own.fold((0.0, 0.0), |(sum, count), run| {
            (sum + run.batch * run.steps, count + 1.0)
        });
        sum / count
    };
    let samples = batches.iter().map(|batch| mean(*batch)).enumerate();
    let fewest = samples.min_by(|a, b| a.1.total_cmp(&b.1));
    fewest.map_or(0, |(place, _)| place)
}

/// The first version of the theory: b* = ((2 beta + 1)(1 - beta) + wd) sigma^2/target, with sigma^2 the variance of
/// one sample's gradient and `target` the squared gradient norm to be reached.
pub fn predicted_batch(momentum: f64, weight_decay: f64, variance: f64, target: f64) -> f64 {
    ((2.0 * momentum + 1.0) * (1.0 - momentum) + weight_decay) * variance / target
}

/// 1/T = intercept - slope/sqrt(b).
#[derive(Clone, Copy, Debug)]
struct Line {
    intercept: f64,
    slope: f64,
}

impl Line {
    /// None unless both are positive.
    fn through(runs: &[BatchRun]) -> Option<Self> {
        let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for run in runs {
            let (x, y, weight) = (1.0 / run.batch.sqrt(), 1.0 / run.steps, run.steps.powi(2));
            w += weight;
            wx += weight * x;
            wy += weight * y;
            wxx += weight * x * x;
            wxy += weight * x * y;
        }
        let determinant = w * wxx - wx * wx;
        let slope = -(w * wxy - wx * wy) / determinant;
        let intercept = (wy + slope * wx) / w;
        (slope.is_finite() && slope > 0.0 && intercept > 0.0).then_some(Line { intercept, slope })
    }

    fn noise(&self) -> f64 {
        self.slope / self.intercept
    }

    fn critical(&self) -> f64 {
        2.25 * self.noise().powi(2)
    }

    fn at(&self, run: &BatchRun) -> f64 {
        self.intercept - self.slope / run.batch.sqrt()
    }

    fn explained(&self, runs: &[BatchRun]) -> f64 {
        let weight: f64 = runs.iter().map(|run| run.steps.powi(2)).sum();
        let mean = runs.iter().map(|run| run.steps).sum::<f64>() / weight;
        let part = |of: &dyn Fn(&BatchRun) -> f64| -> f64 {
            runs.iter()
                .map(|run| (run.steps * (1.0 / run.steps - of(run))).powi(2))
                .sum()
        };
        1.0 - part(&|run| self.at(run)) / part(&|_| mean)
    }
}

/// The factors by which runs scatter around the curve. The fit has taken two parameters out of the residuals, which are
/// therefore too small: they are centred and widened by sqrt(n/(n - 2)), and by Student's quantile over the normal one,
/// because their size is itself estimated from n - 2 of them.
fn scatter(runs: &[BatchRun], line: &Line) -> Vec<f64> {
    let residual = |run: &BatchRun| (run.steps * line.at(run)).max(f64::MIN_POSITIVE).ln();
    let count = runs.len() as f64;
    let mean = runs.iter().map(residual).sum::<f64>() / count;
    // Three batch sizes are at least three runs.
    let freedom = runs.len().saturating_sub(2).max(1);
    let wider = (count / freedom as f64).sqrt() * student_end(freedom) / NORMAL_END;
    let factor = |run| (wider * (residual(run) - mean)).exp();
    runs.iter().map(factor).collect()
}

/// The 95 % point of Student's distribution; from five degrees of freedom by Cornish and Fisher's series, within 0.01.
fn student_end(freedom: usize) -> f64 {
    let (z, n) = (NORMAL_END, freedom as f64);
    match freedom {
        0 | 1 => 6.313_752,
        2 => 2.919_986,
        3 => 2.353_363,
        4 => 2.131_847,
        _ => {
            z + (z.powi(3) + z) / (4.0 * n)
                + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n)
        }
    }
}

/// Resamples the scatter of the runs (it has one distribution under the weights of the fit).
fn interval(runs: &[BatchRun], line: &Line) -> ((f64, f64), f64) {
    let residuals = scatter(runs, line);
    let mut bits = 0x9e37_79b9_7f4a_7c15u64;
    let mut pick = || {
        // xorshift64* (Vigna, 2016); only the choice of residuals depends on it.
        bits ^= bits >> 12;
        bits ^= bits << 25;
        bits ^= bits >> 27;
        let high = bits.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        residuals[high as usize % residuals.len()]
    };
    let mut found = Vec::new();
    for _ in 0..RESAMPLES {
        let resampled: Vec<BatchRun> = runs
            .iter()
            .map(|run| BatchRun {
                batch: run.batch,
                steps: pick() / line.at(run),
            })
            .filter(|run| run.steps.is_finite() && run.steps > 0.0)
            .collect();
        found.extend(Line::through(&resampled).map(|line| line.critical()));
    }
    found.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = (part * (found.len().max(1) - 1) as f64).round() as usize;
        found.get(place).copied().unwrap_or(f64::NAN)
    };
    let outside = (1.0 - CONFIDENCE) / 2.0;
    (
        (at(outside), at(1.0 - outside)),
        found.len() as f64 / RESAMPLES as f64,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A = 100, B = 4: b* = 36.
    fn runs(scatter: &[f64]) -> Vec<BatchRun> {
        [20.0, 32.0, 64.0, 128.0, 256.0, 512.0]
            .iter()
            .flat_map(|batch: &f64| {
                let root = batch.sqrt();
                let steps = 100.0 * root / (root - 4.0);
                scatter.iter().map(move |factor| BatchRun {
                    batch: *batch,
                    steps: steps * factor,
                })
            })
            .collect()
    }

    #[test]
    fn a_curve_without_scatter_is_found_again() {
        let fit = CriticalBatch::fit(&runs(&[1.0])).unwrap();
        assert!(
            (fit.batch - 36.0).abs() < 1e-6 && (fit.steps_floor - 100.0).abs() < 1e-6,
            "{fit:?}"
        );
        assert!(fit.explained > 0.999_999 && fit.inside_measured);
        assert!(fit.bracketed && fit.fewest_measured == 32.0, "{fit:?}");
        assert!(fit.samples(36.0) < fit.samples(35.0) && fit.samples(36.0) < fit.samples(37.0));
        assert_eq!(fit.steps(16.0), f64::INFINITY);
    }

    #[test]
    fn fewest_samples_at_an_end_settle_nothing() {
        let measured = runs(&[1.0]);
        let above: Vec<_> = measured
            .into_iter()
            .filter(|run| run.batch >= 64.0)
            .collect();
        let fit = CriticalBatch::fit(&above).unwrap();
        assert!(!fit.bracketed && fit.fewest_measured == 64.0, "{fit:?}");
    }

    #[test]
    fn scatter_widens_the_interval_and_it_still_holds_the_truth() {
        let fit = CriticalBatch::fit(&runs(&[0.97, 1.0, 1.04])).unwrap();
        let (low, high) = fit.interval;
        assert!(low < 36.0 && 36.0 < high && high - low < 10.0, "{fit:?}");
        assert_eq!(fit.resamples_with_optimum, 1.0);
        let wide = CriticalBatch::fit(&runs(&[0.8, 1.0, 1.25]))
            .unwrap()
            .interval;
        assert!(wide.1 - wide.0 > high - low);
    }

    /// Experiments with 3 % of scatter, of which so many intervals must hold the b* that they were made with.
    #[test]
    fn nine_of_ten_intervals_hold_the_truth() {
        let mut gaussian = crate::tuning::Gaussian::new(7);
        for (seeds, batches) in [
            (1, &[32.0, 64.0, 128.0][..]),
            (1, &[20.0, 32.0, 64.0, 128.0, 256.0]),
            (3, &[20.0, 32.0, 64.0, 128.0, 256.0, 512.0]),
        ] {
            let exact = runs(&vec![1.0; seeds]);
            let chosen: Vec<BatchRun> = exact
                .into_iter()
                .filter(|run| batches.contains(&run.batch))
                .collect();
            let (mut held, mut fitted) = (0, 0);
            for _ in 0..300 {
                let noise = gaussian.vector(chosen.len());
                let measured: Vec<BatchRun> = chosen
                    .iter()
                    .zip(noise)
                    .map(|(run, noise)| BatchRun {
                        steps: run.steps * (0.03 * f64::from(noise)).exp(),
                        ..*run
                    })
                    .collect();
                let Ok(fit) = CriticalBatch::fit(&measured) else {
                    continue;
                };
                fitted += 1;
                held += usize::from(fit.interval.0 <= 36.0 && 36.0 <= fit.interval.1);
            }
            let part = f64::from(held as u32) / f64::from(fitted);
            assert!(
                fitted > 290 && (0.85..0.96).contains(&part),
                "{}: {part}",
                chosen.len()
            );
        }
    }

    #[test]
    fn students_ends_are_those_of_the_tables() {
        for (freedom, end) in [(1, 6.314), (4, 2.132), (5, 2.015), (10, 1.812), (28, 1.701)] {
            let found = student_end(freedom);
            assert!((found - end).abs() < 0.01, "{freedom}: {found}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let run = |batch, steps| BatchRun { batch, steps };
        let few = [run(1.0, 10.0), run(2.0, 8.0), run(2.0, 8.0)];
        assert_eq!(
            CriticalBatch::fit(&few),
            Err(BatchFitError::FewBatches { found: 2 })
        );
        let flat = [run(1.0, 10.0), run(4.0, 11.0), run(16.0, 12.0)];
        assert_eq!(CriticalBatch::fit(&flat), Err(BatchFitError::WrongBend));
        assert!(matches!(
            CriticalBatch::fit(&[run(f64::NAN, 1.0)]),
            Err(BatchFitError::NoRun { .. })
        ));
    }

    #[test]
    fn the_first_theory_grows_with_the_noise() {
        assert!((predicted_batch(0.95, 0.1, 100.0, 0.5) - (2.9 * 0.05 + 0.1) * 200.0).abs() < 1e-9);
    }
}
