//! What happens when a tuned variant does not load.

use std::collections::BTreeSet;
use std::sync::Arc;

use himuon_templates::KernelSpec;

use super::HiMuon;
use super::coarse::CoarsePhase;
use super::group::{GroupOptions, MuonOptions};
use super::parameter::MatrixView;
use crate::backend::BackendError;
use crate::error::Error;
use crate::launch::MatrixDemand;
use crate::memory::Memory;
use crate::plan::Plan;
use crate::schedule::GroupPhase;

impl<M: Memory> HiMuon<M> {
    /// The kernels of every tile and rank that a schedule may ask for, once. Whether a tuned variant did not load and was dropped, so
    /// that plans are to be made anew.
    pub(super) fn load_ahead(&mut self) -> Result<bool, BackendError> {
        let mut dropped = false;
        if self.loaded_ahead {
            return Ok(dropped);
        }
        for parameter in &self.parameters {
            let options = &self.groups[parameter.group].options;
            let (Some(view), GroupOptions::Muon(options)) = (&parameter.matrices, options) else {
                continue;
            };
            let shapes = vec![(view.rows, view.columns); view.count];
            let row_normalised = options.row_normalisation.is_some();
            let demand = [MatrixDemand {
                row_normalised,
                ..MatrixDemand::new(view.rows, view.columns)
            }];
            for spec in specs_of(options, *view) {
                loop {
                    let variant = self.tuning.variant_for(&spec, &shapes);
                    // A tuned variant that the device lacks is passed over by the plan, with a warning.
                    let known = variant.as_deref().filter(|name| {
                        self.backend
                            .workspace_bytes(&spec, Some(name), &demand, 1)
                            .is_ok()
                    });
                    match self.backend.load_ahead(&spec, known, row_normalised) {
                        Err(BackendError::Variant {
                            variant, reason, ..
                        }) if known == Some(variant.as_str()) => {
                            warn_of_next_choice(&spec, &variant, &reason);
                            self.tuning.drop_variant(&spec, &variant);
                            self.plans.clear();
                            dropped = true;
                        }
                        outcome => break outcome?,
                    }
                }
            }
        }
        self.loaded_ahead = true;
        Ok(dropped)
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
            warn_of_next_choice(&spec, &variant, &reason);
            self.tuning.drop_variant(&spec, &variant);
            self.plans.clear();
            plan = self.plan_for(self.step)?.0;
        }
    }
}

/// The specifications of a matrix at any step: every tile of its group, with every rank of the coarse part.
fn specs_of(options: &MuonOptions, view: MatrixView) -> BTreeSet<KernelSpec> {
    let later = options.coarse.known_steps();
    let phases = later.map(|step| options.coarse.phase(step));
    let phases: Vec<_> = [CoarsePhase::DECLARED].into_iter().chain(phases).collect();
    let specs = options.specs.iter().map(|spec| view.spec(spec));
    specs
        .flat_map(|spec| {
            phases.iter().map(move |phase| {
                let mut spec = spec.clone().into_owned();
                phase.apply(&mut spec);
                spec
            })
        })
        .collect()
}

/// Says that a variant of the tuning table is dropped.
fn warn_of_next_choice(spec: &KernelSpec, variant: &str, reason: &str) {
    tracing::warn!(
        "{spec}: variant {variant} of the tuning table cannot be used ({reason}); the next choice is used"
    );
}
