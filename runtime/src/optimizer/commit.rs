//! Submitting a prepared step.

use super::buffers::ParameterState;
use super::error::StepError;
use super::gather::gather;
use super::prepare::Ready;
use super::report::StepReport;
use super::{HiMuon, ParameterStep, Protection, TornStep};
use crate::backend::BackendError;
use crate::error::Error;
use crate::memory::Memory;

/// A step that was not submitted to its end.
struct Failure {
    /// Launches before the one that failed; `None`: it had not come to any.
    launched: Option<usize>,
    /// Launches of the step.
    total: usize,
    source: BackendError,
}

impl<M: Memory> HiMuon<M> {
    pub(super) fn commit(
        &mut self,
        ready: Ready,
        parameters: &mut [ParameterStep<'_, M>],
    ) -> Result<StepReport, Error> {
        let mut report = StepReport {
            step: self.step,
            non_finite_parameters: ready.non_finite_parameters,
            skipped_for: ready.skipped_for,
            ..StepReport::default()
        };
        if ready.skipped_for.is_none() {
            let submitted = self.submit(&ready, parameters, &mut report);
            submitted.map_err(|failure| self.failed(parameters, failure))?;
            self.count_updates(&ready.takes_part);
        }
        self.counts.non_finite_tiles += report.non_finite_tiles as u64;
        self.counts.unorthogonalised_tiles += report.unorthogonalised_tiles as u64;
        self.counts.uncoupled_matrices += report.uncoupled_matrices as u64;
        report.missing_gradients = ready.missing_gradients;
        self.step += 1;
        Ok(report)
    }

    fn submit(
        &mut self,
        ready: &Ready,
        parameters: &mut [ParameterStep<'_, M>],
        report: &mut StepReport,
    ) -> Result<(), Failure> {
        let mut work = gather(&mut self.parameters, &self.groups, ready, parameters);
        let chunks = work.launches.iter().flatten();
        let total = chunks.filter(|chunk| !chunk.is_empty()).count()
            + usize::from(!work.elementwise.is_empty());
        let failed_after = |launched| {
            move |source| Failure {
                launched,
                total,
                source,
            }
        };
        let mut submitted = 0;
        if total > 0 {
            let begun = self.backend.begin_step();
            report.launches += begun.map_err(failed_after(None))?;
        }
        for (launch, chunks) in ready.plan.launches.iter().zip(&mut work.launches) {
            for (chunk, matrices) in launch.chunks.iter().zip(chunks) {
                if matrices.is_empty() {
                    continue;
                }
                let done = self
                    .backend
                    .launch(launch, chunk, matrices)
                    .map_err(failed_after(Some(submitted)))?;
                submitted += 1;
                report.launches += done.kernels;
                report.counts_pending |= done.pending;
                report.tiles += done.tiles;
                report.non_finite_tiles += done.non_finite_tiles;
                report.unorthogonalised_tiles += done.unorthogonalised_tiles;
                report.uncoupled_matrices += done.uncoupled_matrices;
            }
        }
        if !work.elementwise.is_empty() {
            self.backend
                .adamw(&mut work.elementwise)
                .map_err(failed_after(Some(submitted)))?;
            report.launches += 1;
        }
        Ok(())
    }

    /// The update numbers that the next bias corrections go by.
    pub(super) fn count_updates(&mut self, takes_part: &[bool]) {
        for (parameter, takes_part) in self.parameters.iter_mut().zip(takes_part) {
            if let (ParameterState::AdamW { updates, .. }, true) =
                (&mut parameter.state, takes_part)
            {
                *updates += 1;
            }
        }
    }

    /// Takes one update of every parameter back.
    #[cfg(feature = "cuda")]
    pub(super) fn uncount_updates(&mut self) {
        for parameter in &mut self.parameters {
            if let ParameterState::AdamW { updates, .. } = &mut parameter.state {
                *updates = updates.saturating_sub(1);
            }
        }
    }

    /// Puts a snapshot back, or marks the optimizer as torn where anything may have changed.
    fn failed(&mut self, parameters: &mut [ParameterStep<'_, M>], failure: Failure) -> Error {
        let Failure {
            launched: begun,
            total,
            source,
        } = failure;
        let launched = begun.unwrap_or(0);
        if matches!(source, BackendError::Device { lost: true, .. }) {
            // The snapshot lies in the memory that is gone.
            self.torn = Some(TornStep { launched, total });
            return StepError::Lost { source }.into();
        }
        let refused = matches!(source, BackendError::Refused { .. });
        if begun.is_none() || (launched == 0 && refused) {
            return source.into();
        }
        if self.protection == Protection::Snapshot
            && let Some(snapshot) = &self.snapshot
        {
            let allocator = self.backend.allocator();
            match snapshot.restore(&allocator, &mut self.parameters, parameters) {
                Ok(()) => {
                    return StepError::Restored {
                        launched,
                        total,
                        source,
                    }
                    .into();
                }
                Err(error) => tracing::error!("the snapshot cannot be put back: {error}"),
            }
        }
        self.torn = Some(TornStep { launched, total });
        StepError::Torn {
            launched,
            total,
            source,
        }
        .into()
    }
}
