//! Ranges of the options of a group.

use super::builder::refused;
use super::error::BuildError;
use super::group::{AdamWOptions, LearningRate, MuonOptions};
use crate::text::tile_text;

/// Ranges are those of the f32 that a kernel gets: what rounds out of one is refused here, not in a step.
struct Ranges<'a>(&'a str);

impl Ranges<'_> {
    fn require(
        &self,
        holds: bool,
        option: &'static str,
        found: f64,
        expected: &'static str,
    ) -> Result<(), BuildError> {
        if holds {
            return Ok(());
        }
        Err(BuildError::Option {
            group: self.0.to_owned(),
            option,
            found,
            expected,
        })
    }

    fn decay_rate(&self, option: &'static str, value: f64) -> Result<(), BuildError> {
        let expected = "at least 0 and below 1";
        let holds = value >= 0.0 && (0.0..1.0).contains(&(value as f32));
        self.require(holds, option, value, expected)
    }

    fn not_negative(&self, option: &'static str, value: f64) -> Result<(), BuildError> {
        let holds = (value as f32).is_finite() && value >= 0.0;
        self.require(holds, option, value, "a finite number of at least 0")
    }

    fn positive(&self, option: &'static str, value: f64) -> Result<(), BuildError> {
        let holds = (value as f32).is_finite() && value as f32 > 0.0;
        self.require(holds, option, value, "a finite number above 0")
    }

    fn learning_rate(&self, rate: LearningRate) -> Result<(), BuildError> {
        match rate {
            LearningRate::Factor(factor) => self.not_negative("the learning-rate factor", factor),
            LearningRate::Own(rate) => self.not_negative("the learning rate", rate),
        }
    }
}

/// Refuses options of tiles that are out of range, and lists of specifications that do not go together.
pub(crate) fn check_muon(group: &str, options: &MuonOptions) -> Result<(), BuildError> {
    let ranges = Ranges(group);
    ranges.learning_rate(options.learning_rate)?;
    check_decay(group, options.weight_decay)?;
    ranges.decay_rate("the momentum", options.momentum)?;
    ranges.positive("the scale factor", options.scale_factor)?;
    if let Some(settings) = options.row_normalisation {
        ranges.decay_rate("beta2 of the row normalisation", f64::from(settings.beta2))?;
        ranges.positive(
            "epsilon of the row normalisation",
            f64::from(settings.epsilon),
        )?;
    }
    options.coarse.check(group)?;
    ranges.positive("the factor of the coarse part", options.coarse_factor)?;
    if let Some(momentum) = options.coarse_momentum {
        let least = match options.nesterov {
            true => options.momentum / (1.0 + options.momentum),
            false => 0.0,
        };
        ranges.require(
            (least..1.0).contains(&momentum),
            "the momentum of the coarse part",
            momentum,
            "at least mu / (1 + mu) with Nesterov, 0 without, and below 1",
        )?;
    }
    check_specs(group, options)
}

fn check_specs(group: &str, options: &MuonOptions) -> Result<(), BuildError> {
    let Some(first) = options.specs.first() else {
        return Err(BuildError::NoSpec {
            group: group.to_owned(),
        });
    };
    for (index, spec) in options.specs.iter().enumerate() {
        spec.check()
            .map_err(|error| refused(group, spec, &error.to_string()))?;
        let tile = || tile_text(spec.tile);
        if options.specs[..index]
            .iter()
            .any(|other| other.tile == spec.tile)
        {
            return Err(BuildError::DuplicateTile {
                group: group.to_owned(),
                tile: tile(),
            });
        }
        if spec.storage != first.storage {
            return Err(BuildError::MixedStorage {
                group: group.to_owned(),
                tile: tile(),
                found: format!("{:?}", spec.storage),
                expected: format!("{:?}", first.storage),
            });
        }
    }
    Ok(())
}

/// Refuses a weight decay that is out of range.
pub(crate) fn check_decay(group: &str, decay: f64) -> Result<(), BuildError> {
    Ranges(group).not_negative("the weight decay", decay)
}

/// Refuses a group's learning rate, or its factor, that is out of range.
pub(crate) fn check_group_rate(group: &str, rate: LearningRate) -> Result<(), BuildError> {
    Ranges(group).learning_rate(rate)
}

/// Refuses a learning rate that no step would take, where it is said and not only by the next step.
///
/// # Errors
/// [`BuildError::LearningRate`] for one that is negative or not finite, also as the f32 that kernels get.
pub fn check_learning_rate(rate: f64) -> Result<(), BuildError> {
    match (rate as f32).is_finite() && rate >= 0.0 {
        true => Ok(()),
        false => Err(BuildError::LearningRate { found: rate }),
    }
}

/// Refuses options of AdamW that are out of range.
pub(crate) fn check_adamw(group: &str, options: &AdamWOptions) -> Result<(), BuildError> {
    let ranges = Ranges(group);
    ranges.learning_rate(options.learning_rate)?;
    check_decay(group, options.weight_decay)?;
    ranges.decay_rate("the first beta", options.betas.0)?;
    ranges.decay_rate("the second beta", options.betas.1)?;
    ranges.positive("epsilon", options.epsilon)
}
