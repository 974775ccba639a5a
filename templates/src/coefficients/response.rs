//! What a table does to one singular value.

use super::StepTable;
use crate::spec::Power;

impl StepTable {
    /// The singular value that the iteration makes of `sigma`, in f64 with the table's `f32` coefficients.
    ///
    /// For [`StepTable::Turbo`] `sigma` is the value after its own rescale, and for [`StepTable::Fitted`] the
    /// value after the division by nu (the result still lacks nu^p).
    ///
    /// ```
    /// use himuon_templates::{KernelSpec, Tile};
    /// let table = KernelSpec::new(Tile::square(1)).step_table().unwrap();
    /// assert!((table.response(1.0) - 0.696).abs() < 1e-3);
    /// ```
    pub fn response(&self, sigma: f64) -> f64 {
        match self {
            StepTable::Odd(list) | StepTable::Turbo(list) => list.iter().fold(sigma, |x, step| {
                let [a, b, c] = step.map(f64::from);
                let gram = x * x;
                x * (a + gram * (b + gram * c))
            }),
            StepTable::Fitted(list) => list.iter().fold(sigma, |y, step| {
                let [a, b, d, e] = step.map(f64::from);
                a * y + d * sigma + y * y * (b * y + e * sigma)
            }),
            StepTable::Coupled { m, n, steps } => {
                let powers = (n.cast_signed(), m.cast_signed());
                let step = |(z, y): (f64, f64), step: &[f32; 2]| {
                    let q = f64::from(step[0]) - f64::from(step[1]) * y * y;
                    (q.powi(powers.0) * z, q.powi(powers.1) * y)
                };
                steps.iter().fold((sigma, sigma), step).0
            }
            StepTable::Authors { steps, damping } => {
                (0..*steps).fold(sigma, |y, _| y - f64::from(*damping) * (y * y * y - sigma))
            }
            StepTable::Identity => sigma,
        }
    }

    /// Largest relative error |response(x) / x^p - 1| over singular values x in `[lower, 1]`, on a logarithmic
    /// grid; for p = 0 the largest |1 - s_K|. This is what a list is reported with.
    pub fn worst_deviation(&self, power: Power, lower: f64) -> f64 {
        const POINTS: u32 = 4096;
        let lower = lower.clamp(f64::MIN_POSITIVE, 1.0);
        let power = power.to_f64();
        (0..=POINTS)
            .map(|i| lower.powf(1.0 - f64::from(i) / f64::from(POINTS)))
            .map(|x| (self.response(x) / x.powf(power) - 1.0).abs())
            .fold(0.0, f64::max)
    }
}

/// The point of (0, 1.01] where an odd polynomial list, evaluated in f32 as a kernel does, first exceeds 2 in
/// absolute value or stops being finite, with the value there.
pub(super) fn first_unbounded(list: &[[f32; 3]]) -> Option<(f32, f32)> {
    const POINTS: u16 = 10_100;
    const BOUND: f32 = 2.0;
    (1..=POINTS)
        .map(|i| f32::from(i) / 10_000.0)
        .map(|x| {
            let value = list.iter().fold(x, |x, &[a, b, c]| {
                let gram = x * x;
                x * (a + gram * (b + gram * c))
            });
            (x, value)
        })
        .find(|(_, value)| value.is_nan() || value.abs() > BOUND)
}

#[cfg(test)]
mod tests {
    use super::super::StepTable;
    use super::Power;
    use crate::spec::{CoefficientSet, Finite, KernelSpec, Recurrence, Tile};

    fn table(recurrence: Recurrence, power: (u32, u32), steps: u32) -> StepTable {
        let mut spec = KernelSpec::new(Tile::square(64));
        spec.power = Power::new(power.0, power.1).unwrap();
        spec.recurrence = recurrence;
        spec.steps = steps;
        spec.step_table().unwrap()
    }

    fn set(set: CoefficientSet, steps: u32) -> StepTable {
        table(Recurrence::NewtonSchulz(set), (0, 1), steps)
    }

    fn relative_error(table: &StepTable, (n, d): (u32, u32), lower: f64) -> f64 {
        table.worst_deviation(Power::new(n, d).unwrap(), lower)
    }

