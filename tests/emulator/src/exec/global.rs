//! Global memory as one launch sees it, and the check for blocks that get in each other's way.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, PoisonError};

use super::trouble::{Step, Trouble};
use crate::fault::{Access, FaultKind, Space};
use crate::memory::{Allocation, GlobalMemory, update_word};

/// The allocations at the time of the launch.
pub(super) struct GlobalView<'a> {
    memory: &'a GlobalMemory,
    allocations: Vec<Arc<Allocation>>,
    conflicts: Option<Conflicts>,
}

/// An access that lies inside one allocation.
#[derive(Clone, Copy)]
pub(super) struct Located<'a> {
    pub allocation: &'a Allocation,
    pub offset: u64,
    index: usize,
}

/// Which block and lane accesses.
#[derive(Debug, Clone, Copy)]
pub(super) struct GlobalAccess {
    pub block: u32,
    pub lane: usize,
    pub address: u64,
    pub bytes: u32,
    pub access: Access,
}

impl<'a> GlobalView<'a> {
    pub(super) fn new(memory: &'a GlobalMemory, grid: [u32; 3], check_conflicts: bool) -> Self {
        let allocations = memory.snapshot();
        let conflicts = check_conflicts.then(|| Conflicts::new(grid, allocations.len()));
        Self {
            memory,
            allocations,
            conflicts,
        }
    }

    /// Checks alignment and bounds. `hint` is the allocation of the last access, tried first.
    #[inline(always)]
    pub(super) fn locate(
        &self,
        at: GlobalAccess,
        required: u32,
        hint: &mut usize,
    ) -> Step<Located<'_>> {
        let GlobalAccess {
            lane,
            address,
            bytes,
            access,
            ..
        } = at;
        if !address.is_multiple_of(u64::from(required)) {
            return Err(Trouble::at(
                FaultKind::Misaligned {
                    space: Space::Global,
                    access,
                    bytes,
                    required,
                },
                lane as u32,
                address,
            ));
        }
        if let Some(allocation) = self.allocations.get(*hint) {
            let offset = address.wrapping_sub(allocation.base());
            if offset < allocation.bytes() && u64::from(bytes) <= allocation.bytes() - offset {
                return Ok(Located {
                    allocation,
                    offset,
                    index: *hint,
                });
            }
        }
        let after = self
            .allocations
            .partition_point(|allocation| allocation.base() <= address);
        if let Some(allocation) = after
            .checked_sub(1)
            .and_then(|index| self.allocations.get(index))
        {
            let offset = address - allocation.base();
            if offset < allocation.bytes() && u64::from(bytes) <= allocation.bytes() - offset {
                *hint = after - 1;
                return Ok(Located {
                    allocation,
                    offset,
                    index: after - 1,
                });
            }
        }
        let detail = self.memory.describe(address);
        Err(Trouble::at(
            FaultKind::OutOfBounds {
                space: Space::Global,
                access,
                bytes,
                detail,
            },
            lane as u32,
            address,
        ))
    }

    /// Checks that a read is of bytes that were written.
    #[inline(always)]
    pub(super) fn check_initialised(&self, place: Located<'_>, at: GlobalAccess) -> Step<()> {
        if place
            .allocation
            .is_initialised(place.offset, u64::from(at.bytes))
        {
            return Ok(());
        }
        Err(Trouble::at(
            FaultKind::UninitialisedMemory {
                space: Space::Global,
                bytes: at.bytes,
            },
            at.lane as u32,
            at.address,
        ))
    }

    /// Records a plain access and checks it against those of other blocks.
    #[inline(always)]
    pub(super) fn note(&self, place: Located<'_>, at: GlobalAccess) -> Step<()> {
        match &self.conflicts {
            Some(conflicts) => conflicts.note(place, at),
            None => Ok(()),
        }
    }

    /// Records that a block published what it wrote, or looked at what others published.
    pub(super) fn synchronised(&self, block: u32) {
        if let Some(conflicts) = &self.conflicts {
            conflicts.synchronised.insert(block);
        }
    }
}

/// Who wrote and who read each byte in this launch.
///
/// A block that orders its accesses by a device-wide fence or an atomic with others is taken at its word: between two
/// such blocks nothing is reported.
struct Conflicts {
    grid: [u32; 3],
    shadows: Vec<OnceLock<Shadow>>,
    synchronised: BlockSet,
}

/// Block numbers plus one; 0 for nobody.
struct Shadow {
    writers: Box<[AtomicU32]>,
    readers: Box<[AtomicU32]>,
}

/// Several blocks read the byte.
const SEVERAL: u32 = u32::MAX;

struct BlockSet {
    members: Vec<AtomicBool>,
}

impl BlockSet {
    fn insert(&self, block: u32) {
        if let Some(member) = self.members.get(block as usize) {
            member.store(true, Relaxed);
        }
    }

    fn contains(&self, block: u32) -> bool {
        self.members
            .get(block as usize)
            .is_some_and(|member| member.load(Relaxed))
    }
}

impl Conflicts {
    fn new(grid: [u32; 3], allocations: usize) -> Self {
        let blocks = grid.iter().map(|extent| *extent as usize).product();
        let members = (0..blocks).map(|_| AtomicBool::new(false)).collect();
        Self {
            grid,
            shadows: (0..allocations).map(|_| OnceLock::new()).collect(),
            synchronised: BlockSet { members },
        }
    }

