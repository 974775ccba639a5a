//! The streamed family: a tile of any size in a workspace in global memory, a step as a sequence of launches over
//! all tiles together.

use super::{VariantError, effective_operand};
use crate::spec::{
    CoefficientSet, Criterion, KernelSpec, Measure, Mode, Operand, Recurrence, Tile,
};
use crate::target::{Architecture, DeviceLimits};
use std::fmt;

mod sequence;

pub use sequence::{StreamedEntry, StreamedItems, StreamedLaunch};

/// Settings of the streamed family: how a thread block computes its square block of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Streamed {
    /// Edge of the block of a product that a thread block computes, 64 or 128.
    pub block: u32,
    /// Warps of such a thread block, 4 or 8: two rows of warps.
    pub warps: u32,
    /// Panels of 32 columns of both factors in shared memory, 2 to 6: one is worked on while the others arrive.
    pub stages: u32,
}

/// How much one tile is: workspace, and work in the units in which the launches divide it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamedTile {
    /// Workspace, in bytes, a multiple of 128.
    pub workspace_bytes: u64,
    /// Patches of 64 x 128 numbers, of elementwise launches.
    pub patches: u32,
    /// Blocks of one triangle of the Gram matrix, of symmetric products.
    pub triangle: u32,
    /// Blocks of X, of products with it.
    pub blocks: u32,
}

/// The matrices of a tile in the workspace, beside the Gram matrices all as large as the tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamedMatrices {
    /// In f32.
    pub masters: u32,
    /// In the type of the operand.
    pub operands: u32,
    /// min(h, w) square, in the type of the operand.
    pub grams: u32,
    /// Bytes of an operand.
    pub operand_bytes: u32,
    /// Whether X is kept in f32 beside its operand; else it alternates between two operands that are exact.
    pub separate: bool,
    /// Whether there is one f32 for each row besides.
    pub row_factors: bool,
}

/// Threads of a block of elementwise work.
const PATCH_THREADS: u32 = 256;
/// Columns of a panel.
const DEPTH: u32 = 32;
/// Bytes of an entry of the table of tiles.
const TABLE_ENTRY: u64 = 64;

const fn operand_bytes(spec: &KernelSpec) -> u32 {
    match effective_operand(spec) {
        Operand::F32 | Operand::Tf32 => 4,
        Operand::Bf16 | Operand::F16 => 2,
    }
}

/// Whether some step has three products: the square of the Gram matrix is needed.
fn quintic(spec: &KernelSpec) -> bool {
    match &spec.recurrence {
        Recurrence::NewtonSchulz(CoefficientSet::Cubic | CoefficientSet::Cans) => false,
        Recurrence::NewtonSchulz(CoefficientSet::Custom(list)) => {
            list.iter().any(|step| step[2].get() != 0.0)
        }
        Recurrence::NewtonSchulz(_) => true,
        _ => false,
    }
}

fn turbo(spec: &KernelSpec) -> bool {
    spec.recurrence == Recurrence::NewtonSchulz(CoefficientSet::Turbo)
}

impl Streamed {
    /// Rows and columns of a patch, the unit of elementwise work.
    pub const PATCH: (u32, u32) = (64, 128);
    /// Numbers that the rows of matrices in the workspace are padded to a multiple of, with zeros.
    pub const PADDING: u32 = 16;
    /// Bytes that each matrix in the workspace begins at a multiple of.
    pub const ALIGNMENT: u32 = 128;

    /// The settings for `spec` that are rendered when nothing has been tuned, if the family computes it.
    pub fn default_for(spec: &KernelSpec, architecture: Architecture) -> Option<Streamed> {
        // A block of 128 reads half as much, and wastes more where the edge of the tile cuts it.
        let block = match spec.tile {
            Tile::Full => 128,
            Tile::Sized { rows, columns } => {
                let edge = u64::from(rows.min(columns));
                let wasted = edge.next_multiple_of(128) - edge;
                if wasted > edge / 4 { 64 } else { 128 }
            }
        };
        let limits = architecture.limits();
        // Four warps of 64 x 64 read a quarter less of shared memory than eight of 64 x 32, where the registers
        // suffice.
        let four = operand_bytes(spec) == 2 && limits.wide_tensor_cores;
        // Copies that are not asynchronous gain nothing from a third stage.
        let stages = if limits.wide_tensor_cores { 3 } else { 2 };
        let candidates = [(block, stages), (block, 2), (64, stages), (64, 2)];
        candidates
            .into_iter()
            .map(|(block, stages)| Streamed {
                block,
                warps: if block == 64 || four { 4 } else { 8 },
                stages,
            })
            .find(|settings| settings.fits(spec, limits).is_ok())
    }

    /// Threads of a block of the products.
    pub const fn threads(&self) -> u32 {
        32 * self.warps
    }

    /// Dynamic shared memory of a block of the products, in bytes.
    pub const fn shared_bytes(&self, spec: &KernelSpec) -> u32 {
        2 * self.block * DEPTH * operand_bytes(spec) * self.stages
    }

    /// The matrices that a tile needs.
    pub fn matrices(&self, spec: &KernelSpec) -> StreamedMatrices {
        let exact_operand = spec.mode == Mode::Reference || effective_operand(spec) == Operand::F32;
        let (masters, operands, grams, separate) = match spec.recurrence {
            Recurrence::NewtonSchulz(_) => {
                let grams = if quintic(spec) { 2 } else { 1 };
                (u32::from(!exact_operand), 2, grams, !exact_operand)
            }
            Recurrence::Fitted | Recurrence::Authors => (2, 3, 1, true),
            Recurrence::Coupled => (2, 4, 1, true),
            Recurrence::Identity => (1, 0, 0, true),
        };
        StreamedMatrices {
            masters,
            operands,
            grams,
            operand_bytes: operand_bytes(spec),
            separate,
            row_factors: turbo(spec),
        }
    }

