//! The time of a variant before anything runs: cycles of the products, piece by piece.
//!
//! A product is computed in pieces of `rows` x `panels` register blocks. Each step of a piece's sums issues
//! rows x panels fused multiply-adds, loads `panels` vectors of the right operand and `rows` numbers of the left one, and
//! cannot be shorter than its chain of additions; each piece costs a start and its stores. The rest of a step moves
//! the tile's tensors once. The model ranks; its absolute times are those of a core at the nominal clock.

use himuon_templates::{KernelSpec, StepTable};

use crate::cpu::{CpuVariant, InstructionSet};

/// Clock in cycles a second.
const CLOCK: f64 = 3e9;
/// Cycles until a sum can be added to again.
const LATENCY: f64 = 4.0;
/// Loads a cycle.
const LOADS: f64 = 2.0;
/// Cycles to begin and end a piece.
const PIECE: f64 = 24.0;
/// Cycles for each register block of a piece that is stored.
const STORE: f64 = 2.0;
/// Cycles to transpose a block of 16 x 16 into its mirror image.
const MIRROR: f64 = 64.0;
/// Part of a sum that one pass over a block covers; longer sums pause in memory.
const SUM_BLOCK: usize = 128;
/// Cycles of latency for each pass over a tile that other tiles of a batch can hide.
const STALL: f64 = 120.0;
/// Bytes of the first two levels of cache, and what a product costs when its operands lie in the next level.
const CACHES: [(usize, f64); 2] = [(32 << 10, 1.04), (1 << 20, 1.25)];
/// Bytes a cycle from memory.
const MEMORY: f64 = 4.0;

/// Vector units of an instruction set, in sixteen-number lines: multiply-adds a cycle, and a factor for the
/// instructions that address and align.
fn issue(set: InstructionSet) -> (f64, f64) {
    match set {
        InstructionSet::Avx512 => (1.0, 1.0),
        InstructionSet::Avx2 => (1.0, 1.25),
        InstructionSet::Portable => (0.05, 1.0),
    }
}

/// Seconds of one step over a launch of matrices of these shapes on `threads` threads.
pub(super) fn seconds(
    spec: &KernelSpec,
    table: &StepTable,
    variant: CpuVariant,
    shapes: &[(usize, usize)],
    threads: usize,
) -> f64 {
    let total: f64 = shapes
        .iter()
        .map(|&(rows, columns)| {
            let (height, width) = spec.tile.effective(rows, columns);
            let tile = Oriented {
                rows: height.max(width),
                columns: height.min(width),
                variant,
            };
            let tiles =
                (rows as f64 / height.max(1) as f64) * (columns as f64 / width.max(1) as f64);
            let bytes = 5 * rows * columns * spec.storage.momentum.bytes();
            tiles * tile.cycles(table) + bytes as f64 / MEMORY
        })
        .sum();
    total / CLOCK / threads.max(1) as f64
}

/// A tile with its longer side first.
struct Oriented {
    rows: usize,
    columns: usize,
    variant: CpuVariant,
}

impl Oriented {
    fn panels(&self) -> usize {
        self.columns.div_ceil(16)
    }

    fn cycles(&self, table: &StepTable) -> f64 {
        let (gram, square, update) = (
            self.symmetric(self.rows),
            self.symmetric(self.columns),
            self.update(),
        );
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
        let stalls = 3.0 * table.steps() as f64 * STALL / self.batch() as f64;
        products * self.cache_factor() + stalls
    }

    /// Tiles that are worked on together.
    fn batch(&self) -> usize {
        match self.rows * self.columns <= 32 * 32 {
            true => usize::from(self.variant.batch),
            false => 1,
        }
    }

    /// What it costs that the buffers of a batch do not fit the nearest cache.
    fn cache_factor(&self) -> f64 {
        let tile = 4 * (2 * self.rows + self.columns) * 16 * self.panels();
        let bytes = tile * self.batch();
        let beyond = CACHES.iter().filter(|(size, _)| bytes > *size);
        beyond.map(|(_, factor)| factor).product()
    }

