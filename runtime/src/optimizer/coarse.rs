//! The coarse part over the steps: when its basis moves, and with which rank.

use std::fmt;

use himuon_templates::KernelSpec;

use super::HiMuon;
use super::error::BuildError;
use super::group::MuonOptions;
use super::parameter::MatrixView;
use crate::coarse::coarse_rank;
use crate::launch::{CoarseBasis, CoarseFigures};
use crate::memory::Memory;
use crate::tensor::TensorView;

/// The default factor of the coarse part beside the tiles.
pub(super) const COARSE_FACTOR: f64 = 0.5;

/// The momentum of what the coarse part holds, where that of all is not less: the leading directions change sooner than the
/// rest. With a momentum of 0.95 of all, 0.8 trains better than 0.95, 0.7 and 0.6 (`docs/two-levels.md`).
pub(super) const COARSE_MOMENTUM: f64 = 0.8;

/// When the basis of a coarse part moves, and with which rank. Steps count from 0.
///
/// ```
/// use himuon::optimizer::CoarseSchedule;
/// // A power iteration every fourth step; rank 64 for a thousand steps, then 16.
/// let schedule = CoarseSchedule::refresh_every(4).ranks([(0, 64), (1000, 16)]);
/// assert_eq!(schedule.to_string(), "refresh every 4 steps, rank 64 from step 0, 16 from step 1000");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoarseSchedule {
    refresh: u64,
    ranks: Vec<(u64, u32)>,
}

impl Default for CoarseSchedule {
    fn default() -> Self {
        CoarseSchedule::refresh_every(1)
    }
}

impl CoarseSchedule {
    /// A power iteration at the steps 0, n, 2n, ...; in between the basis stands still, which saves one of the two
    /// products with the matrix.
    pub const fn refresh_every(steps: u64) -> Self {
        CoarseSchedule {
            refresh: steps,
            ranks: Vec::new(),
        }
    }

    /// Each `(step, rank)` holds from its step until the next; before the first, the specification's own rank. A rank
    /// above the specification's is cut to it, 0 stands for tiles alone. A rank that grows again starts the new columns
    /// of the basis from their seeds.
    pub fn ranks(mut self, ranks: impl IntoIterator<Item = (u64, u32)>) -> Self {
        self.ranks = ranks.into_iter().collect();
        self
    }

    pub(crate) fn check(&self, group: &str) -> Result<(), BuildError> {
        if self.refresh == 0 {
            return Err(BuildError::CoarseRefresh {
                group: group.to_owned(),
            });
        }
        if self.ranks.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(BuildError::CoarseRanks {
                group: group.to_owned(),
                found: self.ranks.iter().map(|(step, _)| *step).collect(),
            });
        }
        Ok(())
    }

    /// What holds at `step`.
    pub(crate) fn phase(&self, step: u64) -> CoarsePhase {
        let after = self.ranks.partition_point(|(from, _)| *from <= step);
        CoarsePhase {
            refresh: step.is_multiple_of(self.refresh.max(1)),
            rank: after.checked_sub(1).map(|last| self.ranks[last].1),
        }
    }
}

impl CoarseSchedule {
    /// The steps from which on another rank holds.
    pub(super) fn known_steps(&self) -> impl Iterator<Item = u64> {
        self.ranks.iter().map(|(step, _)| *step)
    }
}

impl fmt::Display for CoarseSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refresh {
            1 => f.write_str("refresh every step")?,
            steps => write!(f, "refresh every {steps} steps")?,
        }
        for (index, (step, rank)) in self.ranks.iter().enumerate() {
            let word = if index == 0 { " rank" } else { "" };
            write!(f, ",{word} {rank} from step {step}")?;
        }
        Ok(())
    }
}

/// The coarse part of a group at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CoarsePhase {
    /// Whether the basis moves.
    pub(crate) refresh: bool,
    /// At most this rank; `None`: the specification's own.
    pub(crate) rank: Option<u32>,
}

impl CoarsePhase {
    /// As the specification says, with a refresh.
    pub(crate) const DECLARED: CoarsePhase = CoarsePhase {
        refresh: true,
        rank: None,
    };

