//! What happens when a tuned variant does not load.

use std::collections::BTreeSet;
use std::sync::Arc;

use himuon_templates::KernelSpec;

use super::HiMuon;
use crate::backend::{BackendError, KernelRequest};
use crate::error::Error;
use crate::memory::Memory;
use crate::plan::{Launch, Plan};
use crate::schedule::GroupPhase;

impl<M: Memory> HiMuon<M> {
    /// The kernels of every tile and rank that a schedule may ask for, once. Whether a tuned variant did not load and was dropped, so
    /// that plans are to be made anew.
    pub(super) fn load_ahead(&mut self) -> Result<bool, Error> {
        let mut dropped = false;
        while !self.loaded_ahead {
            let plan = self.plan_of_all()?;
            let kernels: BTreeSet<KernelRequest> =
                plan.launches.iter().flat_map(kernels_of).collect();
            self.backend
                .compile_ahead(&kernels, !plan.elementwise.is_empty());
            match self.first_refused(&kernels)? {
                None => self.loaded_ahead = true,
                Some((spec, variant, reason)) => {
                    self.pass_over(&spec, &variant, &reason);
                    dropped = true;
                }
            }
        }
        Ok(dropped)
    }

    /// The first tuned variant that does not load, and why.
    fn first_refused(
        &mut self,
        kernels: &BTreeSet<KernelRequest>,
    ) -> Result<Option<(KernelSpec, String, String)>, BackendError> {
        for kernel in kernels {
            match self.backend.load_ahead(kernel) {
                Err(BackendError::Variant {
                    variant, reason, ..
                }) if kernel.variant.as_ref() == Some(&variant) => {
                    return Ok(Some((kernel.spec.clone(), variant, reason)));
                }
                outcome => outcome?,
            }
        }
        Ok(None)
    }

    /// Drops a variant of the tuning table that cannot be used.
    fn pass_over(&mut self, spec: &KernelSpec, variant: &str, reason: &str) {
        tracing::warn!(
            "{spec}: variant {variant} of the tuning table cannot be used ({reason}); the next choice is used"
        );
        self.tuning.drop_variant(spec, variant);
        self.plans.clear();
    }

    /// Loads a plan's kernels. A tuned variant that does not load is dropped, and the next choice of the tuning table,
    /// in the end the default, takes its place.
    pub(super) fn prepare_kernels(
        &mut self,
        mut plan: Arc<Plan>,
        phases: &[GroupPhase],
    ) -> Result<Arc<Plan>, Error> {
        loop {
            let (spec, variant, reason) = match self.prepare_backend(Arc::clone(&plan), phases) {
                Err(Error::Backend(BackendError::Variant {
                    spec,
                    variant,
                    reason,
                })) if plan.uses(&spec, &variant) => (spec, variant, reason),
                outcome => return outcome,
            };
            self.pass_over(&spec, &variant, &reason);
            plan = self.plan_for(self.step)?.0;
        }
    }
}

/// The kernels that the chunks of a launch run.
fn kernels_of(launch: &Launch) -> impl Iterator<Item = KernelRequest> + '_ {
    launch.chunks.iter().map(|chunk| launch.kernel_of(chunk))
}
