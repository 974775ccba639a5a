//! Medians and their intervals, without assumptions about the distribution: times have long tails.

/// Chance that an interval does not hold the median.
const RISK: f64 = 0.05;
/// The half of this number underflows; longer lists are cut to their newest values.
const MOST_VALUES: usize = 1000;

/// The middle value, the lower one of two; infinite for none.
pub(super) fn median(values: &[u64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    match sorted.len() {
        0 => f64::INFINITY,
        length => sorted[(length - 1) / 2] as f64,
    }
}

/// A median and the interval that holds it with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) middle: f64,
    pub(super) high: f64,
}

/// The median of `slower[i] / faster[i]`: values of one round stand side by side, so that what disturbs a round
/// disturbs both. Fewer than six rounds tell nothing: the interval is (0, infinity).
pub(super) fn ratio(slower: &[u64], faster: &[u64]) -> Interval {
    let rounds = slower.len().min(faster.len());
    let first = rounds.saturating_sub(MOST_VALUES);
    let pairs = slower[first..rounds].iter().zip(&faster[first..rounds]);
    let mut ratios: Vec<f64> = pairs
        .map(|(slow, fast)| *slow as f64 / (*fast).max(1) as f64)
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let count = ratios.len();
    if count == 0 {
        return Interval {
            low: 0.0,
            middle: 1.0,
            high: f64::INFINITY,
        };
    }
    let middle = 0.5 * (ratios[(count - 1) / 2] + ratios[count / 2]);
    match rank(count) {
        None => Interval {
            low: 0.0,
            middle,
            high: f64::INFINITY,
        },
        Some(rank) => Interval {
            low: ratios[rank],
            middle,
            high: ratios[count - 1 - rank],
        },
    }
}

/// The order statistics `rank` from either end hold the median with 95 % confidence: fewer than `rank + 1` of
/// `count` fair coins fall on one side with a chance of at most 2.5 %.
fn rank(count: usize) -> Option<usize> {
    let mut term = 0.5f64.powi(count as i32);
    let mut below = term;
    let mut rank = None;
    let mut index = 0;
    while below <= 0.5 * RISK && index < count {
        rank = Some(index);
        term *= (count - index) as f64 / (index + 1) as f64;
        index += 1;
        below += term;
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of the sign test: the two-sided 5 % points.
    #[test]
    fn ranks_are_those_of_the_sign_test() {
        for (count, expected) in [
            (5, None),
            (6, Some(0)),
            (8, Some(0)),
            (9, Some(1)),
            (12, Some(2)),
            (20, Some(5)),
            (25, Some(7)),
            (40, Some(13)),
        ] {
            assert_eq!(rank(count), expected, "{count}");
        }
    }

    #[test]
    fn ratios_are_paired() {
        // Twice as slow in every round, whatever the round.
        let fast: Vec<u64> = (1..=9).map(|round| round * round * 100).collect();
        let slow: Vec<u64> = fast.iter().map(|time| 2 * time).collect();
        let found = ratio(&slow, &fast);
        assert_eq!((found.low, found.middle, found.high), (2.0, 2.0, 2.0));
        let few = ratio(&slow[..5], &fast[..5]);
        assert_eq!((few.low, few.middle, few.high), (0.0, 2.0, f64::INFINITY));
        assert_eq!(median(&fast), 2500.0);
        assert_eq!(median(&[]), f64::INFINITY);
    }
}
