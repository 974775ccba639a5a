//! Counting while a block runs: flat arrays, made into [`Counters`] at the end.

use std::ops::Range;

use super::trouble::lanes_of;
use crate::counters::{
    BarrierCounts, Counters, GlobalTraffic, InstructionKind, MmaShape, SharedTraffic,
};
use crate::lanes::{Lanes, WARP};

const KINDS: usize = InstructionKind::ALL.len();
/// Banks of shared memory, four bytes each.
const BANKS: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Tally {
    kinds: [u64; KINDS],
    mma: Vec<(MmaShape, u64)>,
    pub shared: SharedTraffic,
    pub global: GlobalTraffic,
    pub barriers: BarrierCounts,
    pub divergent_branches: u64,
    pub blocks: u64,
}

impl Tally {
    #[inline(always)]
    pub(super) fn instruction(&mut self, kind: InstructionKind) {
        self.kinds[kind as usize] += 1;
    }

    /// Takes back an instruction that will be tried again.
    pub(super) fn retract(&mut self, kind: InstructionKind) {
        self.kinds[kind as usize] -= 1;
    }

    pub(super) fn mma(&mut self, shape: &MmaShape) {
        // A kernel has one or two shapes.
        match self.mma.iter_mut().find(|(known, _)| known == shape) {
            Some((_, count)) => *count += 1,
            None => self.mma.push((*shape, 1)),
        }
    }

    pub(super) fn into_counters(self) -> Counters {
        let by_kind = InstructionKind::ALL
            .into_iter()
            .zip(self.kinds)
            .filter(|(_, count)| *count > 0);
        Counters {
            warp_instructions: self.kinds.iter().sum(),
            by_kind: by_kind.collect(),
            mma: self.mma.into_iter().collect(),
            shared: self.shared,
            global: self.global,
            barriers: self.barriers,
            divergent_branches: self.divergent_branches,
            blocks: self.blocks,
        }
    }

    /// Wavefronts of one access of shared memory: a wavefront serves 128 bytes, each bank once. Accesses of 8 bytes are
    /// served by half warps and those of 16 bytes by quarter warps; lanes of a pass that read the same word share it.
    pub(super) fn shared_access(
        &mut self,
        addresses: &Lanes,
        active: u32,
        bytes: u32,
        write: bool,
    ) {
        let total = u64::from(bytes) * u64::from(active.count_ones());
        if write {
            self.shared.bytes_written += total;
        } else {
            self.shared.bytes_read += total;
        }
        let granule = bytes.clamp(4, 16) as usize;
        let lanes_a_pass = WARP * 4 / granule;
        for first in (0..WARP).step_by(lanes_a_pass) {
            let lanes = active & (((1u64 << lanes_a_pass) - 1) as u32) << first;
            if lanes != 0 {
                self.pass(addresses, lanes, first..first + lanes_a_pass, granule);
            }
        }
    }

    /// One pass, of `lanes` in a range: chunks of `granule` bytes, distinct chunks of one bank one after another.
    #[inline(always)]
    fn pass(&mut self, addresses: &Lanes, lanes: u32, range: Range<usize>, granule: usize) {
        let (banks, shift) = (BANKS * 4 / granule, granule.trailing_zeros());
        let mut used = 0u32;
        for (lane, address) in range.clone().zip(&addresses[range]) {
            let bank = (address >> shift) as usize % banks;
            used |= ((lanes >> lane) & 1) << bank;
        }
        let (worst, distinct) = if used.count_ones() == lanes.count_ones() {
            // Each lane has a bank of its own.
            (1, lanes.count_ones() as usize)
        } else {
            conflicts(addresses, lanes, granule)
        };
        self.shared.wavefronts += worst;
        self.shared.ideal_wavefronts += (distinct * granule).div_ceil(BANKS * 4) as u64;
    }

