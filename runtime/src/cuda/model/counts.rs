//! What a tile costs the pipes of a multiprocessor, in the resident family.
//!
//! A tile of S strips by C blocks of 16 x 16 is multiplied in `mma` instructions of 16 x 8 x 16, two for each pair of
//! blocks. A strip computes REACH + 1 of its S blocks of a symmetric product; REACH = S / 2 where one side of the
//! diagonal is computed, S - 1 else. A warp of R strips reads each block of the right operand once for all of them:
//! four wavefronts of 128 bytes where two operands share a word, eight where they do not.

use himuon_templates::KernelSpec;
use himuon_templates::variant::{Resident, ResidentShape, effective_operand};
use himuon_templates::{Operand, StepTable};

/// Counts of one tile, all its warps together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TileCounts {
    /// Tensor instructions, in those of 16-bit operands.
    pub tensor: f64,
    /// Wavefronts of shared memory.
    pub wavefronts: f64,
    /// Instructions issued by warps.
    pub issued: f64,
    /// Barriers that a warp meets.
    pub barriers: f64,
    /// Products that wait for each other.
    pub products: f64,
}

/// Products of one step: symmetric ones over the tile's length, symmetric ones of Gram matrices, and those with X.
fn products(table: &StepTable) -> Vec<(f64, f64, f64)> {
    match table {
        StepTable::Odd(steps) | StepTable::Turbo(steps) => steps
            .iter()
            .map(|step| (1.0, if step[2] == 0.0 { 0.0 } else { 1.0 }, 1.0))
            .collect(),
        StepTable::Fitted(steps) => vec![(1.0, 0.0, 1.0); steps.len()],
        StepTable::Authors { steps, .. } => vec![(1.0, 0.0, 1.0); *steps as usize],
        StepTable::Coupled { m, n, steps } => {
            vec![(1.0, 0.0, f64::from(m + n)); steps.len()]
        }
        StepTable::Identity => Vec::new(),
    }
}

/// Tensor instructions in those of 16-bit operands, and words of two neighbouring operands.
pub(super) fn operand_cost(spec: &KernelSpec) -> (f64, f64) {
    match effective_operand(spec) {
        Operand::Bf16 | Operand::F16 => (1.0, 1.0),
        // Half as deep an instruction at half the rate's products.
        Operand::Tf32 => (2.0, 2.0),
        // Three TF32 terms.
        Operand::F32 => (6.0, 2.0),
    }
}

/// The counts of a tile of a specification.
pub fn of_tile(
    spec: &KernelSpec,
    table: &StepTable,
    settings: &Resident,
    shape: &ResidentShape,
) -> TileCounts {
    let (tensor_factor, words) = operand_cost(spec);
    let strips = f64::from(shape.strips);
    let columns = f64::from(shape.column_blocks);
    let rows = f64::from(settings.row_blocks);
    let warps = f64::from(shape.warps);
    let reach = match settings.symmetric {
        true => f64::from(shape.strips / 2),
        false => strips - 1.0,
    };
    // Block columns that a warp computes of a symmetric product.
    let span = (rows + reach).min(strips);
    let wavefronts_of_block = 4.0 * words;
    let mut counts = TileCounts::default();
    for (gram, square, update) in products(table) {
        let symmetric = strips * (reach + 1.0);
        let blocks = gram * symmetric * columns
            + square * symmetric * strips
            + update * strips * columns * strips;
        let tensor = 2.0 * blocks * tensor_factor;
        let right = gram * span * columns + square * span * strips + update * columns * strips;
        let left =
            (gram * f64::from(u8::from(settings.reload_x)) * columns + square * strips) * rows;
        let stored = rows * (gram + square) * (reach + 1.0) + rows * update * columns;
        let accesses = warps * (right + left + stored);
        // Scaling and packing of eight accumulators a block, and the addresses of every access.
        let epilogue = 20.0 * warps * (rows * span * (gram + square) + rows * columns * update);
        counts.tensor += tensor;
        counts.wavefronts += accesses * wavefronts_of_block;
        counts.issued += tensor + 2.0 * accesses * words + epilogue;
        let per_step = if settings.double_buffer { 2.0 } else { 3.0 };
        counts.barriers += if shape.warps > 1 { per_step } else { 0.0 };
        counts.products += gram + square + update;
    }
    // Loading, the norm and the check; scale, decay and the update: about thirty instructions for each eight numbers.
    counts.issued += 30.0 * strips * columns * 2.0;
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use himuon_templates::Architecture;

    fn counts(edge: u32) -> TileCounts {
        let spec: KernelSpec = format!("tile={edge} element=bf16").parse().unwrap();
        let settings = Resident::default_for(&spec, Architecture::Sm80).unwrap();
        let shape = settings.shape(&spec).unwrap();
        of_tile(&spec, &spec.step_table().unwrap(), &settings, &shape)
    }

    /// The emulator's counters, as docs/cuda-kernels.md lists them.
    #[test]
    fn counts_against_the_emulators() {
        for (edge, tensor, wavefronts) in [
            (48, 630.0, 1800.0),
            (64, 1600.0, 3144.0),
            (128, 11520.0, 26848.0),
        ] {
            let found = counts(edge);
            assert_eq!(found.tensor, tensor, "{edge}");
            let ratio = found.wavefronts / wavefronts;
            assert!((0.6..1.2).contains(&ratio), "{edge}: {ratio}");
        }
    }
}
