//! Scratch memory that lives from step to step.

use super::error::CpuError;
use super::job::Outcome;
use super::simd::Line;
use std::collections::TryReserveError;

/// Scratch memory; grows to what a launch needs and is kept for the next one.
#[derive(Debug, Default)]
pub struct Workspace {
    scratch: Vec<Line>,
    mapped: Vec<Line>,
    outcomes: Vec<Outcome>,
    rows: Vec<f64>,
    coarse: Vec<Line>,
    limit: Option<usize>,
}

/// How much of each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Lines that the threads divide among themselves.
    pub(super) scratch: usize,
    /// Lines of a mapped matrix.
    pub(super) mapped: usize,
    /// Tiles whose outcome is kept.
    pub(super) outcomes: usize,
    /// Rows whose factor is kept.
    pub(super) rows: usize,
    /// Lines of the coarse parts of all matrices.
    pub(super) coarse: usize,
}

/// The parts, each of any content.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) scratch: &'a mut [Line],
    pub(super) mapped: &'a mut [Line],
    pub(super) outcomes: &'a mut [Outcome],
    pub(super) rows: &'a mut [f64],
    pub(super) coarse: &'a mut [Line],
}

impl Needs {
    /// Enough for either.
    pub(super) fn max(self, other: Needs) -> Needs {
        Needs {
            scratch: self.scratch.max(other.scratch),
            mapped: self.mapped.max(other.mapped),
            outcomes: self.outcomes.max(other.outcomes),
            rows: self.rows.max(other.rows),
            coarse: self.coarse.max(other.coarse),
        }
    }

    pub(super) fn bytes(self) -> usize {
        (self.scratch + self.mapped + self.coarse) * size_of::<Line>()
            + self.outcomes * size_of::<Outcome>()
            + self.rows * size_of::<f64>()
    }
}

impl Workspace {
    /// Nothing allocated yet.
    pub fn new() -> Self {
        Workspace::default()
    }

    /// Never holds more than `bytes`, as long as each launch needs no more: what one launch has left is
    /// given back where it and the next one's would pass the limit together.
    pub fn limit(&mut self, bytes: usize) {
        self.limit = Some(bytes);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let lines = self.scratch.capacity() + self.mapped.capacity() + self.coarse.capacity();
        lines * size_of::<Line>()
            + self.outcomes.capacity() * size_of::<Outcome>()
            + self.rows.capacity() * size_of::<f64>()
    }

    /// Grows the parts that are too small.
    pub(super) fn reserve(&mut self, needs: Needs) -> Result<(), CpuError> {
        let together = Needs {
            scratch: needs.scratch.max(self.scratch.capacity()),
            mapped: needs.mapped.max(self.mapped.capacity()),
            outcomes: needs.outcomes.max(self.outcomes.capacity()),
            rows: needs.rows.max(self.rows.capacity()),
            coarse: needs.coarse.max(self.coarse.capacity()),
        };
        if self.limit.is_some_and(|limit| together.bytes() > limit) {
            release(&mut self.scratch, needs.scratch);
            release(&mut self.mapped, needs.mapped);
            release(&mut self.outcomes, needs.outcomes);
            release(&mut self.rows, needs.rows);
            release(&mut self.coarse, needs.coarse);
        }
        let out_of_memory = |_| CpuError::OutOfMemory {
            bytes: needs.bytes(),
        };
        grow(&mut self.scratch, needs.scratch, Line::ZERO).map_err(out_of_memory)?;
        grow(&mut self.mapped, needs.mapped, Line::ZERO).map_err(out_of_memory)?;
        grow(&mut self.outcomes, needs.outcomes, Outcome::default()).map_err(out_of_memory)?;
        grow(&mut self.rows, needs.rows, 0.0).map_err(out_of_memory)?;
        grow(&mut self.coarse, needs.coarse, Line::ZERO).map_err(out_of_memory)
    }

    /// The parts, grown where they are too small.
    pub(super) fn parts(&mut self, needs: Needs) -> Result<Parts<'_>, CpuError> {
        self.reserve(needs)?;
        #[cfg(test)]
        self.poison();
        Ok(Parts {
            scratch: &mut self.scratch[..needs.scratch],
            mapped: &mut self.mapped[..needs.mapped],
            outcomes: &mut self.outcomes[..needs.outcomes],
            rows: &mut self.rows[..needs.rows],
            coarse: &mut self.coarse[..needs.coarse],
        })
    }

    /// Fills everything with NaN, so that tests see every number that is used before it is written.
    #[cfg(test)]
    fn poison(&mut self) {
        self.scratch.fill(Line([f32::NAN; super::simd::LANES]));
        self.mapped.fill(Line([f32::NAN; super::simd::LANES]));
        self.rows.fill(f64::NAN);
        self.coarse.fill(Line([f32::NAN; super::simd::LANES]));
    }
}

fn grow<T: Clone>(part: &mut Vec<T>, length: usize, filler: T) -> Result<(), TryReserveError> {
    if part.len() < length {
        // Nothing is worth copying: the old part goes first.
        *part = Vec::new();
        part.try_reserve_exact(length)?;
        part.resize(length, filler);
    }
    Ok(())
}

fn release<T>(part: &mut Vec<T>, length: usize) {
    if part.capacity() > length {
        *part = Vec::new();
    }
}
