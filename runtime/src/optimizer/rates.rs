//! Learning rate and weight decay over the steps: their schedules come from outside.

use super::HiMuon;
use super::check::check_decay;
use super::error::BuildError;
use super::group::GroupOptions;
use crate::memory::Memory;

impl<M: Memory> HiMuon<M> {
    /// The learning rate that groups follow.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// Sets the learning rate that groups follow: schedules of the learning rate come from outside.
    /// A value that is not finite is refused by the next step.
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
        let known = self.groups.iter_mut().find(|known| known.pattern == group);
        match known.map(|known| &mut known.options) {
            Some(GroupOptions::Muon(options)) => options.weight_decay = decay,
            Some(GroupOptions::AdamW(options)) => options.weight_decay = decay,
            None => {
                let patterns: Vec<_> = self.groups.iter().map(|g| g.pattern.as_str()).collect();
                return Err(BuildError::UnknownGroup {
                    found: group.to_owned(),
                    groups: patterns.join(", "),
                });
            }
        }
        Ok(())
    }
}