    /// Sectors of one access of global memory.
    pub(super) fn global_access(
        &mut self,
        addresses: &Lanes,
        active: u32,
        bytes: u32,
        write: bool,
    ) {
        const SECTOR: u64 = 32;
        let mut distinct = 0;
        let mut latest = None;
        let mut ascending = true;
        for lane in lanes_of(active) {
            let first = addresses[lane] / SECTOR;
            let last = (addresses[lane] + u64::from(bytes) - 1) / SECTOR;
            ascending &= latest.is_none_or(|latest| latest <= first);
            distinct += last - first + u64::from(latest != Some(first));
            latest = Some(last);
        }
        if !ascending {
            distinct = distinct_sectors(addresses, active, bytes, SECTOR);
        }
        let total = u64::from(bytes) * u64::from(active.count_ones());
        let (all_sectors, all_bytes) = if write {
            (
                &mut self.global.sectors_written,
                &mut self.global.bytes_written,
            )
        } else {
            (&mut self.global.sectors_read, &mut self.global.bytes_read)
        };
        *all_sectors += distinct;
        *all_bytes += total;
    }
}

/// The most distinct chunks of one bank, and the distinct chunks of all.
fn conflicts(addresses: &Lanes, lanes: u32, granule: usize) -> (u64, usize) {
    let (banks, shift) = (BANKS * 4 / granule, granule.trailing_zeros());
    let mut heads = [u8::MAX; BANKS];
    let mut next = [u8::MAX; WARP];
    let mut depth = [0u8; BANKS];
    let (mut distinct, mut worst) = (0, 0);
    for lane in lanes_of(lanes) {
        let chunk = addresses[lane] >> shift;
        let bank = chunk as usize % banks;
        let mut earlier = heads[bank];
        while earlier != u8::MAX && addresses[earlier as usize] >> shift != chunk {
            earlier = next[earlier as usize];
        }
        if earlier == u8::MAX {
            next[lane] = heads[bank];
            heads[bank] = lane as u8;
            depth[bank] += 1;
            distinct += 1;
            worst = worst.max(depth[bank]);
        }
    }
    (u64::from(worst), distinct)
}

/// Sectors of lanes in any order.
fn distinct_sectors(addresses: &Lanes, active: u32, bytes: u32, sector: u64) -> u64 {
    let mut sectors: Vec<u64> = lanes_of(active)
        .flat_map(|lane| {
            addresses[lane] / sector..=(addresses[lane] + u64::from(bytes) - 1) / sector
        })
        .collect();
    sectors.sort_unstable();
    sectors.dedup();
    sectors.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wavefronts(stride: u64, bytes: u32) -> (u64, u64) {
        let mut tally = Tally::default();
        tally.shared_access(
            &std::array::from_fn(|lane| lane as u64 * stride),
            u32::MAX,
            bytes,
            false,
        );
        (tally.shared.wavefronts, tally.shared.ideal_wavefronts)
    }

    #[test]
    fn strides_conflict_as_the_banks_say() {
        assert_eq!(wavefronts(4, 4), (1, 1));
        assert_eq!(wavefronts(8, 4), (2, 1));
        assert_eq!(wavefronts(128, 4), (32, 1));
        assert_eq!(wavefronts(132, 4), (1, 1));
        assert_eq!(wavefronts(0, 4), (1, 1), "one word is broadcast");
        assert_eq!(
            wavefronts(2, 2),
            (1, 1),
            "two halves of a word are one access"
        );
        assert_eq!(wavefronts(8, 8), (2, 2));
        assert_eq!(wavefronts(16, 16), (4, 4));
        assert_eq!(wavefronts(128, 16), (32, 4));
    }

    #[test]
    fn sectors_are_counted_once_an_instruction() {
        let mut tally = Tally::default();
        tally.global_access(
            &std::array::from_fn(|lane| 4 * lane as u64),
            u32::MAX,
            4,
            false,
        );
        assert_eq!(
            (tally.global.sectors_read, tally.global.bytes_read),
            (4, 128)
        );
        tally.global_access(
            &std::array::from_fn(|lane| 64 * (31 - lane) as u64),
            u32::MAX,
            4,
            true,
        );
        assert_eq!(
            (tally.global.sectors_written, tally.global.bytes_written),
            (32, 128)
        );
    }
}