    #[test]
    fn a_tile_of_one_number() {
        let at_one = |set_name, steps| set(set_name, steps).response(1.0);
        assert!((at_one(CoefficientSet::Muon, 5) - 0.696).abs() < 5e-4);
        assert!((at_one(CoefficientSet::PolarExpress, 5) - 1.029).abs() < 5e-4);
        assert!((at_one(CoefficientSet::Cubic, 5) - 1.0).abs() < 1e-6);
        assert!((at_one(CoefficientSet::Quintic, 5) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn each_set_reaches_the_polar_factor_as_closely_as_it_claims() {
        let cases = [
            // (set, K, lower, largest |1 - s_K|), measured and rounded up.
            (CoefficientSet::PolarExpress, 5, 1e-3, 0.155),
            (CoefficientSet::PolarExpress, 6, 1e-3, 0.0057),
            (CoefficientSet::PolarExpress, 7, 1e-3, 9.5e-6),
            (CoefficientSet::You, 5, 1e-2, 0.032),
            (CoefficientSet::Muon, 5, 1e-2, 0.32),
            (CoefficientSet::Cans, 9, 1e-3, 0.0045),
            (CoefficientSet::Cubic, 8, 0.1, 0.0018),
            (CoefficientSet::Quintic, 5, 0.1, 0.0043),
        ];
        for (name, steps, lower, bound) in cases {
            let worst = set(name.clone(), steps).worst_deviation(Power::ZERO, lower);
            println!("{name:?} K={steps} lower={lower}: {worst}");
            assert!(worst <= bound && worst >= 0.9 * bound, "{name:?}: {worst}");
        }
    }

    #[test]
    fn polar_express_is_divided_by_its_safety_factor() {
        let StepTable::Odd(list) = set(CoefficientSet::PolarExpress, 8) else {
            unreachable!()
        };
        assert_eq!(list[0][0], (8.28721201814563_f64 / 1.01) as f32);
        assert_eq!(
            list[6][2],
            (0.3750001645474248_f64 / 1.01_f64.powi(5)) as f32
        );
        assert_eq!(list[7], [1.875, -1.25, 0.375]);
    }

    #[test]
    fn minimax_beats_every_fixed_list_at_its_own_length() {
        let lower = Finite::new(1e-3).unwrap();
        for steps in 1..=10 {
            let ours =
                set(CoefficientSet::Minimax { lower }, steps).worst_deviation(Power::ZERO, 1e-3);
            for other in [CoefficientSet::Muon, CoefficientSet::Quintic] {
                assert!(ours <= set(other, steps).worst_deviation(Power::ZERO, 1e-3) + 1e-6);
            }
        }
    }

    #[test]
    fn fitted_lists_reach_their_published_errors() {
        let powers = [(1, 4), (1, 3), (1, 2), (2, 3), (3, 4)];
        let figures = [
            (4, [0.359, 0.349, 0.225, 0.154, 0.102]),
            (6, [0.065, 0.054, 0.051, 0.073, 0.024]),
            (8, [0.018, 0.018, 0.016, 0.008, 0.005]),
        ];
        for (steps, errors) in figures {
            for (power, expected) in powers.into_iter().zip(errors) {
                let table = table(Recurrence::Fitted, power, steps);
                let worst = relative_error(&table, power, 1e-2);
                assert!(
                    (worst - expected).abs() < 1e-3,
                    "{power:?} K={steps}: {worst}"
                );
                assert!((1..=1060).all(|i| table.response(f64::from(i) / 1e3).abs() < 2.0));
            }
        }
    }

    #[test]
    fn coupled_reaches_its_errors() {
        let half = |steps| relative_error(&table(Recurrence::Coupled, (1, 2), steps), (1, 2), 1e-3);
        assert!((half(6) - 0.09).abs() < 5e-3, "{}", half(6));
        assert!((half(7) - 0.009).abs() < 5e-4, "{}", half(7));
        for (power, steps) in [((2, 3), 8), ((1, 3), 8), ((3, 4), 9), ((1, 4), 9)] {
            let worst = relative_error(&table(Recurrence::Coupled, power, steps), power, 1e-3);
            assert!(worst < 0.05, "{power:?} K={steps}: {worst}");
        }
    }

    #[test]
    fn the_authors_cube_root_is_far_off_between_a_hundredth_and_a_fifth() {
        let table = table(Recurrence::Authors, (1, 3), 6);
        let worst = (100..=2000)
            .map(|i| f64::from(i) / 1e4)
            .map(|s| (table.response(s) / s.cbrt() - 1.0).abs())
            .fold(0.0, f64::max);
        assert!((worst - 0.77).abs() < 0.01, "{worst}");
    }

    #[test]
    fn products() {
        assert_eq!(set(CoefficientSet::Muon, 5).products(), 15);
        assert_eq!(set(CoefficientSet::Cans, 9).products(), 18);
        assert_eq!(table(Recurrence::Fitted, (1, 2), 6).products(), 12);
        assert_eq!(table(Recurrence::Coupled, (1, 2), 6).products(), 4 * 6 - 2);
    }
}
