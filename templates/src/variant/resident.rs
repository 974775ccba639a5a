//! The resident family: a tile stays in registers and shared memory for the whole step.

use super::VariantError;
use crate::spec::{KernelSpec, Mode, Operand, Recurrence, Tile};
use crate::target::{Architecture, DeviceLimits};
use std::fmt;

/// Settings of the resident family. A warp owns `row_blocks` neighbouring strips of 16 rows of the tile
/// (oriented rows <= columns) over all its columns; the number of warps follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resident {
    /// Strips of 16 rows per warp, 1 to 4.
    pub row_blocks: u32,
    /// Block columns of the Gram matrix worked on at a time: more reuse, more registers.
    pub chunk: u32,
    /// Whether the Gram matrix and its square are computed on one side of the diagonal only.
    pub symmetric: bool,
    /// Whether a warp's rows of the Gram matrix stay in its registers.
    pub keep_gram: bool,
    /// Whether X is read back from shared memory as a left operand instead of being rounded again.
    pub reload_x: bool,
    /// Two buffers of X: one barrier less a step.
    pub double_buffer: bool,
    /// Whether the new momentum waits in shared memory for the check, instead of in registers.
    pub stage_momentum: bool,
    /// Tiles of a block when one warp holds a tile.
    pub tiles_per_block: u32,
}

/// What follows from a tile and the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidentShape {
    /// Warps that share a tile.
    pub warps: u32,
    /// Strips of 16 rows, padding included.
    pub strips: u32,
    /// Blocks of 16 columns, padding included.
    pub column_blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Tiles of a block.
    pub tiles_per_block: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// Vector accesses that a lane has in flight together.
    pub batch: u32,
    /// The tile has more rows than columns and is held transposed.
    pub tall: bool,
}

/// 32-bit registers of a multiprocessor, of every architecture so far, and of how many a thread's number is a multiple.
const REGISTERS: u32 = 65536;
const REGISTER_UNIT: u32 = 8;

/// What the products take: in reference mode every factor has been rounded to bf16, whatever the
/// specification calls the operand.
pub const fn effective_operand(spec: &KernelSpec) -> Operand {
    match spec.mode {
        Mode::Reference => Operand::Bf16,
        Mode::Accurate => spec.operand,
    }
}

/// Whether X is kept beside the matrix that is iterated.
const fn iterates_two_matrices(spec: &KernelSpec) -> bool {
    matches!(
        spec.recurrence,
        Recurrence::Fitted | Recurrence::Coupled | Recurrence::Authors
    )
}

/// Words of two neighbouring operands.
const fn pair_words(spec: &KernelSpec) -> u32 {
    match effective_operand(spec) {
        Operand::F32 | Operand::Tf32 => 2,
        Operand::Bf16 | Operand::F16 => 1,
    }
}

impl Resident {
    /// The settings for `spec` that are rendered when nothing has been tuned, if the family can hold it.
    pub fn default_for(spec: &KernelSpec, architecture: Architecture) -> Option<Resident> {
        let Tile::Sized { rows, columns } = spec.tile else {
            return None;
        };
        let strips = rows.min(columns).div_ceil(16);
        let column_blocks = rows.max(columns).div_ceil(16);
        // 32 rows a warp halve the traffic of shared memory, as long as X leaves room in the registers; a tall
        // tile needs pairs of strips for vector accesses.
        let preferred: &[u32] = match strips {
            3 => &[3, 1],
            _ if 2 * column_blocks * 8 > 96 && rows <= columns => &[1, 2],
            _ => &[2, 1],
        };
        preferred
            .iter()
            .filter(|row_blocks| strips.is_multiple_of(**row_blocks))
            .map(|&row_blocks| {
                let x_registers = row_blocks * column_blocks * 8;
                let warps = strips / row_blocks;
                Resident {
                    row_blocks,
                    chunk: match row_blocks {
                        1 if x_registers <= 64 => 5,
                        1 => 3,
                        _ => 2,
                    },
                    symmetric: strips >= 3,
                    keep_gram: x_registers <= 64
                        && pair_words(spec) == 1
                        && !iterates_two_matrices(spec),
                    reload_x: x_registers >= 128,
                    double_buffer: false,
                    stage_momentum: x_registers >= 128,
                    tiles_per_block: match (warps, strips) {
                        (1, 1 | 2) => 4,
                        (1, _) => 2,
                        _ => 1,
                    },
                }
            })
            .find(|settings| settings.fits(spec, architecture.limits()).is_ok())
    }

