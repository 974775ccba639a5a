//! Submitting a prepared step.

use super::error::StepError;
use super::gather::gather;
use super::prepare::Ready;
use super::report::StepReport;
use super::{HiMuon, ParameterStep, Protection, TornStep};
use crate::backend::BackendError;
use crate::error::Error;

impl HiMuon {
    pub(super) fn commit(
        &mut self,
        ready: Ready,
        parameters: &mut [ParameterStep<'_>],
    ) -> Result<StepReport, Error> {
        let mut report = StepReport {
            step: self.step,
            non_finite_parameters: ready.non_finite_parameters,
            skipped_for: ready.skipped_for,
            ..StepReport::default()
        };
        if ready.skipped_for.is_none()
            && let Err((launched, total, source)) = self.submit(&ready, parameters, &mut report)
        {
            return Err(self.failed(parameters, launched, total, source).into());
        }
        report.missing_gradients = ready.missing_gradients;
        self.step += 1;
        Ok(report)
    }

    fn submit(
        &mut self,
        ready: &Ready,
        parameters: &mut [ParameterStep<'_>],
        report: &mut StepReport,
    ) -> Result<(), (usize, usize, BackendError)> {
        let mut work = gather(&mut self.parameters, &self.groups, ready, parameters);
        let chunks = work.launches.iter().flatten();
        let total = chunks.filter(|chunk| !chunk.is_empty()).count()
            + usize::from(!work.elementwise.is_empty());
        for (launch, chunks) in ready.plan.launches.iter().zip(&mut work.launches) {
            for matrices in chunks.iter_mut().filter(|chunk| !chunk.is_empty()) {
                let done = self
                    .backend
                    .launch(launch, matrices)
                    .map_err(|source| (report.launches, total, source))?;
                report.launches += 1;
                report.tiles += done.tiles;
                report.non_finite_tiles += done.non_finite_tiles;
                report.unorthogonalised_tiles += done.unorthogonalised_tiles;
            }
        }
        if !work.elementwise.is_empty() {
            self.backend
                .adamw(&mut work.elementwise)
                .map_err(|source| (report.launches, total, source))?;
            report.launches += 1;
        }
        Ok(())
    }

    /// Puts a snapshot back, or marks the optimizer as torn.
    fn failed(
        &mut self,
        parameters: &mut [ParameterStep<'_>],
        launched: usize,
        total: usize,
        source: BackendError,
    ) -> StepError {
        if self.protection == Protection::Snapshot
            && let Some(snapshot) = &self.snapshot
        {
            snapshot.restore(&mut self.parameters, parameters);
            return StepError::Restored {
                launched,
                total,
                source,
            };
        }
        self.torn = Some(TornStep { launched, total });
        StepError::Torn {
            launched,
            total,
            source,
        }
    }
}
