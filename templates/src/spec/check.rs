//! Which fields go together, and the coefficients that follow from them. Each rule is one function.

use super::{
    Coarse, CoefficientSet, Criterion, Element, KernelSpec, MAX_COARSE_RANK, Measure, Mode,
    Operand, Power, Recurrence, SpecError, Tile,
};
use crate::coefficients::{
    ACCEPTED_LOWER, MAX_COUPLED_DENOMINATOR, MAX_STEPS, StepTable, fitted_powers,
};

/// Largest edge of a sized tile; a larger block is `full`.
pub const MAX_TILE_EDGE: u32 = 65_536;

impl KernelSpec {
    /// Whether a kernel exists for this specification.
    ///
    /// # Errors
    /// The first rule that is broken, with the accepted values.
    pub fn check(&self) -> Result<(), SpecError> {
        self.step_table().map(drop)
    }

    /// The coefficients of every step, in the exact bits that all backends use.
    ///
    /// # Errors
    /// As [`KernelSpec::check`].
    pub fn step_table(&self) -> Result<StepTable, SpecError> {
        check_tile(self.tile)?;
        check_pairing(&self.recurrence, self.power)?;
        check_coefficients(&self.recurrence)?;
        check_steps(&self.recurrence, self.steps)?;
        check_criterion(&self.criterion, self.power)?;
        check_types(self)?;
        check_coarse(self)?;
        StepTable::resolve(&self.recurrence, self.power, self.steps)
    }
}

fn check_tile(tile: Tile) -> Result<(), SpecError> {
    match tile {
        Tile::Full => Ok(()),
        Tile::Sized { rows, columns } => {
            let refused = [rows, columns]
                .into_iter()
                .find(|edge| !(1..=MAX_TILE_EDGE).contains(edge));
            refused.map_or(Ok(()), |found| Err(SpecError::TileEdge { found }))
        }
    }
}

fn check_pairing(recurrence: &Recurrence, power: Power) -> Result<(), SpecError> {
    let inside = power != Power::ZERO && power != Power::ONE;
    let accepted = match recurrence {
        Recurrence::NewtonSchulz(_) => power == Power::ZERO,
        Recurrence::Fitted => fitted_powers().any(|listed| listed == power),
        Recurrence::Coupled => inside && power.denominator() <= MAX_COUPLED_DENOMINATOR,
        Recurrence::Authors => (power.numerator(), power.denominator()) == (1, 3),
        Recurrence::Identity => power == Power::ONE,
    };
    if accepted {
        Ok(())
    } else {
        Err(SpecError::Pairing {
            recurrence: recurrence.clone(),
            power,
        })
    }
}

fn check_coefficients(recurrence: &Recurrence) -> Result<(), SpecError> {
    match recurrence {
        Recurrence::NewtonSchulz(CoefficientSet::Minimax { lower })
            if !(ACCEPTED_LOWER.0..=ACCEPTED_LOWER.1).contains(&lower.get()) =>
        {
            Err(SpecError::Lower { found: *lower })
        }
        Recurrence::NewtonSchulz(CoefficientSet::Custom(list))
            if list.is_empty() || list.len() > MAX_STEPS as usize =>
        {
            Err(SpecError::ListLength { found: list.len() })
        }
        _ => Ok(()),
    }
}

fn check_steps(recurrence: &Recurrence, steps: u32) -> Result<(), SpecError> {
    if recurrence.accepted_steps().contains(&steps) {
        Ok(())
    } else {
        Err(SpecError::Steps {
            recurrence: recurrence.clone(),
            found: steps,
        })
    }
}

fn check_criterion(criterion: &Criterion, power: Power) -> Result<(), SpecError> {
    let Criterion::Tested {
        measure, threshold, ..
    } = criterion
    else {
        return Ok(());
    };
    if power != Power::ZERO {
        return Err(SpecError::CriterionWithPower { power });
    }
    let value = threshold.get();
    let accepted = match measure {
        Measure::FroNorm => value >= 0.0,
        Measure::EffectiveRank | Measure::NuclearRank | Measure::MinGap => {
            (0.0..=1.0).contains(&value)
        }
    };
    if accepted {
        Ok(())
    } else {
        Err(SpecError::Threshold {
            measure: *measure,
            found: *threshold,
        })
    }
}

fn check_types(spec: &KernelSpec) -> Result<(), SpecError> {
    if spec.storage.momentum == Element::F16 {
        return Err(SpecError::MomentumType);
    }
    if spec.storage.master_weights && spec.storage.weight != Element::Bf16 {
        return Err(SpecError::MasterWeights {
            weight: spec.storage.weight,
        });
    }
    if spec.mode == Mode::Accurate {
        return Ok(());
    }
    match &spec.recurrence {
        Recurrence::NewtonSchulz(CoefficientSet::Turbo) => {
            return Err(SpecError::ReferenceRecurrence {
                recurrence: spec.recurrence.clone(),
            });
        }
        Recurrence::NewtonSchulz(_) => {}
        other => {
            return Err(SpecError::ReferenceRecurrence {
                recurrence: other.clone(),
            });
        }
    }
    if matches!(spec.operand, Operand::Tf32 | Operand::F16) {
        return Err(SpecError::ReferenceOperand {
            found: spec.operand,
        });
    }
    if spec.storage.momentum == spec.storage.weight {
        Ok(())
    } else {
        Err(SpecError::ReferenceMomentum {
            weight: spec.storage.weight,
            momentum: spec.storage.momentum,
        })
    }
}

fn check_coarse(spec: &KernelSpec) -> Result<(), SpecError> {
    let Coarse::Polar { rank, .. } = spec.coarse else {
        return Ok(());
    };
    if !(1..=MAX_COARSE_RANK).contains(&rank) {
        return Err(SpecError::CoarseRank { found: rank });
    }
    let conflict = if spec.tile == Tile::Full {
        "tile \"full\" is one tile: there is nothing to couple"
    } else if spec.power == Power::ONE {
        "power 1 maps nothing: its tiles need no coupling"
    } else if spec.criterion != Criterion::Always {
        "a criterion decides about tiles that are independent of each other"
    } else if spec.mode == Mode::Reference {
        "mode \"reference\" has the published rounding points, which have no coarse part"
    } else {
        return Ok(());
    };
    Err(SpecError::CoarseWith { conflict })
}

#[cfg(test)]
mod tests;
