//! The power p of U S^p V^T.

/// A rational number in [0, 1], in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Power {
    numerator: u32,
    denominator: u32,
}

impl Power {
    /// p = 0: the polar factor.
    pub const ZERO: Power = Power {
        numerator: 0,
        denominator: 1,
    };
    /// p = 1: no map, normalised momentum.
    pub const ONE: Power = Power {
        numerator: 1,
        denominator: 1,
    };

    /// `numerator / denominator` in lowest terms, if it lies in [0, 1].
    pub const fn new(numerator: u32, denominator: u32) -> Option<Power> {
        if denominator == 0 || numerator > denominator {
            return None;
        }
        let (mut a, mut b) = (numerator, denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Some(Power {
            numerator: numerator / a,
            denominator: denominator / a,
        })
    }

    /// The numerator.
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// The denominator, at least 1.
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// The nearest `f64`.
    pub fn to_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }
}

impl PartialOrd for Power {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Power {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let cross = |a: &Power, b: &Power| u64::from(a.numerator) * u64::from(b.denominator);
        cross(self, other).cmp(&cross(other, self))
    }
}