    /// The specification of this step.
    pub(crate) fn apply(self, spec: &mut KernelSpec) {
        if let Some(rank) = self.rank {
            spec.coarse = spec.coarse.with_rank(rank.min(spec.coarse.rank()));
        }
    }
}

/// Columns of the basis that each matrix of a parameter keeps: the largest rank of any specification of its group.
pub(crate) fn basis_columns(options: &MuonOptions, view: MatrixView) -> usize {
    let specs = options.specs.iter();
    specs
        .map(|spec| coarse_rank(&view.spec(spec), view.rows, view.columns))
        .max()
        .unwrap_or(0)
}

/// Numbers of the bases of all matrices of a parameter.
pub(crate) fn basis_len(options: &MuonOptions, view: MatrixView) -> usize {
    view.count * view.columns * basis_columns(options, view)
}

/// The basis of each matrix of a parameter, one after the other; none without a coarse part.
pub(crate) fn bases<'a, M: Memory>(
    buffer: &'a mut M::Buffer,
    view: MatrixView,
    (refresh, figures): (bool, &'a mut [CoarseFigures]),
) -> Vec<CoarseBasis<'a, M>> {
    let capacity = M::whole(buffer).len() / (view.count * view.columns).max(1);
    if capacity == 0 {
        return Vec::new();
    }
    let mut figures = figures.iter_mut();
    let values = M::moments(buffer, view.columns * capacity).into_iter();
    values
        .map(|values| CoarseBasis {
            values,
            capacity,
            refresh,
            figures: figures.next(),
        })
        .collect()
}

impl<M: Memory> HiMuon<M> {
    /// What the coarse part of each matrix of a parameter held at the last step in which it took part. Empty unless the
    /// optimizer was built with [`diagnostics`](super::HiMuonBuilder::diagnostics), and without a coarse part.
    pub fn coarse_figures(&self, parameter: usize) -> &[CoarseFigures] {
        let parameter = self.parameters.get(parameter);
        parameter.map_or(&[], |parameter| parameter.coarse_figures.as_slice())
    }

    /// At least this share of the nuclear norm of each matrix lies in its coarse part at p = 0: what it holds beside what
    /// the rest E can have at most, `sqrt(min(H, W) - r) ||E||_F`, with ||E||_F from the tiles. A small share asks for a
    /// larger rank of the layer, one near 1 allows a smaller. As [`HiMuon::coarse_figures`], at the same step.
    pub fn captured_shares(&self, parameter: usize) -> Vec<f64> {
        let Some((parameter, view)) = self
            .parameters
            .get(parameter)
            .and_then(|parameter| Some((parameter, parameter.matrices?)))
        else {
            return Vec::new();
        };
        let tiles = (parameter.diagnostics.len() / view.count.max(1)).max(1);
        let figures = parameter.coarse_figures.iter();
        figures
            .zip(parameter.diagnostics.chunks_exact(tiles))
            .map(|(figures, tiles)| {
                let squares: f64 = tiles.iter().map(|tile| f64::from(tile.norm).powi(2)).sum();
                let held = f64::from(figures.nuclear_norm);
                let rest = view.rows.min(view.columns).saturating_sub(figures.rank) as f64;
                let most = held + (rest * squares).sqrt();
                if most > 0.0 { held / most } else { 0.0 }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_the_schedule() {
        let schedule = CoarseSchedule::refresh_every(3).ranks([(2, 16), (5, 0)]);
        assert!(schedule.check("*").is_ok());
        let phases: Vec<_> = (0..7).map(|step| schedule.phase(step)).collect();
        let refreshes: Vec<_> = phases.iter().map(|phase| phase.refresh).collect();
        assert_eq!(refreshes, [true, false, false, true, false, false, true]);
        let ranks: Vec<_> = phases.iter().map(|phase| phase.rank).collect();
        assert_eq!(
            ranks,
            [None, None, Some(16), Some(16), Some(16), Some(0), Some(0)]
        );
    }

    #[test]
    fn a_schedule_that_cannot_be_is_refused() {
        assert!(CoarseSchedule::refresh_every(0).check("*").is_err());
        let twice = CoarseSchedule::default().ranks([(4, 8), (4, 16)]);
        assert!(twice.check("*").unwrap_err().to_string().contains("[4, 4]"));
    }
}
