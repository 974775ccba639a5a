//! The time of a variant before anything runs: cycles of the products, piece by piece.
//!
//! A product is computed in pieces of rows x panels register blocks, one line of sixteen numbers each. A term of a
//! piece's sums lasts as long as its slowest part: its fused multiply-adds, the loads of `panels` lines and of `rows`
//! single numbers, or the chain of additions of one sum. Each piece costs a start, its stores and, in a symmetric
//! product, the turn of its mirror image; lines that the first level of cache does not hold add a part of their way
//! from the second. The tensors come from memory once, behind the products as far as they are asked for ahead.
//!
//! The figures of the [`Core`] are measured by a probe where there is time for one.

use himuon_templates::{KernelSpec, StepTable};

use super::core::{Core, LATENCY};
use crate::cpu::{CpuVariant, InstructionSet, MOST_AHEAD, pass_length, tiles_at_a_time};

/// Cycles to begin and end a piece: the sums drain before they are stored.
const PIECE: f64 = 16.0;
/// Cycles for each line that a piece stores.
const STORE: f64 = 1.0;
/// Cycles to turn eight rows of a block into their mirror image.
const MIRROR: f64 = 12.0;
/// Cycles of latency, for each block of a pass over a tile, that other tiles of a batch hide.
const STALL: f64 = 64.0;
/// Part of the first level of cache that a batch has to itself.
const OWN: f64 = 5.0 / 6.0;
/// Part of a line's way from the second level that stands beside the arithmetic.
const WAIT: f64 = 0.3;
/// Part of the traffic that stands beside the products in spite of being asked for ahead.
const EXPOSED: f64 = 0.4;

/// Cycles to bring a number of a tile into its lane, normalise it and bring it back.
const ENTER: f64 = 0.75;

/// Seconds of one step over a launch of matrices of these shapes on `threads` threads.
pub(super) fn seconds(
    spec: &KernelSpec,
    table: &StepTable,
    variant: CpuVariant,
    shapes: &[(usize, usize)],
    threads: usize,
    core: &Core,
) -> f64 {
    let total: f64 = shapes
        .iter()
        .map(|&(rows, columns)| {
            let (height, width) = spec.tile.effective(rows, columns);
            let tile = Oriented {
                rows: height.max(width),
                columns: height.min(width),
                variant,
                interleaved: fills_lanes(variant, rows / height.max(1), columns / width.max(1))
                    && variant.interleaves(table, spec.mode, &spec.criterion, (height, width)),
                core,
            };
            let tiles =
                (rows as f64 / height.max(1) as f64) * (columns as f64 / width.max(1) as f64);
            let bytes = 5 * rows * columns * spec.storage.momentum.bytes();
            let exposed = if tile.asks_ahead() { EXPOSED } else { 1.0 };
            tiles * tile.cycles(table) / core.clock + exposed * bytes as f64 / core.memory
        })
        .sum();
    total / threads.max(1) as f64
}

/// Whether batches of a matrix of so many rows and columns of tiles fill most of the lanes.
fn fills_lanes(variant: CpuVariant, down: usize, across: usize) -> bool {
    let lanes = variant.instruction_set.interleaved_tiles();
    let batch = match across {
        0 => 0,
        _ if across >= lanes => lanes,
        _ => across * down.min(lanes / across),
    };
    3 * batch >= 2 * lanes
}

/// A tile with its longer side first.
struct Oriented<'a> {
    rows: usize,
    columns: usize,
    variant: CpuVariant,
    /// Whether tiles share registers.
    interleaved: bool,
    core: &'a Core,
}

