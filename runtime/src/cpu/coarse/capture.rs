//! The coarse computation of all matrices of a launch, phase by phase: every phase is one list of work for all threads.

use super::matrix::{Captured, CoarseMatrix, LeftFactor, ReadBasis, RightFactor};
use super::skinny::{ColumnBlock, RowBlock, Whole, block_edge};
use super::small::SmallMap;
use crate::cpu::pool::Pool;
use crate::cpu::simd::{InstructionSet, Line, Shared};
use std::sync::atomic::{AtomicBool, Ordering};

/// What became of a matrix's coarse part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Capture {
    /// Gradient or momentum holds a NaN or an infinity, or numbers so large that a product with them does: the basis is
    /// kept.
    NonFinite,
    /// A zero matrix, or one without a part in the span of the basis.
    Nothing,
    Captured(Captured),
}

/// Who computes, and with what.
#[derive(Clone, Copy)]
pub(super) struct Crew<'a> {
    pub(super) set: InstructionSet,
    pub(super) pool: &'a Pool,
    /// Divided among the threads.
    scratch: Shared<Line>,
    lines: usize,
}

impl<'a> Crew<'a> {
    pub(super) fn new(set: InstructionSet, pool: &'a Pool, scratch: &'a mut [Line]) -> Self {
        Crew {
            set,
            pool,
            scratch: Shared(scratch.as_mut_ptr()),
            lines: scratch.len() / pool.threads(),
        }
    }

    /// Where the scratch of a thread begins.
    pub(super) fn scratch(&self, worker: usize) -> *mut f32 {
        // SAFETY: worker < threads, so that the part lies inside the scratch.
        unsafe { self.scratch.at(worker * self.lines).cast() }
    }

    /// Calls `task(worker, list, unit)` for each unit below `counts[list]` of every list.
    pub(super) fn for_each(&self, counts: &[usize], task: impl Fn(usize, usize, usize) + Sync) {
        let mut firsts = Vec::with_capacity(counts.len());
        let mut total = 0;
        for count in counts {
            firsts.push(total);
            total += count;
        }
        self.pool.for_each(total, |worker, unit| {
            // Lists without units share their first with the next: the last of equals has it.
            let list = firsts.partition_point(|first| *first <= unit) - 1;
            task(worker, list, unit - firsts[list]);
        });
    }
}

/// Computes P, V' and both left factors of every matrix.
pub(super) fn capture(crew: Crew<'_>, map: &SmallMap, matrices: &[CoarseMatrix]) -> Vec<Capture> {
    let phases = Phases {
        crew,
        matrices,
        finite: matrices.iter().map(|_| AtomicBool::new(true)).collect(),
    };
    phases.for_each_matrix(|matrix| crew.set.with(ReadBasis(matrix)));
    phases.left_products();
    phases.left_factors();
    phases.right_products();
    let found = phases.right_factors(map);
    found
        .into_iter()
        .map(|found| match found {
            None => Capture::NonFinite,
            Some(captured) if captured.strength > 0.0 => Capture::Captured(captured),
            Some(_) => Capture::Nothing,
        })
        .collect()
}

/// The matrices on their way through the phases.
struct Phases<'a> {
    crew: Crew<'a>,
    matrices: &'a [CoarseMatrix],
    /// Whether M and the products with it are, as far as they are known.
    finite: Vec<AtomicBool>,
}

impl Phases<'_> {
    /// One unit for each matrix that is still finite.
    fn for_each_matrix(&self, task: impl Fn(&CoarseMatrix) + Sync) {
        self.for_each_unit(|_| 1, |_, number, _| task(&self.matrices[number]));
    }

    /// Calls `task(worker, matrix, unit)` for each unit of the matrices that are still finite.
    fn for_each_unit(
        &self,
        units: impl Fn(&CoarseMatrix) -> usize,
        task: impl Fn(usize, usize, usize) + Sync,
    ) {
        let flagged = self.matrices.iter().zip(&self.finite);
        let counts: Vec<usize> = flagged
            .map(|(matrix, finite)| match finite.load(Ordering::Relaxed) {
                true => units(matrix),
                false => 0,
            })
            .collect();
        self.crew.for_each(&counts, task);
    }

    /// M V.
    fn left_products(&self) {
        let blocks = |matrix: &CoarseMatrix| {
            let Whole { rows, columns } = size(matrix);
            rows.div_ceil(block_edge(columns))
        };
        self.for_each_unit(blocks, |worker, number, block| {
            let matrix = &self.matrices[number];
            let non_finite = self.crew.set.with(RowBlock {
                source: &matrix.source,
                matrix: size(matrix),
                number: block,
                right: matrix.buffers.wide[0],
                output: matrix.buffers.tall[0],
                panels: matrix.extent.panels(),
                scratch: self.crew.scratch(worker),
            });
            if non_finite {
                self.finite[number].store(false, Ordering::Relaxed);
            }
        });
    }

    /// P.
    fn left_factors(&self) {
        self.for_each_unit(
            |_| 1,
            |_, number, _| {
                if !self.crew.set.with(LeftFactor(&self.matrices[number])) {
                    self.finite[number].store(false, Ordering::Relaxed);
                }
            },
        );
    }

    /// M^T P, where the basis moves.
    fn right_products(&self) {
        let blocks = |matrix: &CoarseMatrix| {
            let Whole { rows, columns } = size(matrix);
            if matrix.refresh {
                columns.div_ceil(block_edge(rows))
            } else {
                0
            }
        };
        self.for_each_unit(blocks, |worker, number, block| {
            let matrix = &self.matrices[number];
            self.crew.set.with(ColumnBlock {
                source: &matrix.source,
                matrix: size(matrix),
                number: block,
                right: matrix.buffers.tall[0],
                output: matrix.buffers.wide[1],
                panels: matrix.extent.panels(),
                scratch: self.crew.scratch(worker),
            });
        });
    }

    /// V', the r x r map and both left factors; nothing where a number is not finite.
    fn right_factors(&self, map: &SmallMap) -> Vec<Option<Captured>> {
        let mut captured = vec![None; self.matrices.len()];
        let places = Shared(captured.as_mut_ptr());
        self.for_each_unit(
            |_| 1,
            |_, number, _| {
                let found = self.crew.set.with(RightFactor(&self.matrices[number], map));
                // SAFETY: one place for each matrix.
                unsafe { *places.at(number) = found }
            },
        );
        captured
    }
}

fn size(matrix: &CoarseMatrix) -> Whole {
    Whole {
        rows: matrix.extent.rows,
        columns: matrix.extent.columns,
    }
}
