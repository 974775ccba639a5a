//! What becomes of readings: callbacks, warnings, larger tiles.

use super::Read;
use super::options::{DriftPolicy, ProbeOptions, ProbeReading};
use crate::error::Error;
use crate::memory::Memory;
use crate::optimizer::HiMuon;
use crate::optimizer::group::{GroupOptions, MuonOptions};
use crate::optimizer::parameter::{MatrixView, Parameter};

impl<M: Memory> HiMuon<M> {
    /// Warns, raises, and hands the readings on; once the step is done.
    pub(in crate::optimizer) fn settle(&mut self, readings: Vec<Read>) {
        let Some(options) = self.probe.clone() else {
            return;
        };
        for Read {
            parameter,
            mut reading,
        } in readings
        {
            if reading
                .whole_cosine
                .is_some_and(|cosine| cosine < options.threshold)
            {
                self.drifted(parameter, &options, &mut reading);
            }
            if let Some(callback) = &options.callback {
                callback(&reading);
            }
        }
    }

    fn drifted(&mut self, index: usize, options: &ProbeOptions, reading: &mut ProbeReading) {
        let advice = match self.next_larger(index, &reading.tile) {
            Some((spec, tile)) if options.policy == DriftPolicy::RaiseTile => {
                match self.raise(index, spec) {
                    Ok(()) => {
                        let advice = format!("from the next step on it gets tile {tile}");
                        reading.raised_to = Some(tile);
                        advice
                    }
                    Err(error) => format!("it cannot get tile {tile}: {error}"),
                }
            }
            Some((_, tile)) => format!("its group declares tile {tile}, which would be closer"),
            None => "declare a larger tile for it".to_owned(),
        };
        let parameter = &mut self.parameters[index];
        let cosine = reading.whole_cosine.unwrap_or(f64::NAN);
        if !parameter.drift_named {
            let warning = format!(
                "{}: at step {} the update of tile {} has a cosine of {cosine:.3} to that of the whole matrix, \
                 below {}; {advice}",
                parameter.name, reading.step, reading.tile, options.threshold
            );
            tracing::warn!("{warning}");
            self.warnings.push(warning);
            parameter.drift_named = true;
        }
    }

    /// Gives a parameter a larger tile, where the next step can be planned with it.
    fn raise(&mut self, index: usize, spec: usize) -> Result<(), Error> {
        let before = self.parameters[index].raised.replace(spec);
        let planned = self.planned(self.step);
        if planned.is_err() {
            self.parameters[index].raised = before;
        }
        planned.map(|_| ())
    }

    /// The smallest declared tile that covers more of a parameter's matrix than `tile` does.
    fn next_larger(&self, index: usize, tile: &str) -> Option<(usize, String)> {
        let parameter = &self.parameters[index];
        let view = parameter.matrices?;
        let GroupOptions::Muon(options) = &self.groups[parameter.group].options else {
            return None;
        };
        let text = |spec: usize| view.spec(&options.specs[spec]).tile.to_string();
        let present = (0..options.specs.len()).find(|spec| text(*spec) == tile)?;
        let area = |spec: &usize| covered(options, view, *spec);
        (0..options.specs.len())
            .filter(|spec| area(spec) > area(&present))
            .min_by_key(area)
            .map(|spec| (spec, text(spec)))
    }
}

impl<M: Memory> Parameter<M> {
    /// The specification of a step: the schedule's, or the raised one where that covers more.
    pub(in crate::optimizer) fn spec_in(
        &self,
        options: &MuonOptions,
        view: MatrixView,
        scheduled: usize,
    ) -> usize {
        match self.raised {
            Some(raised) if covered(options, view, raised) > covered(options, view, scheduled) => {
                raised
            }
            _ => scheduled,
        }
    }
}

/// Elements of a matrix that one whole tile covers.
fn covered(options: &MuonOptions, view: MatrixView, spec: usize) -> usize {
    let tile = view.spec(&options.specs[spec]).tile;
    let (rows, columns) = tile.effective(view.rows, view.columns);
    rows * columns
}
