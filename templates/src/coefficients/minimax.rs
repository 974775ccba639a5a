//! Polar Express for any number of steps and any lower bound (arXiv 2505.16932, without its cushion).
//!
//! Step by step, the odd quintic that is closest to 1 on the current interval `[l, u]` in the maximum
//! norm, by Remez exchange; it maps the interval to `[1 - E, 1 + E]`, which is where the next step starts.
//! That greedy composition is the best one of its kind, so every K has a list of its own.
//!
//! Outside its interval such a polynomial grows like the fifth power at each step, and rounding does push
//! singular values outside. The published list divides by a safety factor afterwards; here the margin is
//! part of the design interval, which costs less accuracy: the first interval ends at [`FIRST_UPPER`], and
//! each later one is longer than the image `[1 - E, 1 + E]` before it by the factor 1 + E * [`MARGIN`] (the
//! polynomial flattens as E falls, and needs no room where it is flat).

/// Upper end of the first design interval: the Frobenius norm bounds the singular values by 1, and
/// custom lists are held to the same 1 % of room.
const FIRST_UPPER: f64 = 1.01;

/// Room above the image of the step before: more than half a unit of bf16 (2^-8 = 0.0039) at every step.
const MARGIN: f64 = 0.006;

/// Exchanges converge in about ten rounds; beyond this the interval is degenerate.
const EXCHANGES: usize = 100;

/// The list for `steps` steps on singular values in `[lower, 1]`, 0 < lower < 1.
pub(super) fn minimax(lower: f64, steps: usize) -> Vec<[f64; 3]> {
    let mut interval = (lower, FIRST_UPPER);
    let mut list = Vec::with_capacity(steps);
    for _ in 0..steps {
        let step = closest_to_one(interval.0, interval.1);
        let image = odd_quintic(step, interval.0);
        list.push(step);
        let error = 1.0 - image;
        interval = (image, (1.0 + error) * (1.0 + error * MARGIN));
    }
    list
}

fn odd_quintic([a, b, c]: [f64; 3], x: f64) -> f64 {
    x * (a + x * x * (b + x * x * c))
}

/// The odd quintic p that minimises max |1 - p(x)| over `[lower, upper]`.
///
/// The optimum takes its largest error four times with alternating sign: at both ends, and at the two
/// interior extrema, which the exchange finds. As `lower` tends to `upper` the limit is the classical
/// quintic, and the linear system becomes singular, so that case is answered directly.
fn closest_to_one(lower: f64, upper: f64) -> [f64; 3] {
    if lower / upper > 1.0 - 5e-6 {
        return [1.875 / upper, -1.25 / upper.powi(3), 0.375 / upper.powi(5)];
    }
    // Exact as lower -> upper.
    let mut interior = ((3.0 * lower + upper) / 4.0, (lower + 3.0 * upper) / 4.0);
    let mut error = f64::INFINITY;
    let mut step = [0.0; 3];
    for _ in 0..EXCHANGES {
        let row = |x: f64, sign: f64| [x, x.powi(3), x.powi(5), sign, 1.0];
        let [a, b, c, levelled] = solve([
            row(lower, 1.0),
            row(interior.0, -1.0),
            row(interior.1, 1.0),
            row(upper, -1.0),
        ]);
        step = [a, b, c];
        if (levelled - error).abs() <= 1e-15 {
            break;
        }
        error = levelled;
        let root = (9.0 * b * b - 20.0 * a * c).sqrt();
        interior = (
            ((-3.0 * b - root) / (10.0 * c)).sqrt(),
            ((-3.0 * b + root) / (10.0 * c)).sqrt(),
        );
    }
    step
}

/// Solves a 4 x 4 system (last column: right-hand side) by elimination with partial pivoting.
fn solve(mut rows: [[f64; 5]; 4]) -> [f64; 4] {
    for column in 0..4 {
        let mut pivot = column;
        for candidate in column + 1..4 {
            if rows[candidate][column].abs() > rows[pivot][column].abs() {
                pivot = candidate;
            }
        }
        rows.swap(column, pivot);
        let leading = rows[column];
        for row in &mut rows[column + 1..] {
            let factor = row[column] / leading[column];
            for (value, above) in row.iter_mut().zip(leading) {
                *value -= factor * above;
            }
        }
    }
    let mut solution = [0.0; 4];
    for column in (0..4).rev() {
        let known: f64 = (column + 1..4)
            .map(|later| rows[column][later] * solution[later])
            .sum();
        solution[column] = (rows[column][4] - known) / rows[column][column];
    }
    solution
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(list: &[[f64; 3]], lower: f64) -> f64 {
        (0..=200_000)
            .map(|i| lower.powf(1.0 - f64::from(i) / 200_000.0))
            .map(|x| (1.0 - list.iter().fold(x, |x, step| odd_quintic(*step, x))).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn one_step_alternates_between_four_extrema() {
        let step = closest_to_one(1e-3, 1.0);
        let error = |x: f64| 1.0 - odd_quintic(step, x);
        let level = error(1e-3);
        let dense = (0..=100_000).map(|i| error(1e-3 + 0.999 * f64::from(i) / 100_000.0));
        let (mut signs, mut last) = (0, 0.0);
        for value in dense {
            assert!(value.abs() <= level * (1.0 + 1e-9));
            if value.abs() > level * (1.0 - 1e-6) && value.signum() != last {
                signs += 1;
                last = value.signum();
            }
        }
        assert_eq!(signs, 4);
    }

    #[test]
    fn no_worse_than_the_published_list_without_safety() {
        use super::super::published::{POLAR_EXPRESS, QUINTIC};
        for steps in 5..=8 {
            let published: Vec<_> = POLAR_EXPRESS
                .into_iter()
                .chain([QUINTIC])
                .take(steps)
                .collect();
            let (ours, theirs) = (worst(&minimax(1e-3, steps), 1e-3), worst(&published, 1e-3));
            // From K = 7 on both are at f64's own rounding.
            assert!(
                ours <= theirs.max(1e-14),
                "K={steps}: {ours:e} > {theirs:e}"
            );
        }
    }

    #[test]
    fn stays_bounded_when_rounding_pushes_values_out() {
        for lower in [1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 0.9] {
            for steps in 1..=10 {
                let list = minimax(lower, steps);
                for i in 1..=20_000 {
                    let x = FIRST_UPPER * f64::from(i) / 20_000.0;
                    let exact = list.iter().fold(x, |x, step| odd_quintic(*step, x));
                    assert!(exact.abs() <= 2.0, "{lower} {steps} {x}: {exact}");
                    // Measured: 2.004 with every step 1/512 too large.
                    let pushed = list
                        .iter()
                        .fold(x, |x, step| odd_quintic(*step, x) * (1.0 + 1.0 / 512.0));
                    assert!(pushed.abs() <= 2.01, "{lower} {steps} {x}: {pushed}");
                }
            }
        }
    }

    #[test]
    fn more_steps_are_better() {
        for lower in [1e-5, 1e-3, 0.1] {
            let errors: Vec<_> = (1..=6)
                .map(|steps| worst(&minimax(lower, steps), lower))
                .collect();
            assert!(
                errors
                    .windows(2)
                    .all(|pair| pair[1] < pair[0] || pair[1] < 1e-14)
            );
        }
    }
}