impl Oriented<'_> {
    fn panels(&self) -> usize {
        self.columns.div_ceil(16)
    }

    /// Whether register blocks span panels.
    fn wide(&self) -> bool {
        self.variant.instruction_set == InstructionSet::Avx512
    }

    fn cycles(&self, table: &StepTable) -> f64 {
        let (gram, square, update) = match self.interleaved {
            true => (
                self.lanes(self.triangle(), self.rows),
                self.lanes(self.triangle(), self.columns),
                self.lanes(self.rows * self.columns, self.columns),
            ),
            false => (
                self.symmetric(self.rows),
                self.symmetric(self.columns),
                self.update(),
            ),
        };
        let products: f64 = match table {
            StepTable::Odd(steps) | StepTable::Turbo(steps) => steps
                .iter()
                .map(|step| gram + update + if step[2] == 0.0 { 0.0 } else { square })
                .sum(),
            StepTable::Fitted(steps) => steps.len() as f64 * (gram + 2.0 * update),
            StepTable::Authors { steps, .. } => f64::from(*steps) * (gram + update),
            StepTable::Coupled { m, n, steps } => {
                steps.len() as f64 * (gram + f64::from(m + n) * update)
            }
            StepTable::Identity => 0.0,
        };
        if self.interleaved {
            return products + ENTER * (self.rows * self.columns) as f64;
        }
        let blocks = (self.panels() * self.panels()) as f64;
        products + 3.0 * table.steps() as f64 * blocks * STALL / self.batch() as f64
    }

    /// Numbers on and above the diagonal of the Gram matrix.
    fn triangle(&self) -> usize {
        self.columns * (self.columns + 1) / 2
    }

    /// Cycles of so many sums of `depth` terms where every tile has a lane: no term waits, each sum is stored.
    fn lanes(&self, sums: usize, depth: usize) -> f64 {
        sums as f64 / 16.0 * (depth as f64 / self.core.fused + STORE)
    }

    /// Tiles that are worked on together.
    fn batch(&self) -> usize {
        if self.interleaved {
            return self.variant.instruction_set.interleaved_tiles();
        }
        tiles_at_a_time(self.variant.batch.into(), self.rows, self.columns)
    }

    fn asks_ahead(&self) -> bool {
        self.variant.ahead && self.batch() * self.rows * self.columns <= MOST_AHEAD
    }

    /// Cycles that a term waits for each of its lines, where a batch's buffers and tensors do not fit the first level.
    fn wait(&self) -> f64 {
        let buffers = 4 * (2 * self.rows + self.columns) * 16 * self.panels();
        let tensors = 3 * 4 * self.rows * self.columns;
        let bytes = ((buffers + tensors) * self.batch()) as f64;
        match bytes <= OWN * self.core.first_level_bytes as f64 {
            true => 0.0,
            false => WAIT / self.core.second_level,
        }
    }

    /// Panels of the pieces that cover all of them, as the kernels group them.
    fn groups(&self, width: u8) -> Vec<usize> {
        let width = usize::from(width);
        let mut left = self.panels();
        let mut groups = Vec::new();
        while left > 0 {
            let group = match left {
                left if left <= width => left,
                left if left == width + 1 && width > 2 => left.div_ceil(2),
                _ => width,
            };
            groups.push(group);
            left -= group;
        }
        groups
    }

    /// What it takes to load one number, of what a line takes: two loads where a line is two registers.
    fn single(&self) -> f64 {
        if self.wide() { 1.0 } else { 0.5 }
    }

    /// Cycles of one piece over a sum of `depth` terms, of which `mirrored` blocks of eight rows are turned.
    fn piece(&self, rows: usize, panels: usize, depth: usize, mirrored: usize) -> f64 {
        let blocks = (rows * panels) as f64;
        let lines = panels as f64 + rows as f64 / 16.0;
        let loads = panels as f64 + rows as f64 * self.single();
        self.sum(blocks, loads, lines, depth) + mirrored as f64 * MIRROR
    }

    /// Eight rows of the block on the diagonal with `panels` panels beside, and its corner of half as many numbers.
    fn corner(&self, panels: usize, depth: usize) -> f64 {
        let blocks = (8 * panels + 4) as f64;
        let loads = (8 + panels + 5) as f64;
        self.sum(blocks, loads, (panels + 1) as f64, depth) + panels as f64 * MIRROR
    }

    fn sum(&self, blocks: f64, loads: f64, lines: f64, depth: usize) -> f64 {
        let term = (blocks / self.core.fused)
            .max(loads / self.core.first_level)
            .max(LATENCY)
            + lines * self.wait();
        let sum = usize::from(self.variant.blocking.sum);
        let pass = if self.wide() {
            pass_length(depth, sum)
        } else {
            sum
        };
        let passes = depth.div_ceil(pass.max(1)) as f64;
        // Sums that pause are stored and loaded again.
        depth as f64 * term + passes * PIECE + (2.0 * passes - 1.0) * blocks * STORE
    }

    /// B^T B with sums of `depth`: blocks on and above the diagonal.
    fn symmetric(&self, depth: usize) -> f64 {
        if !self.wide() {
            return self.narrow_symmetric(depth);
        }
        let mut cycles = 0.0;
        let mut first = 0;
        for panels in self.groups(self.variant.blocking.symmetric) {
            cycles += 2.0 * first as f64 * self.piece(8, panels, depth, panels);
            if panels >= 3 {
                cycles += self.piece(8, 3, depth, 2) + self.corner(2, depth);
            }
            if panels >= 2 {
                cycles += self.piece(8, 2, depth, 1) + self.corner(1, depth);
            }
            cycles += self.corner(1, depth);
            first += panels;
        }
        cycles
    }

    /// As [`Self::symmetric`] in pieces of one panel.
    fn narrow_symmetric(&self, depth: usize) -> f64 {
        let panels = self.panels() as f64;
        let above = panels * (panels - 1.0) / 2.0;
        let piece = |rows| self.piece(rows, 1, depth, 0);
        // Of eight rows and four vectors of the corner, which load eight numbers.
        let corner = |beside: f64| {
            let loads = (8.0 + beside) * self.single() + 1.0;
            self.sum(beside + 4.0, loads, 1.0, depth) + 8.0 * STORE
        };
        let (block, diagonal) = match self.variant.blocking.symmetric {
            4 => (4.0 * piece(4), 2.0 * piece(4) + corner(0.0)),
            5 => (piece(6) + 2.0 * piece(5), piece(6) + corner(2.0)),
            _ => (2.0 * piece(6) + piece(4), piece(6) + corner(2.0)),
        };
        above * (block + 4.0 * MIRROR) + panels * (diagonal + MIRROR)
    }

    /// X times a symmetric matrix.
    fn update(&self) -> f64 {
        let depth = self.columns;
        if !self.wide() {
            return self.panels() as f64 * self.narrow_column(depth);
        }
        let groups = self.groups(self.variant.blocking.update).into_iter();
        let cycles = groups.map(|panels| {
            let rows = match panels {
                1 => 16,
                2 => 12,
                3 => 8,
                _ => 6,
            };
            let (whole, mut rest) = (self.rows / rows, self.rows % rows);
            let mut cycles = whole as f64 * self.piece(rows, panels, depth, 0);
            // The last pieces have eight rows or four.
            while rows > 8 && rest > 4 {
                cycles += self.piece(8, panels, depth, 0);
                rest = rest.saturating_sub(8);
            }
            cycles + rest.div_ceil(4) as f64 * self.piece(4, panels, depth, 0)
        });
        cycles.sum()
    }

    /// One panel of X times a symmetric matrix, in pieces of one panel.
    fn narrow_column(&self, depth: usize) -> f64 {
        let piece = |rows| self.piece(rows, 1, depth, 0);
        let rows = self.rows;
        match self.variant.blocking.update {
            4 => rows.div_ceil(4) as f64 * piece(4),
            5 => rows.div_ceil(16) as f64 * (piece(6) + 2.0 * piece(5)),
            _ => {
                let (sixes, fours) = match rows % 6 {
                    0 => (rows / 6, 0),
                    2 if rows > 6 => (rows / 6 - 1, 2),
                    5 => (rows / 6 + 1, 0),
                    _ => (rows / 6, 1),
                };
                sixes as f64 * piece(6) + f64::from(fours) * piece(4)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Blocking;
    use himuon_templates::Tile;

    fn time(tile: Tile, variant: CpuVariant, threads: usize) -> f64 {
        let spec = KernelSpec::new(tile);
        let table = spec.step_table().unwrap();
        let core = Core::nominal(variant.instruction_set);
        seconds(&spec, &table, variant, &[(1024, 1024)], threads, &core)
    }

    #[test]
    fn what_the_model_knows() {
        let square = |edge| Tile::square(edge);
        let default = CpuVariant::new(InstructionSet::Avx512);
        let avx512 = |tile| time(tile, default, 1);
        // Work grows with the edge, threads share it, batches hide latency, wide vectors win, and so does asking ahead.
        assert!(avx512(square(64)) < avx512(square(128)));
        assert!(avx512(square(128)) < avx512(Tile::Full));
        assert!(time(square(64), default, 2) < avx512(square(64)));
        let one = CpuVariant {
            batch: 1,
            ..default
        };
        assert!(time(square(32), one, 1) > avx512(square(32)));
        // No panel is padded where every tile has a lane, and only a triangle is computed.
        let alone = CpuVariant {
            interleaved: false,
            ..default
        };
        for edge in [4, 8, 16] {
            assert!(time(square(edge), alone, 1) > avx512(square(edge)));
        }
        let portable = CpuVariant::new(InstructionSet::Portable);
        assert!(time(square(64), portable, 1) > avx512(square(64)));
        let late = CpuVariant {
            ahead: false,
            ..default
        };
        assert!(time(square(64), late, 1) > avx512(square(64)));
        // One panel at a time waits for its loads.
        let narrow = CpuVariant {
            blocking: Blocking {
                symmetric: 1,
                update: 1,
                sum: 128,
            },
            ..default
        };
        assert!(time(square(128), narrow, 1) > avx512(square(128)));
        // No faster than the multiply-adds of one triangle, no slower than ten times all of them.
        let all = 6.0 * 128.0 * 1024.0 * 1024.0 * 5.0 / 64.0 / 3e9;
        let found = avx512(square(128));
        assert!(found > all / 2.0 && found < 10.0 * all, "{found} {all}");
    }
}