    /// Workspace and work of one tile of `rows` x `columns` as cut; the same sums as in `streamed_tile.cuh`.
    ///
    /// With m = min(h, w), n = max(h, w), rows of matrices padded to 16 numbers, the workspace is
    /// (4 masters + b operands) m n + b grams m^2 bytes and a little, b the operand's bytes.
    pub fn tile(&self, spec: &KernelSpec, rows: u32, columns: u32) -> StreamedTile {
        let padded = |edge: u32| u64::from(edge).next_multiple_of(u64::from(Self::PADDING));
        let aligned = |bytes: u64| bytes.next_multiple_of(u64::from(Self::ALIGNMENT));
        let (short, long) = (rows.min(columns), rows.max(columns));
        let edge = u64::from(short).div_ceil(u64::from(self.block));
        let triangle = edge * (edge + 1) / 2;
        let blocks = edge * padded(long).div_ceil(u64::from(self.block));
        let patches = u64::from(short).div_ceil(u64::from(Self::PATCH.0))
            * padded(long).div_ceil(u64::from(Self::PATCH.1));
        let matrices = self.matrices(spec);
        let of = |count: u32, bytes: u32, columns: u64| {
            u64::from(count) * aligned(u64::from(bytes) * u64::from(short) * columns)
        };
        let workspace_bytes = of(matrices.masters, 4, padded(long))
            + of(matrices.operands, matrices.operand_bytes, padded(long))
            + of(matrices.grams, matrices.operand_bytes, padded(short))
            + aligned(8 * patches.max(triangle))
            + of(u32::from(matrices.row_factors), 4, 1);
        let saturated = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        StreamedTile {
            workspace_bytes,
            patches: saturated(patches),
            triangle: saturated(triangle),
            blocks: saturated(blocks),
        }
    }

    /// Bytes of the table of tiles of a sequence of launches over `tiles` tiles.
    pub const fn table_bytes(tiles: u64) -> u64 {
        TABLE_ENTRY * (tiles + 1)
    }

    /// Registers that a thread of the products surely holds at once: sums, and operands of both sides.
    pub fn registers(&self, spec: &KernelSpec) -> u32 {
        let (down, across) = (self.block / 32, self.block / 8 / self.warps);
        // Full f32 splits every operand in two.
        let words = match effective_operand(spec) {
            Operand::F32 => 16,
            Operand::Tf32 => 8,
            Operand::Bf16 | Operand::F16 => 4,
        };
        8 * down * across + words * (down + 1) + 48
    }

    /// Whether these settings can compute `spec` within `limits`.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn fits(&self, spec: &KernelSpec, limits: DeviceLimits) -> Result<(), VariantError> {
        if !matches!(self.block, 64 | 128)
            || !matches!(self.warps, 4 | 8)
            || !(2..=6).contains(&self.stages)
        {
            return Err(VariantError::Streamed {
                found: self.to_string(),
                accepted: "block=64 or 128, warps=4 or 8, stages=2 to 6",
            });
        }
        if !limits.wide_tensor_cores && effective_operand(spec) != Operand::F16 {
            return Err(VariantError::Streamed {
                found: format!(
                    "operand={} before compute capability 8.0",
                    effective_operand(spec)
                ),
                accepted: "operand=f16",
            });
        }
        let threads = self.threads().max(PATCH_THREADS);
        if threads > limits.threads {
            return Err(VariantError::Threads {
                found: threads,
                accepted: limits.threads,
            });
        }
        let shared = self.shared_bytes(spec);
        if shared > limits.shared_memory {
            return Err(VariantError::SharedMemory {
                found: shared,
                accepted: limits.shared_memory,
            });
        }
        let registers = self.registers(spec);
        if registers > limits.registers {
            return Err(VariantError::Registers {
                found: registers,
                accepted: limits.registers,
            });
        }
        Ok(())
    }

    /// `b128w8s3`.
    pub(super) fn slug(&self) -> String {
        format!("b{}w{}s{}", self.block, self.warps, self.stages)
    }

    /// Reads what [`fmt::Display`] writes.
    pub(super) fn read(text: &str) -> Option<Streamed> {
        let mut parts = text.split(',');
        let mut next = |name: &str| -> Option<u32> {
            let (key, value) = parts.next()?.split_once('=')?;
            (key == name).then(|| value.parse().ok())?
        };
        let settings = Streamed {
            block: next("block")?,
            warps: next("warps")?,
            stages: next("stages")?,
        };
        parts.next().is_none().then_some(settings)
    }
}

impl fmt::Display for Streamed {
    /// `block=128,warps=8,stages=3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "block={},warps={},stages={}",
            self.block, self.warps, self.stages
        )
    }
}

/// Whether the first Gram matrix decides something: its norm is then added up.
fn decides_by_gram(spec: &KernelSpec) -> bool {
    spec.recurrence == Recurrence::Fitted || measured_by(spec, Measure::EffectiveRank)
}

fn measured_by(spec: &KernelSpec, wanted: Measure) -> bool {
    matches!(spec.criterion, Criterion::Tested { measure, .. } if measure == wanted)
}

#[cfg(test)]
mod tests;
