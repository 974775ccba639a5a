//! The shared memory of one block.

mod asynchronous;
mod shadow;

use super::clock::Knowledge;
use super::trouble::{Step, Trouble, lanes_of};
use crate::fault::{Access, FaultKind, Space};
use crate::lanes::{Lanes, WARP};

use asynchronous::Copies;
pub(super) use asynchronous::Copy;
use shadow::{Shadow, Writer};

/// The offset of each active lane of an access.
pub(super) type Offsets = [u32; WARP];

/// Who accesses: the warp, its current interval, and what it knows.
#[derive(Clone, Copy)]
pub(super) struct Accessor<'a> {
    pub warp: usize,
    pub interval: u32,
    pub knowledge: &'a Knowledge,
    /// Atomics and `volatile` or `relaxed` accesses do not race with each other.
    pub strong: bool,
}

impl Accessor<'_> {
    fn write_access(&self) -> Access {
        if self.strong {
            Access::Atomic
        } else {
            Access::Write
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct SharedMemory {
    bytes: Vec<u8>,
    /// Kept when checks are off, so that its room is used again.
    shadow: Shadow,
    checks: bool,
    copies: Copies,
}

impl SharedMemory {
    /// Uninitialised memory of that size, tracked in cells of `cell` bytes.
    pub(super) fn reset(&mut self, bytes: usize, warps: usize, checks: bool, cell: u32) {
        self.checks = checks;
        self.copies.clear();
        self.bytes.clear();
        self.bytes.resize(bytes, 0);
        if checks {
            self.shadow.reset(bytes, warps, cell);
        }
    }

    /// Checks alignment and bounds of one lane's access; returns the offset.
    #[inline(always)]
    pub(super) fn locate(
        &self,
        lane: usize,
        address: u64,
        bytes: u32,
        required: u32,
        access: Access,
    ) -> Step<usize> {
        let end = address.checked_add(u64::from(bytes));
        if address & u64::from(required - 1) == 0
            && end.is_some_and(|end| end <= self.bytes.len() as u64)
        {
            return Ok(address as usize);
        }
        Err(self.misplaced(lane, address, (bytes, required), access))
    }

    #[cold]
    fn misplaced(
        &self,
        lane: usize,
        address: u64,
        (bytes, required): (u32, u32),
        access: Access,
    ) -> Box<Trouble> {
        let space = Space::Shared;
        let kind = if address.is_multiple_of(u64::from(required)) {
            let detail = format!("the block has {} bytes", self.bytes.len());
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

    /// Checks alignment and bounds of every active lane's access of `bytes`, a power of two.
    #[inline(always)]
    fn locate_all(
        &self,
        addresses: &Lanes,
        active: u32,
        bytes: u32,
        access: Access,
    ) -> Step<Offsets> {
        let mut offsets = [0; WARP];
        for lane in lanes_of(active) {
            offsets[lane] = self.locate(lane, addresses[lane], bytes, bytes, access)? as u32;
        }
        Ok(offsets)
    }

    /// Bytes without a check.
    #[inline(always)]
    pub(super) fn raw(&self, offset: usize, bytes: usize) -> &[u8] {
        &self.bytes[offset..offset + bytes]
    }

    /// Every byte, without a check.
    #[inline(always)]
    pub(super) fn all(&self) -> &[u8] {
        &self.bytes
    }

    #[inline(always)]
    pub(super) fn raw_mut(&mut self, offset: usize, bytes: usize) -> &mut [u8] {
        &mut self.bytes[offset..offset + bytes]
    }

    /// Checks a read by the active lanes (place, initialised, ordered after the writers) and records it.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        addresses: &Lanes,
        active: u32,
        bytes: u32,
        who: Accessor<'_>,
    ) -> Step<Offsets> {
        let offsets = self.locate_all(addresses, active, bytes, Access::Read)?;
        if self.checks {
            let mut accepted = Writer::of(&who);
            for lane in lanes_of(active) {
                let range = (offsets[lane] as usize, bytes as usize);
                self.shadow
                    .note_read(&self.copies, lane, range, &who, &mut accepted)?;
            }
        }
        Ok(offsets)
    }

    /// As [`read`](Self::read) for one lane whose place is known.
    pub(super) fn read_lane(
        &mut self,
        lane: usize,
        offset: usize,
        bytes: usize,
        who: Accessor<'_>,
    ) -> Step<()> {
        if self.checks {
            let mut accepted = Writer::of(&who);
            self.shadow
                .note_read(&self.copies, lane, (offset, bytes), &who, &mut accepted)?;
        }
        Ok(())
    }

    /// Checks a write by the active lanes (place, ordered after all earlier accesses) and records it; the caller then
    /// performs it.
    ///
    /// Two unordered writes of the same value are let pass: compilers write what several warps hold alike from each.
    /// `data` gives what a lane is about to write, in as many bytes.
    #[inline(always)]
    pub(super) fn write<const MAX: usize>(
        &mut self,
        addresses: &Lanes,
        active: u32,
        bytes: u32,
        who: Accessor<'_>,
        data: impl Fn(usize) -> [u8; MAX],
    ) -> Step<Offsets> {
        let offsets = self.locate_all(addresses, active, bytes, who.write_access())?;
        if self.checks {
            let mut accepted = Writer::of(&who);
            let floor = who.knowledge.floor(who.warp);
            for lane in lanes_of(active) {
                let range = (offsets[lane] as usize, bytes as usize);
                let unordered = self.shadow.check_writers(
                    &self.copies,
                    lane,
                    range,
                    who.write_access(),
                    &who,
                    &mut accepted,
                );
                if let Err(trouble) = unordered
                    && self.raw(range.0, range.1) != &data(lane)[..range.1]
                {
                    return Err(trouble);
                }
                self.note_write(lane, range, floor, &who)?;
            }
        }
        Ok(offsets)
    }

    /// As [`write`](Self::write) for one lane whose place is known; performs the write too.
    pub(super) fn write_lane(
        &mut self,
        lane: usize,
        offset: usize,
        data: &[u8],
        who: Accessor<'_>,
    ) -> Step<()> {
        let range = (offset, data.len());
        if self.checks {
            let mut accepted = Writer::of(&who);
            let access = who.write_access();
            let unordered =
                self.shadow
                    .check_writers(&self.copies, lane, range, access, &who, &mut accepted);
            if let Err(trouble) = unordered
                && self.raw(offset, data.len()) != data
            {
                return Err(trouble);
            }
            self.note_write(lane, range, who.knowledge.floor(who.warp), &who)?;
        }
        self.raw_mut(offset, data.len()).copy_from_slice(data);
        Ok(())
    }

    #[inline(always)]
    fn note_write(
        &mut self,
        lane: usize,
        (offset, bytes): (usize, usize),
        floor: u32,
        who: &Accessor<'_>,
    ) -> Step<()> {
        let access = who.write_access();
        self.shadow
            .check_readers(lane, (offset, bytes), access, floor, who)?;
        self.copies
            .check_pending_reads(lane, (offset, bytes), access)?;
        self.shadow.set_writer((offset, bytes), Writer::of(who));
        Ok(())
    }

    /// The warp that wrote a byte last, if one did.
    pub(super) fn writer(&self, offset: usize) -> Option<usize> {
        self.checks.then(|| self.shadow.writer(offset))?
    }

    /// Starts a copy and returns its number.
    pub(super) fn start_copy(&mut self, copy: Copy) -> u32 {
        self.copies.start(copy)
    }

    pub(super) fn finish_copy(&mut self, copy: u32) {
        self.copies.finish(copy);
    }

    /// Hands bytes to a copy: until it is waited for, nobody may touch them.
    pub(super) fn own_for_copy(
        &mut self,
        lane: usize,
        offset: usize,
        bytes: usize,
        copy: u32,
        who: Accessor<'_>,
    ) -> Step<()> {
        if !self.checks {
            return Ok(());
        }
        let (range, floor) = ((offset, bytes), who.knowledge.floor(who.warp));
        let mut accepted = Writer::of(&who);
        self.shadow.check_writers(
            &self.copies,
            lane,
            range,
            Access::Write,
            &who,
            &mut accepted,
        )?;
        self.shadow
            .check_readers(lane, range, Access::Write, floor, &who)?;
        self.copies
            .check_pending_reads(lane, range, Access::Write)?;
        self.shadow.set_writer(range, Writer::copy(copy));
        Ok(())
    }

    /// Hands bytes from a finished copy to the warp that waited for it.
    pub(super) fn give_to_warp(&mut self, offset: usize, bytes: usize, warp: usize, interval: u32) {
        if self.checks {
            self.shadow
                .set_writer((offset, bytes), Writer::warp(warp, interval, false));
        }
    }

    /// Checks the source of a copy through the asynchronous proxy, and keeps others from writing it.
    pub(super) fn read_for_copy(
        &mut self,
        offset: usize,
        bytes: usize,
        copy: u32,
        who: Accessor<'_>,
    ) -> Step<()> {
        if self.checks && bytes > 0 {
            self.shadow
                .check_fenced(&self.copies, (offset, bytes), &who)?;
            self.copies.keep_source(copy, offset, offset + bytes);
        }
        Ok(())
    }
}
