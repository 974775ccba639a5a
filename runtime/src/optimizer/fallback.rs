//! What happens when a tuned variant does not load.

use std::sync::Arc;

use himuon_templates::KernelSpec;

use super::HiMuon;
use crate::backend::BackendError;
use crate::error::Error;
use crate::memory::Memory;
use crate::plan::Plan;

impl<M: Memory> HiMuon<M> {
    /// Loads a plan's kernels. A tuned variant that does not load is dropped, and the next choice of the tuning table,
    /// in the end the default, takes its place.
    pub(super) fn prepare_kernels(&mut self, mut plan: Arc<Plan>) -> Result<Arc<Plan>, Error> {
        loop {
            let (spec, variant, reason) = match self.prepare_backend(Arc::clone(&plan)) {
                Err(Error::Backend(BackendError::Variant {
                    spec,
                    variant,
                    reason,
                })) if plan.uses(&spec, &variant) => (spec, variant, reason),
                outcome => return outcome,
            };
            warn_of_next_choice(&spec, &variant, &reason);
            self.tuning.drop_variant(&spec, &variant);
            self.plans.clear();
            plan = self.plan_for(self.step)?.0;
        }
    }
}

/// Says that a variant of the tuning table is dropped.
pub(super) fn warn_of_next_choice(spec: &KernelSpec, variant: &str, reason: &str) {
    tracing::warn!(
        "{spec}: variant {variant} of the tuning table cannot be used ({reason}); the next choice is used"
    );
}
