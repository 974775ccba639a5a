//! Global memory as one launch sees it.

mod conflicts;

use std::sync::Arc;

use conflicts::Conflicts;

use super::shared::Accessor;
use super::trouble::{Step, Trouble, lanes_of};
use crate::fault::{Access, FaultKind, Space};
use crate::lanes::{Lanes, WARP};
use crate::memory::{Allocation, GlobalMemory};

/// The allocations at the time of the launch.
pub(super) struct GlobalView<'a> {
    memory: &'a GlobalMemory,
    allocations: Vec<Arc<Allocation>>,
    conflicts: Option<Conflicts>,
}

/// Accesses of some lanes that lie inside one allocation.
#[derive(Clone, Copy)]
pub(super) struct Located<'a> {
    pub allocation: &'a Allocation,
    pub lanes: u32,
    index: usize,
}

impl Located<'_> {
    #[inline(always)]
    pub(super) fn offset(&self, address: u64) -> u64 {
        address - self.allocation.base()
    }
}

impl<'a> GlobalView<'a> {
    /// A view that reports conflicts between blocks in cells of `cell` bytes, if given.
    pub(super) fn new(memory: &'a GlobalMemory, grid: [u32; 3], cell: Option<u32>) -> Self {
        let allocations = memory.snapshot();
        let conflicts = cell.map(|cell| Conflicts::new(grid, allocations.len(), cell));
        Self {
            memory,
            allocations,
            conflicts,
        }
    }

    /// Checks alignment and bounds of an access by `lanes`, of `bytes` each: those that lie in the same allocation as
    /// the first, which has to lie in one. `hint` is the allocation of the last access, tried first.
    #[inline(always)]
    pub(super) fn locate(
        &self,
        addresses: &Lanes,
        lanes: u32,
        (bytes, required): (u32, u32),
        access: Access,
        hint: &mut usize,
    ) -> Step<Located<'_>> {
        let first = lanes.trailing_zeros() as usize % WARP;
        let inside = |allocation: &Allocation, address: u64| {
            let offset = address.wrapping_sub(allocation.base());
            offset < allocation.bytes()
                && u64::from(bytes) <= allocation.bytes() - offset
                && address & u64::from(required - 1) == 0
        };
        let holds_first = |index: usize| {
            let allocation = self.allocations.get(index)?;
            inside(allocation, addresses[first]).then_some((index, allocation))
        };
        let found = holds_first(*hint).or_else(|| {
            let after = self
                .allocations
                .partition_point(|allocation| allocation.base() <= addresses[first]);
            holds_first(after.checked_sub(1)?)
        });
        let Some((index, allocation)) = found else {
            return Err(self.misplaced(first, addresses[first], (bytes, required), access));
        };
        *hint = index;
        let mut all = 0;
        for (lane, address) in addresses.iter().enumerate() {
            all |= u32::from(inside(allocation, *address)) << lane;
        }
        Ok(Located {
            allocation,
            lanes: lanes & all,
            index,
        })
    }

    #[cold]
    fn misplaced(
        &self,
        lane: usize,
        address: u64,
        (bytes, required): (u32, u32),
        access: Access,
    ) -> Box<Trouble> {
        let space = Space::Global;
        let kind = if address.is_multiple_of(u64::from(required)) {
            let detail = self.memory.describe(address);
            FaultKind::OutOfBounds {
                space,
                access,
                bytes,
                detail,
            }
        } else {
            FaultKind::Misaligned {
                space,
                access,
                bytes,
                required,
            }
        };
        Trouble::at(kind, lane as u32, address)
    }

    /// Checks that a read is of bytes that were written.
    #[inline(always)]
    pub(super) fn check_initialised(
        &self,
        place: &Located<'_>,
        addresses: &Lanes,
        bytes: u32,
    ) -> Step<()> {
        for lane in lanes_of(place.lanes) {
            let offset = place.offset(addresses[lane]);
            if !place.allocation.is_initialised(offset, u64::from(bytes)) {
                let space = Space::Global;
                let kind = FaultKind::UninitialisedMemory { space, bytes };
                return Err(Trouble::at(kind, lane as u32, addresses[lane]));
            }
        }
        Ok(())
    }

    /// Records plain accesses of a warp of a block, and checks them against those of other blocks and warps.
    #[inline(always)]
    pub(super) fn note(
        &self,
        place: &Located<'_>,
        who: (u32, &Accessor<'_>),
        addresses: &Lanes,
        bytes: u32,
        access: Access,
    ) -> Step<()> {
        match &self.conflicts {
            Some(conflicts) => conflicts.note(place, who, addresses, bytes, access),
            None => Ok(()),
        }
    }

    /// Records that a block published what it wrote, or looked at what others published.
    pub(super) fn synchronised(&self, block: u32) {
        if let Some(conflicts) = &self.conflicts {
            conflicts.synchronised(block);
        }
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