    /// What follows from the tile of `spec`; `None` for the whole matrix.
    pub fn shape(&self, spec: &KernelSpec) -> Option<ResidentShape> {
        let Tile::Sized { rows, columns } = spec.tile else {
            return None;
        };
        let row_blocks = self.row_blocks.clamp(1, 4);
        let warps = rows.min(columns).div_ceil(16).div_ceil(row_blocks);
        let strips = warps * row_blocks;
        let column_blocks = rows.max(columns).div_ceil(16);
        let tiles_per_block = if warps == 1 { self.tiles_per_block } else { 1 };
        let quads = row_blocks * 2 * column_blocks;
        let mut shape = ResidentShape {
            warps,
            strips,
            column_blocks,
            threads: 32u32.saturating_mul(warps).saturating_mul(tiles_per_block),
            tiles_per_block,
            shared_bytes: 0,
            batch: (1..=quads.min(16))
                .rev()
                .find(|batch| quads.is_multiple_of(*batch))
                .unwrap_or(1),
            tall: rows > columns && row_blocks.is_multiple_of(2),
        };
        shape.shared_bytes = self
            .tile_bytes(spec, &shape)
            .saturating_mul(u64::from(tiles_per_block))
            .min(u64::from(u32::MAX)) as u32;
        Some(shape)
    }

    /// Shared memory of one tile; the same sums as in `resident_tile.cuh`.
    fn tile_bytes(&self, spec: &KernelSpec, shape: &ResidentShape) -> u64 {
        let words = pair_words(spec);
        let row_bytes = |blocks: u32| match words {
            1 => u64::from(blocks) * 32,
            _ => u64::from(blocks).div_ceil(2) * 128,
        };
        let rows = 16 * u64::from(shape.strips);
        let x = rows * row_bytes(shape.column_blocks) * if self.double_buffer { 2 } else { 1 };
        let mirrored = self.symmetric && shape.strips / 2 + 1 < shape.strips;
        let gram = if shape.warps > 1 || mirrored {
            rows * row_bytes(shape.strips)
        } else {
            0
        };
        let stage = if self.stage_momentum {
            256 * u64::from(shape.strips * shape.column_blocks)
                * spec.storage.momentum.bytes() as u64
        } else {
            0
        };
        let scratch = if shape.warps > 1 {
            (32 * u64::from(shape.warps)).next_multiple_of(128)
        } else {
            0
        };
        (x + gram).max(stage) + scratch
    }

    /// Registers that a lane surely holds at once: X, the sums and kept blocks, or X and the momentum.
    pub fn registers(&self, spec: &KernelSpec, shape: &ResidentShape) -> u32 {
        let words = pair_words(spec);
        let x = self.row_blocks * shape.column_blocks * 8;
        let second = if spec.mode == Mode::Reference || iterates_two_matrices(spec) {
            x
        } else {
            0
        };
        let reach = if self.symmetric {
            shape.strips / 2
        } else {
            shape.strips - 1
        };
        let kept = if self.keep_gram || shape.warps == 1 {
            self.row_blocks * (reach + 1) * 4 * words
        } else {
            0
        };
        let sums = self.row_blocks * self.chunk.min(shape.strips) * 8;
        let operands = (self.row_blocks + 1) * 4 * words;
        let products = x + second + kept + sums + operands;
        let buffer = if self.stage_momentum {
            0
        } else {
            x * spec.storage.momentum.bytes() as u32 / 4
        };
        products.max(x + buffer) + 32
    }

