//! What a run of the suite found.

use crate::tolerances::{NoTolerance, Tolerance};
use std::collections::BTreeMap;

/// The findings of one run.
#[derive(Debug, Default)]
pub struct Report {
    /// How many comparisons were made.
    pub cases: usize,
    /// The worst error of each quantity, its bound, and the case that has it.
    pub worst: BTreeMap<String, Worst>,
    /// What is wrong.
    pub failures: Vec<String>,
    /// Why cases were skipped, and how many for each reason.
    pub skipped: BTreeMap<String, usize>,
    /// Tiles of all launches that were judged.
    pub tiles: usize,
    /// Those that a criterion left unorthogonalised.
    pub unorthogonalised: usize,
}

/// The worst error of a quantity.
#[derive(Clone, Debug)]
pub struct Worst {
    /// The error.
    pub error: f64,
    /// Its bound, NaN without one.
    pub bound: f64,
    /// Where it is.
    pub case: String,
}

/// What reasons for skipping a case say. A backend that refuses anything else fails: what it once computed it should
/// go on computing.
const REASONS: [&str; 4] = [
    "is no bound",
    "is decided on the host",
    "do not scale by",
    "this processor",
];

/// Failures beyond this many are counted, not printed.
const PRINTED: usize = 20;

impl Report {
    /// Records an error of a quantity and whether it is within its bound; where none can be given it is skipped.
    pub fn measured(
        &mut self,
        quantity: String,
        tolerance: Result<Tolerance, NoTolerance>,
        error: f64,
        case: &str,
    ) {
        self.cases += 1;
        let bound = tolerance.as_ref().map_or(f64::NAN, |t| t.bound);
        match tolerance {
            Ok(_) if error <= bound => {}
            Err(NoTolerance::Unbounded(why)) if error.is_finite() => self.skip(why),
            Err(NoTolerance::Unmeasured(why)) => self.failures.push(format!("{case}: {why}")),
            _ => self.failures.push(format!(
                "{case}: {quantity}: error {error:.3e}, bound {bound:.1e}"
            )),
        }
        let worst = Worst {
            error,
            bound,
            case: case.to_owned(),
        };
        self.keep_worst(quantity, worst);
    }

    fn keep_worst(&mut self, quantity: String, found: Worst) {
        match self.worst.get_mut(&quantity) {
            Some(worst) if found.error > worst.error || found.error.is_nan() => *worst = found,
            Some(_) => {}
            None => {
                self.worst.insert(quantity, found);
            }
        }
    }

    /// Records a fact that must hold.
    pub fn holds(&mut self, fact: bool, case: impl FnOnce() -> String) {
        self.cases += 1;
        if !fact {
            self.failures.push(case());
        }
    }

    /// Records a case that could not be judged.
    pub fn skip(&mut self, reason: String) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    /// Adds the findings of another run.
    pub fn merge(&mut self, other: Report) {
        self.cases += other.cases;
        self.tiles += other.tiles;
        self.unorthogonalised += other.unorthogonalised;
        self.failures.extend(other.failures);
        for (reason, count) in other.skipped {
            *self.skipped.entry(reason).or_default() += count;
        }
        for (quantity, worst) in other.worst {
            self.keep_worst(quantity, worst);
        }
    }

    /// Prints what was skipped and the worst errors, and fails the test if anything is wrong.
    ///
    /// # Panics
    /// When there is a failure, when cases were skipped for a reason that nobody expects, or when nothing was compared.
    #[allow(clippy::panic)]
    pub fn finish(mut self, backend: &str) {
        for (reason, count) in &self.skipped {
            println!("SKIPPED: {backend}: {count} cases: {reason}");
            if !REASONS.iter().any(|known| reason.contains(known)) {
                self.failures
                    .push(format!("{count} cases are skipped, because {reason}"));
            }
        }
        for (quantity, Worst { error, bound, case }) in &self.worst {
            println!("{backend}: {quantity}: worst {error:.2e}, bound {bound:.1e}, at {case}");
        }
        assert!(self.cases > 0, "{backend}: nothing was compared");
        if !self.failures.is_empty() {
            let shown: Vec<&str> = self
                .failures
                .iter()
                .take(PRINTED)
                .map(String::as_str)
                .collect();
            panic!(
                "{backend}: {} of {} comparisons failed:\n{}",
                self.failures.len(),
                self.cases,
                shown.join("\n")
            );
        }
    }
}
