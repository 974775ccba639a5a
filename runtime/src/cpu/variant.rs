//! Ways to compute the same bits.

use super::caches::first_level_bytes;
use super::interleaved;
use super::product::{Blocking, SUM_BLOCK};
use super::recurrence;
use super::simd::InstructionSet;
use himuon_templates::{Criterion, Mode, StepTable};

/// Most tiles at a time.
const MOST_BATCH: u8 = 8;

/// How a kernel runs: changes the time, never the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuVariant {
    /// Instructions.
    pub instruction_set: InstructionSet,
    /// Pieces of the products.
    pub blocking: Blocking,
    /// Most tiles that a thread works on at a time where they are not interleaved, 1 to 8: of 16 x 16 or fewer elements
    /// that many, of up to 32 x 32 in proportion fewer, rounded up.
    pub batch: u8,
    /// Whether the tensors of the next tiles are asked for while these are computed. Tiles that all threads share have
    /// no next ones.
    pub ahead: bool,
    /// Whether tiles whose edges are 4, 8, 12 or 16 share registers, one in each lane: as many at a time as there are
    /// lanes, 16 or on AVX2 8.
    pub interleaved: bool,
}

/// How many tiles of rows x columns that are not interleaved are worked on at a time: their buffers stay in the
/// first-level cache.
pub(crate) fn tiles_at_a_time(batch: usize, rows: usize, columns: usize) -> usize {
    const SMALL: usize = 32 * 32;
    const SMALLEST: usize = 16 * 16;
    let area = rows * columns;
    if area <= SMALL {
        (batch * SMALLEST).div_ceil(area.max(1)).clamp(1, batch)
    } else {
        1
    }
}

/// The default for a first level of cache of so many bytes. With 32 KiB, of which a tile of 16 x 16 takes 7, three to six
/// at a time are about as fast, and eight slower by a quarter on two threads; six still means two of 32 x 32.
fn batch_of(first_level_bytes: usize) -> u8 {
    const LARGE: usize = 48 << 10;
    if first_level_bytes < LARGE { 6 } else { 8 }
}

impl CpuVariant {
    /// The default for an instruction set and this processor's first level of cache.
    pub fn new(instruction_set: InstructionSet) -> Self {
        CpuVariant {
            instruction_set,
            blocking: Blocking::of(matches!(instruction_set, InstructionSet::Avx512)),
            batch: batch_of(first_level_bytes()),
            ahead: true,
            interleaved: true,
        }
    }

    /// Whether products are cut in one of the ways that there are, with 1 to 8 tiles at a time; on another processor it may
    /// do all the same.
    pub(crate) fn is_known(&self) -> bool {
        Blocking::all(self.instruction_set).contains(&self.blocking)
            && (1..=MOST_BATCH).contains(&self.batch)
    }

    /// Whether tiles of this size share registers: where each is mapped by products alone, without rounding.
    pub(crate) fn interleaves(
        &self,
        table: &StepTable,
        mode: Mode,
        criterion: &Criterion,
        (rows, columns): (usize, usize),
    ) -> bool {
        self.interleaved
            && interleaved::fits(rows, columns)
            && recurrence::is_made_of_products(table)
            && mode == Mode::Accurate
            && matches!(criterion, Criterion::Always)
    }

    /// A name that tells every variant apart, as in `avx512-s3-u3-b8`; with `-k256` where sums are cut at
    /// another length than 128, `-a0` where nothing is asked for ahead, and `-i0` where no tiles are interleaved.
    pub fn name(&self) -> String {
        let sum = match usize::from(self.blocking.sum) {
            SUM_BLOCK => String::new(),
            other => format!("-k{other}"),
        };
        format!(
            "{}-s{}-u{}-b{}{sum}{}{}",
            self.instruction_set.name(),
            self.blocking.symmetric,
            self.blocking.update,
            self.batch,
            if self.ahead { "" } else { "-a0" },
            if self.interleaved { "" } else { "-i0" }
        )
    }

    /// Every way to cut each product, with tiles one at a time and several, on every instruction set of this processor;
    /// the default first.
    pub(super) fn all() -> Vec<CpuVariant> {
        let mut variants = vec![CpuVariant::new(InstructionSet::best())];
        for instruction_set in InstructionSet::ALL {
            if !instruction_set.is_available() {
                continue;
            }
            let blockings = Blocking::each(instruction_set);
            for (batch, &blocking) in [1, 8]
                .into_iter()
                .flat_map(|batch| blockings.iter().map(move |blocking| (batch, blocking)))
            {
                let variant = CpuVariant {
                    instruction_set,
                    blocking,
                    batch,
                    ahead: batch > 1,
                    interleaved: batch > 1,
                };
                if !variants.contains(&variant) {
                    variants.push(variant);
                }
            }
        }
        variants
    }
}