    fn note(&self, place: Located<'_>, at: GlobalAccess) -> Step<()> {
        let shadow = self.shadows[place.index].get_or_init(|| Shadow {
            writers: bytemuck::allocation::zeroed_slice_box(place.allocation.bytes() as usize),
            readers: bytemuck::allocation::zeroed_slice_box(place.allocation.bytes() as usize),
        });
        let me = at.block + 1;
        let range = place.offset as usize..place.offset as usize + at.bytes as usize;
        for (writer, reader) in shadow.writers[range.clone()]
            .iter()
            .zip(&shadow.readers[range])
        {
            if at.access == Access::Write {
                self.note_write(writer, reader, me, at)?;
            } else {
                self.note_read(writer, reader, me, at)?;
            }
        }
        Ok(())
    }

    // A write marks its byte before it looks at the readers, a read before it looks at the writer. In one total order
    // of these accesses (`SeqCst`) the later of the two sees the earlier.

    fn note_write(
        &self,
        writer: &AtomicU32,
        reader: &AtomicU32,
        me: u32,
        at: GlobalAccess,
    ) -> Step<()> {
        let wrote = if writer.load(Relaxed) == me {
            me
        } else {
            writer.swap(me, SeqCst)
        };
        if wrote != 0 && wrote != me && !self.ordered(wrote - 1, at.block) {
            return Err(self.conflict(at, wrote, "wrote"));
        }
        match reader.load(SeqCst) {
            0 => Ok(()),
            SEVERAL if self.synchronised.contains(at.block) => Ok(()),
            SEVERAL => Err(self.conflict(at, 0, "read")),
            read if read == me || self.ordered(read - 1, at.block) => Ok(()),
            read => Err(self.conflict(at, read, "read")),
        }
    }

    fn note_read(
        &self,
        writer: &AtomicU32,
        reader: &AtomicU32,
        me: u32,
        at: GlobalAccess,
    ) -> Step<()> {
        let read = reader.load(Relaxed);
        if read != me && read != SEVERAL {
            let seen = if read == 0 {
                reader.compare_exchange(0, me, SeqCst, SeqCst).err()
            } else {
                Some(read)
            };
            if seen.is_some_and(|seen| seen != me) {
                reader.store(SEVERAL, SeqCst);
            }
        }
        let wrote = writer.load(SeqCst);
        if wrote != 0 && wrote != me && !self.ordered(wrote - 1, at.block) {
            return Err(self.conflict(at, wrote, "wrote"));
        }
        Ok(())
    }

    fn ordered(&self, other: u32, block: u32) -> bool {
        self.synchronised.contains(other) && self.synchronised.contains(block)
    }

    #[cold]
    fn conflict(&self, at: GlobalAccess, other: u32, other_access: &'static str) -> Box<Trouble> {
        let other_block = block_index(other.saturating_sub(1), self.grid);
        Trouble::at(
            FaultKind::BlockConflict {
                access: at.access,
                other_access,
                other_block,
            },
            at.lane as u32,
            at.address,
        )
    }
}

/// The x, y, z of a block number.
pub(super) fn block_index(number: u32, grid: [u32; 3]) -> [u32; 3] {
    [
        number % grid[0],
        number / grid[0] % grid[1],
        number / grid[0] / grid[1],
    ]
}

impl Located<'_> {
    /// Up to eight bytes, aligned to their number.
    #[inline(always)]
    pub(super) fn load(self, at: u32, bytes: u32) -> u64 {
        let offset = self.offset + u64::from(at);
        let word = u64::from(self.allocation.word(offset).load(Relaxed));
        match bytes {
            8 => word | (u64::from(self.allocation.word(offset + 4).load(Relaxed)) << 32),
            4 => word,
            2 => (word >> (8 * (offset % 4))) & 0xffff,
            _ => (word >> (8 * (offset % 4))) & 0xff,
        }
    }

    /// Stores up to eight bytes, aligned to their number, and marks them initialised.
    #[inline(always)]
    pub(super) fn store(self, at: u32, bytes: u32, value: u64) {
        let offset = self.offset + u64::from(at);
        self.allocation.mark(offset, u64::from(bytes));
        let word = self.allocation.word(offset);
        match bytes {
            8 => {
                word.store(value as u32, Relaxed);
                self.allocation
                    .word(offset + 4)
                    .store((value >> 32) as u32, Relaxed);
            }
            4 => word.store(value as u32, Relaxed),
            _ => {
                let shift = 8 * (offset % 4) as u32;
                let mask = if bytes == 2 { 0xffffu32 } else { 0xff } << shift;
                update_word(word, |old| {
                    (old & !mask) | (((value as u32) << shift) & mask)
                });
            }
        }
    }

    /// A read-modify-write that no other block can split; returns the old value.
    pub(super) fn modify(self, bytes: u32, change: impl Fn(u64) -> u64) -> u64 {
        let word = self.allocation.word(self.offset);
        match bytes {
            4 => u64::from(update_word(word, |old| change(u64::from(old)) as u32)),
            2 => {
                let shift = 8 * (self.offset % 4) as u32;
                let mask = 0xffffu32 << shift;
                let old = update_word(word, |old| {
                    (old & !mask)
                        | ((change(u64::from((old & mask) >> shift)) as u32) << shift) & mask
                });
                u64::from((old & mask) >> shift)
            }
            _ => {
                // Two words: the lock orders this against other wide atomics, which is what PTX promises.
                let _guard = self
                    .allocation
                    .wide_lock()
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                let old = self.load(0, 8);
                self.store(0, 8, change(old));
                old
            }
        }
    }
}
