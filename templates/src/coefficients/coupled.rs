//! The coupled recurrence for p = 1 - n/m, and its coefficients.
//!
//! `Q = aI - b Y Y^T; Z <- Q^n Z; Y <- Q^m Y` from Z = Y = X keeps `Z = U S^(1-n/m) V^T |Y|^(n/m)` exactly, so
//! that Z tends to U S^p V^T as the singular values y of Y tend to 1. A step maps y to
//! `c y (1 - r (y/u)^2)^m`; r is chosen so that the image of the current interval is as narrow as possible in
//! ratio, and c centres it at 1.

/// The design interval of singular values.
const DESIGN: (f64, f64) = (1e-3, 1.0);

/// (a, b) of each of `steps` steps for the exponent `m`, 1 <= m.
pub(super) fn coupled(m: u32, steps: usize) -> Vec<[f64; 2]> {
    let mut interval = DESIGN;
    let mut list = Vec::with_capacity(steps);
    for _ in 0..steps {
        let r = narrowest(m, interval);
        let (low, high) = image(m, r, interval);
        let c = 2.0 / (high + low);
        let a = c.powf(1.0 / f64::from(m));
        list.push([a, a * r / (interval.1 * interval.1)]);
        interval = (c * low, c * high);
    }
    list
}

/// Smallest and largest value of `y (1 - r (y/u)^2)^m` over the interval `(l, u)`.
fn image(m: u32, r: f64, (lower, upper): (f64, f64)) -> (f64, f64) {
    let value = |y: f64| y * (1.0 - r * (y / upper).powi(2)).powi(m.cast_signed());
    let stationary = upper / (r * (1.0 + 2.0 * f64::from(m))).sqrt();
    let ends = (value(lower), value(upper));
    let mut high = ends.0.max(ends.1);
    if (lower..upper).contains(&stationary) {
        high = high.max(value(stationary));
    }
    (ends.0.min(ends.1), high)
}

/// The r in (0, 1) that makes max/min of the image smallest.
///
/// While the image of the upper end is above that of the lower end, a larger r lowers the maximum alone;
/// from there on it lowers the minimum faster. So the optimum is where both ends have one image:
/// `l (1 - r l^2/u^2)^m = u (1 - r)^m`, which is linear in r after the m-th root.
fn narrowest(m: u32, (lower, upper): (f64, f64)) -> f64 {
    let root = (lower / upper).powf(1.0 / f64::from(m));
    // (1 - r) = root (1 - r q), q = (l/u)^2.
    let q = (lower / upper).powi(2);
    let difference = 1.0 - root * q;
    let r = (1.0 - root) / difference;
    // As l -> u: the limit of the quotient, 1 / (1 + 2m), at which y is stationary.
    if difference > 1e-12 && r.is_finite() && r > 0.0 {
        r
    } else {
        1.0 / (1.0 + 2.0 * f64::from(m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_is_the_narrowest_image() {
        for m in 2..=8 {
            for interval in [(1e-3, 1.0), (0.02, 1.9), (0.5, 1.4), (0.9, 1.1)] {
                let ratio = |r: f64| {
                    let (low, high) = image(m, r, interval);
                    high / low
                };
                let best = ratio(narrowest(m, interval));
                let searched = (1..10_000)
                    .map(|i| ratio(f64::from(i) / 10_000.0))
                    .fold(f64::INFINITY, f64::min);
                assert!(best <= searched * (1.0 + 1e-12), "m={m} {interval:?}");
            }
        }
    }

    #[test]
    fn many_steps_reach_the_classical_step() {
        for m in 2..=8 {
            let list = coupled(m, 24);
            let [a, b] = list[23];
            // y (a - b y^2)^m has a fixed point with zero slope at y = 1.
            let exponent = f64::from(m);
            assert!((a - b - 1.0).abs() < 1e-6, "m={m}");
            assert!((2.0 * exponent * b - 1.0).abs() < 1e-3, "m={m} {b}");
        }
    }
}