    /// Panels of the pieces that cover all of them, as the kernels group them.
    fn groups(&self, width: u8) -> Vec<usize> {
        let wide = self.variant.instruction_set == InstructionSet::Avx512;
        let width = if wide { usize::from(width) } else { 1 };
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

    /// Cycles of one piece over a sum of `depth` terms.
    fn piece(&self, rows: usize, panels: usize, depth: usize) -> f64 {
        let (rate, overhead) = issue(self.variant.instruction_set);
        let blocks = (rows * panels) as f64;
        let step = (blocks / rate)
            .max((rows + panels) as f64 / LOADS)
            .max(LATENCY);
        let pauses = depth.div_ceil(SUM_BLOCK) as f64;
        depth as f64 * step * overhead + pauses * (PIECE + blocks * STORE)
    }

    /// B^T B with sums of `depth`: blocks on and above the diagonal.
    fn symmetric(&self, depth: usize) -> f64 {
        let mut cycles = 0.0;
        let mut first = 0;
        for panels in self.groups(self.variant.blocking.symmetric) {
            let strip = |panels: usize| match panels {
                1 => self.piece(16, 1, depth),
                panels => 2.0 * self.piece(8, panels, depth),
            };
            cycles += (first + 1) as f64 * strip(panels);
            // What is left of the diagonal blocks of the group.
            cycles += (1..panels).map(|inner| strip(panels - inner)).sum::<f64>();
            let mirrored = first * panels + panels * (panels - 1) / 2;
            cycles += mirrored as f64 * MIRROR;
            first += panels;
        }
        cycles
    }

    /// X times a symmetric matrix.
    fn update(&self) -> f64 {
        let groups = self.groups(self.variant.blocking.update);
        let cycles = groups.into_iter().map(|panels| {
            let rows = match panels {
                1 if self.variant.instruction_set != InstructionSet::Avx512 => 4,
                1 => 16,
                2 => 12,
                3 => 8,
                _ => 6,
            };
            let (whole, rest) = (self.rows / rows, self.rows % rows);
            let rest = if rest == 0 {
                0.0
            } else {
                self.piece(rest, panels, self.columns)
            };
            whole as f64 * self.piece(rows, panels, self.columns) + rest
        });
        cycles.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Blocking;
    use himuon_templates::Tile;

    fn time(tile: Tile, set: InstructionSet, batch: u8, threads: usize) -> f64 {
        let spec = KernelSpec::new(tile);
        let variant = CpuVariant {
            instruction_set: set,
            blocking: Blocking {
                symmetric: 3,
                update: 3,
            },
            batch,
        };
        let table = spec.step_table().unwrap();
        seconds(&spec, &table, variant, &[(1024, 1024)], threads)
    }

    #[test]
    fn what_the_model_knows() {
        let square = |edge| Tile::square(edge);
        let avx512 = |tile| time(tile, InstructionSet::Avx512, 4, 1);
        // Work grows with the edge, threads share it, batches hide latency, wide vectors win.
        assert!(avx512(square(64)) < avx512(square(128)));
        assert!(avx512(square(128)) < avx512(Tile::Full));
        assert!(time(square(64), InstructionSet::Avx512, 4, 2) < avx512(square(64)));
        assert!(time(square(16), InstructionSet::Avx512, 1, 1) > avx512(square(16)));
        assert!(time(square(64), InstructionSet::Portable, 4, 1) > avx512(square(64)));
        // No faster than the multiply-adds of one triangle, no slower than ten times all of them.
        let all = 6.0 * 128.0 * 1024.0 * 1024.0 * 5.0 / 32.0 / CLOCK;
        let found = avx512(square(128));
        assert!(found > all / 2.0 && found < 10.0 * all, "{found} {all}");
    }
}
