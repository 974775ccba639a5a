//! The check for blocks of one launch that get in each other's way (a tile covered twice, a mirrored triangle), and for warps
//! of one block that hand each other numbers without a barrier.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

use super::{Located, block_index};
use crate::exec::shared::Accessor;
use crate::exec::trouble::{Step, Trouble, lanes_of};
use crate::fault::{Access, FaultKind};
use crate::lanes::Lanes;

/// Who wrote and who read each byte in this launch. Bytes are tracked in cells as wide as the kernel's narrowest
/// plain store: every store covers whole cells, so that a conflict in a cell is one of its bytes.
///
/// A block that orders its accesses by a device-wide fence or an atomic with others is taken at its word: between two
/// such blocks nothing is reported.
///
/// Of the warps of a block that alone uses a cell the last writer and the last reader are kept. Two unordered writes are let
/// pass: compilers write what several warps hold alike from each.
pub(super) struct Conflicts {
    grid: [u32; 3],
    /// Bytes of a cell, as a power of two.
    shift: u32,
    shadows: Vec<OnceLock<Shadow>>,
    synchronised: BlockSet,
}

/// Block numbers plus one; 0 for nobody. Warps are of the block that is named last, with their interval.
struct Shadow {
    writers: Box<[AtomicU32]>,
    readers: Box<[AtomicU32]>,
    writing_warps: Box<[AtomicU32]>,
    reading_warps: Box<[AtomicU32]>,
}

/// What is kept of a cell.
#[derive(Clone, Copy)]
struct Cell<'a> {
    writer: &'a AtomicU32,
    reader: &'a AtomicU32,
    writing_warp: &'a AtomicU32,
    reading_warp: &'a AtomicU32,
}

/// A warp and its interval.
fn packed(who: &Accessor<'_>) -> u32 {
    who.interval << 5 | who.warp as u32
}

/// Several blocks read the cell.
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

/// One lane's access to a cell.
#[derive(Clone, Copy)]
struct CellAccess<'a> {
    who: &'a Accessor<'a>,
    block: u32,
    lane: usize,
    address: u64,
    access: Access,
}

impl Conflicts {
    pub(super) fn new(grid: [u32; 3], allocations: usize, cell: u32) -> Self {
        let blocks = grid.iter().map(|extent| *extent as usize).product();
        let members = (0..blocks).map(|_| AtomicBool::new(false)).collect();
        Self {
            grid,
            shift: cell.trailing_zeros(),
            shadows: (0..allocations).map(|_| OnceLock::new()).collect(),
            synchronised: BlockSet { members },
        }
    }

    pub(super) fn synchronised(&self, block: u32) {
        self.synchronised.insert(block);
    }

    pub(super) fn note(
        &self,
        place: &Located<'_>,
        (block, who): (u32, &Accessor<'_>),
        addresses: &Lanes,
        bytes: u32,
        access: Access,
    ) -> Step<()> {
        let shadow = self.shadows[place.index].get_or_init(|| {
            let cells = place.allocation.bytes().div_ceil(1 << self.shift) as usize;
            let nobody = || bytemuck::allocation::zeroed_slice_box(cells);
            Shadow {
                writers: nobody(),
                readers: nobody(),
                writing_warps: nobody(),
                reading_warps: nobody(),
            }
        });
        for lane in lanes_of(place.lanes) {
            let offset = place.offset(addresses[lane]);
            let last = (offset + u64::from(bytes) - 1) >> self.shift;
            let cells = (offset >> self.shift) as usize..last as usize + 1;
            let at = CellAccess {
                who,
                block,
                lane,
                address: addresses[lane],
                access,
            };
            for index in cells {
                let cell = Cell {
                    writer: &shadow.writers[index],
                    reader: &shadow.readers[index],
                    writing_warp: &shadow.writing_warps[index],
                    reading_warp: &shadow.reading_warps[index],
                };
                if access == Access::Write {
                    self.note_write(cell, at)?;
                } else {
                    self.note_read(cell, at)?;
                }
            }
        }
        Ok(())
    }

    // A write marks its cell before it looks at the readers, a read before it looks at the writer. In one total order
    // of these accesses (`SeqCst`) the later of the two sees the earlier.

    fn note_write(&self, cell: Cell<'_>, at: CellAccess<'_>) -> Step<()> {
        let Cell { writer, reader, .. } = cell;
        let me = at.block + 1;
        let wrote = if writer.load(Relaxed) == me {
            me
        } else {
            writer.swap(me, SeqCst)
        };
        if wrote != 0 && wrote != me && !self.ordered(wrote - 1, at.block) {
            return Err(self.conflict(at, wrote, "wrote"));
        }
        cell.writing_warp.store(packed(at.who), Relaxed);
        match reader.load(SeqCst) {
            0 => Ok(()),
            SEVERAL if self.synchronised.contains(at.block) => Ok(()),
            SEVERAL => Err(self.conflict(at, SEVERAL, "read")),
            read if read == me => follows(cell.reading_warp, at, Access::Read),
            read if self.ordered(read - 1, at.block) => Ok(()),
            read => Err(self.conflict(at, read, "read")),
        }
    }

    fn note_read(&self, cell: Cell<'_>, at: CellAccess<'_>) -> Step<()> {
        let Cell { writer, reader, .. } = cell;
        let me = at.block + 1;
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
        cell.reading_warp.store(packed(at.who), Relaxed);
        match writer.load(SeqCst) {
            0 => Ok(()),
            wrote if wrote == me => follows(cell.writing_warp, at, Access::Write),
            wrote if self.ordered(wrote - 1, at.block) => Ok(()),
            wrote => Err(self.conflict(at, wrote, "wrote")),
        }
    }

    fn ordered(&self, other: u32, block: u32) -> bool {
        self.synchronised.contains(other) && self.synchronised.contains(block)
    }

    #[cold]
    fn conflict(&self, at: CellAccess<'_>, other: u32, other_access: &'static str) -> Box<Trouble> {
        let other_block = (other != SEVERAL).then(|| block_index(other - 1, self.grid));
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

/// Checks that an access is ordered behind that of another warp of its block.
fn follows(other: &AtomicU32, at: CellAccess<'_>, other_access: Access) -> Step<()> {
    let other = other.load(Relaxed);
    let (warp, interval) = ((other & 31) as usize, other >> 5);
    if warp == at.who.warp || interval <= at.who.knowledge.of(warp) {
        return Ok(());
    }
    let kind = FaultKind::GlobalRace {
        access: at.access,
        other_access,
        other_warp: warp as u32,
    };
    Err(Trouble::at(kind, at.lane as u32, at.address))
}
