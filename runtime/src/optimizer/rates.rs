//! Learning rates, weight decay, momentum and betas over the steps: their schedules come from outside.

use super::HiMuon;
use super::check::{check_adamw, check_decay, check_group_rate, check_muon};
use super::error::BuildError;
use super::group::{AdamWOptions, GroupOptions, LearningRate, MuonOptions};
use crate::memory::Memory;

fn of_tiles(options: &mut GroupOptions) -> Option<&mut MuonOptions> {
    match options {
        GroupOptions::Muon(options) => Some(options),
        GroupOptions::AdamW(_) => None,
    }
}

fn of_adamw(options: &mut GroupOptions) -> Option<&mut AdamWOptions> {
    match options {
        GroupOptions::AdamW(options) => Some(options),
        GroupOptions::Muon(_) => None,
    }
}

impl<M: Memory> HiMuon<M> {
    /// The learning rate that groups follow.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// Sets the learning rate that groups follow: schedules of the learning rate come from outside.
    /// A value that [`check_learning_rate`](super::check_learning_rate) refuses is refused by the next step.
    pub fn set_learning_rate(&mut self, rate: f64) {
        self.learning_rate = rate;
    }

    /// Sets the decoupled weight decay of the group that was declared with the pattern `group`; `(rest)` is the group
    /// of the parameters that no other takes. Captured graphs follow it as they follow the learning rate.
    ///
    /// # Errors
    /// [`BuildError::UnknownGroup`]; [`BuildError::Option`] for a decay that is negative or not finite. The next step
    /// refuses one whose product with the learning rate passes 1.
    pub fn set_weight_decay(&mut self, group: &str, decay: f64) -> Result<(), BuildError> {
        check_decay(group, decay)?;
        for options in self.options_of(group)? {
            match options {
                GroupOptions::Muon(options) => options.weight_decay = decay,
                GroupOptions::AdamW(options) => options.weight_decay = decay,
            }
        }
        Ok(())
    }

    /// Sets how the learning rate of the group declared with the pattern `group` follows the optimizer's, or a rate of its
    /// own: so groups may have schedules of different shapes. Captured graphs follow it.
    ///
    /// # Errors
    /// [`BuildError::UnknownGroup`]; [`BuildError::Option`] for a factor or rate that is negative or not finite.
    pub fn set_group_learning_rate(
        &mut self,
        group: &str,
        rate: LearningRate,
    ) -> Result<(), BuildError> {
        check_group_rate(group, rate)?;
        for options in self.options_of(group)? {
            match options {
                GroupOptions::Muon(options) => options.learning_rate = rate,
                GroupOptions::AdamW(options) => options.learning_rate = rate,
            }
        }
        Ok(())
    }

    /// Sets the momentum mu of the group of tiles declared with the pattern `group`, as in a warm-up from 0.85 to 0.95.
    /// The buffer stays as it is. A coarse part without a momentum of its own keeps to the smaller of 0.8 and mu. Captured
    /// graphs follow it.
    ///
    /// # Errors
    /// [`BuildError::UnknownGroup`]; [`BuildError::NoTiles`] for a group of AdamW; [`BuildError::Option`] for a momentum
    /// outside of [0, 1), or one that the coarse part's own does not go with. Nothing has changed then.
    pub fn set_momentum(&mut self, group: &str, momentum: f64) -> Result<(), BuildError> {
        let Some(options) = self.options_of(group)?.find_map(of_tiles) else {
            return Err(BuildError::NoTiles {
                group: group.to_owned(),
            });
        };
        let changed = MuonOptions {
            momentum,
            ..options.clone()
        };
        check_muon(group, &changed)?;
        *options = changed;
        Ok(())
    }

    /// Sets the decay of both moments of the group of AdamW declared with the pattern `group`, `(rest)` among them. Captured
    /// graphs follow it.
    ///
    /// # Errors
    /// [`BuildError::UnknownGroup`]; [`BuildError::NoMoments`] for a group of tiles; [`BuildError::Option`] for a decay
    /// outside of [0, 1). Nothing has changed then.
    pub fn set_betas(&mut self, group: &str, first: f64, second: f64) -> Result<(), BuildError> {
        let Some(options) = self.options_of(group)?.find_map(of_adamw) else {
            return Err(BuildError::NoMoments {
                group: group.to_owned(),
            });
        };
        let changed = options.betas(first, second);
        check_adamw(group, &changed)?;
        *options = changed;
        Ok(())
    }

    /// Of every group of this name: one of tiles and one of AdamW, which takes what the first leaves, may share a pattern.
    fn options_of(
        &mut self,
        group: &str,
    ) -> Result<impl Iterator<Item = &mut GroupOptions>, BuildError> {
        if !self.groups.iter().any(|known| known.pattern == group) {
            let patterns: Vec<_> = self.groups.iter().map(|g| g.pattern.as_str()).collect();
            return Err(BuildError::UnknownGroup {
                found: group.to_owned(),
                groups: patterns.join(", "),
            });
        }
        let named = self
            .groups
            .iter_mut()
            .filter(move |known| known.pattern == group);
        Ok(named.map(|known| &mut known.options))
    }
}