    /// Whether these settings can compute `spec` within `limits`.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn fits(&self, spec: &KernelSpec, limits: DeviceLimits) -> Result<(), VariantError> {
        let refuse =
            |found: String, accepted: &'static str| Err(VariantError::Resident { found, accepted });
        if !(1..=4).contains(&self.row_blocks) || self.chunk == 0 || self.tiles_per_block == 0 {
            return refuse(
                self.to_string(),
                "rows = 16, 32, 48 or 64, chunk and tiles at least 1",
            );
        }
        let Some(shape) = self.shape(spec) else {
            return refuse("tile=full".to_owned(), "a tile that fits on chip");
        };
        if iterates_two_matrices(spec) && self.double_buffer {
            return refuse(
                format!("double-buffer with recurrence={}", spec.recurrence),
                "one buffer",
            );
        }
        if !limits.wide_tensor_cores && effective_operand(spec) != Operand::F16 {
            return refuse(
                format!(
                    "operand={} before compute capability 8.0",
                    effective_operand(spec)
                ),
                "operand=f16",
            );
        }
        if shape.threads > limits.threads {
            return Err(VariantError::Threads {
                found: shape.threads,
                accepted: limits.threads,
            });
        }
        if shape.shared_bytes > limits.shared_memory {
            return Err(VariantError::SharedMemory {
                found: shape.shared_bytes,
                accepted: limits.shared_memory,
            });
        }
        let registers = self.registers(spec, &shape);
        // A block of many threads is compiled to as many as all of them can have at once, or somewhat fewer where its warps do not
        // divide by four; the rest would be spilled.
        let shared = REGISTERS / shape.threads.max(1) / REGISTER_UNIT * REGISTER_UNIT;
        let accepted = limits.registers.min(shared);
        if registers > accepted {
            return Err(VariantError::Registers {
                found: registers,
                accepted,
            });
        }
        Ok(())
    }

    /// `r32c2` and a letter per switch that is on.
    pub(super) fn slug(&self) -> String {
        let switches = [
            (self.symmetric, 's'),
            (self.keep_gram, 'k'),
            (self.reload_x, 'l'),
            (self.double_buffer, 'd'),
            (self.stage_momentum, 'm'),
        ];
        let letters: String = switches
            .iter()
            .filter_map(|(on, letter)| on.then_some(*letter))
            .collect();
        format!("r{}c{}{letters}", 16 * self.row_blocks, self.chunk)
    }

    /// Reads what [`fmt::Display`] writes.
    pub(super) fn read(text: &str) -> Option<Resident> {
        let mut settings = Resident {
            row_blocks: 1,
            chunk: 1,
            symmetric: false,
            keep_gram: false,
            reload_x: false,
            double_buffer: false,
            stage_momentum: false,
            tiles_per_block: 1,
        };
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("rows", rows)) => {
                    let rows: u32 = rows.parse().ok()?;
                    settings.row_blocks = rows.is_multiple_of(16).then_some(rows / 16)?;
                }
                Some(("chunk", chunk)) => settings.chunk = chunk.parse().ok()?,
                Some(("tiles", tiles)) => settings.tiles_per_block = tiles.parse().ok()?,
                None => match part {
                    "symmetric" => settings.symmetric = true,
                    "keep-gram" => settings.keep_gram = true,
                    "reload-x" => settings.reload_x = true,
                    "double-buffer" => settings.double_buffer = true,
                    "stage-momentum" => settings.stage_momentum = true,
                    _ => return None,
                },
                Some(_) => return None,
            }
        }
        Some(settings)
    }
}

impl fmt::Display for Resident {
    /// `rows=32,chunk=2,tiles=1,symmetric,keep-gram`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rows={},chunk={},tiles={}",
            16 * self.row_blocks,
            self.chunk,
            self.tiles_per_block
        )?;
        for (on, name) in [
            (self.symmetric, "symmetric"),
            (self.keep_gram, "keep-gram"),
            (self.reload_x, "reload-x"),
            (self.double_buffer, "double-buffer"),
            (self.stage_momentum, "stage-momentum"),
        ] {
            if on {
                write!(f, ",{name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Architecture, KernelSpec, Operand, Tile, Variant};

    /// Larger tiles would fit into shared memory on 9.0, and into registers only if a block of so many threads had more of them.
    #[test]
    fn what_the_registers_of_a_block_do_not_hold_is_no_default() {
        for (edge, resident) in [(128, true), (160, true), (176, false), (208, false)] {
            let spec = KernelSpec {
                operand: Operand::Bf16,
                ..KernelSpec::new(Tile::square(edge))
            };
            let variant = Variant::default_for(&spec, Architecture::Sm90a);
            let found = matches!(variant, Variant::Resident(_));
            assert_eq!(found, resident, "{edge}: {variant}");
        }
    }
}
