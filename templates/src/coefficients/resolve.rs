//! From a recurrence, a power and a number of steps to a table.

use super::response::first_unbounded;
use super::{StepTable, coupled, fitted, minimax, published};
use crate::spec::{CoefficientSet, Finite, Power, Recurrence, SpecError};

/// Longest list that any set accepts.
pub const MAX_STEPS: u32 = 32;

/// Accepted lower bounds of `minimax`: below, f32 cannot resolve the interval.
pub const ACCEPTED_LOWER: (f32, f32) = (1e-6, 0.9);

/// Largest m of p = 1 - n/m for the coupled recurrence.
pub const MAX_COUPLED_DENOMINATOR: u32 = 8;

/// The damping of the published p = 1/3 form (arXiv 2606.13867).
const AUTHORS_DAMPING: f32 = 0.66;

/// The powers that have fitted lists.
pub(crate) fn fitted_powers() -> impl Iterator<Item = Power> {
    fitted::POWERS
        .into_iter()
        .filter_map(|(numerator, denominator)| Power::new(numerator, denominator))
}

impl StepTable {
    /// The table of a recurrence whose pairing with `power` and `steps` has been checked.
    pub(crate) fn resolve(
        recurrence: &Recurrence,
        power: Power,
        steps: u32,
    ) -> Result<StepTable, SpecError> {
        match recurrence {
            Recurrence::NewtonSchulz(CoefficientSet::Turbo) => {
                Ok(StepTable::Turbo(rounded(&published::TURBO)))
            }
            Recurrence::NewtonSchulz(set) => newton_schulz(set, steps as usize).map(StepTable::Odd),
            Recurrence::Fitted => fitted::fitted(power, steps)
                .map(|list| StepTable::Fitted(list.to_vec()))
                .ok_or_else(|| SpecError::Pairing {
                    recurrence: recurrence.clone(),
                    power,
                }),
            Recurrence::Coupled => {
                let (m, n) = (power.denominator(), power.denominator() - power.numerator());
                let steps = rounded(&coupled::coupled(m, steps as usize));
                Ok(StepTable::Coupled { m, n, steps })
            }
            Recurrence::Authors => Ok(StepTable::Authors {
                steps,
                damping: AUTHORS_DAMPING,
            }),
            Recurrence::Identity => Ok(StepTable::Identity),
        }
    }
}

fn newton_schulz(set: &CoefficientSet, steps: usize) -> Result<Vec<[f32; 3]>, SpecError> {
    let repeated = |step: [f64; 3]| vec![step; steps];
    Ok(match set {
        CoefficientSet::Muon => rounded(&repeated(published::MUON)),
        CoefficientSet::Cubic => rounded(&repeated(published::CUBIC)),
        CoefficientSet::Quintic => rounded(&repeated(published::QUINTIC)),
        CoefficientSet::PolarExpress => rounded(&published::polar_express(steps)),
        CoefficientSet::Minimax { lower } => {
            rounded(&minimax::minimax(f64::from(lower.get()), steps))
        }
        CoefficientSet::You => rounded(&published::YOU),
        CoefficientSet::Turbo => rounded(&published::TURBO),
        CoefficientSet::Cans => rounded(&published::cans(steps)),
        CoefficientSet::Custom(list) => {
            let list: Vec<_> = list.iter().map(|step| step.map(Finite::get)).collect();
            match first_unbounded(&list) {
                Some((at, value)) => {
                    return Err(SpecError::Unbounded {
                        at: Finite::new(at).unwrap_or(Finite::ZERO),
                        value: Finite::new(value),
                    });
                }
                None => list,
            }
        }
    })
}

/// Rounds each coefficient once, to nearest.
fn rounded<const N: usize>(list: &[[f64; N]]) -> Vec<[f32; N]> {
    list.iter()
        .map(|step| step.map(|value| value as f32))
        .collect()
}
