//! The shared memory of one block, and its shadow: for each byte who wrote it last, in which interval between
//! barriers, and when each warp last read it.

use super::clock::Knowledge;
use super::trouble::{Step, Trouble};
use crate::fault::{Access, FaultKind, Space};

/// A byte's last writer, packed: nobody, a warp in an interval, or an asynchronous copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Writer(u32);

impl Writer {
    const NOBODY: Self = Self(0);
    const COPY: u32 = 1 << 31;
    const ATOMIC: u32 = 1 << 5;

    fn warp(warp: usize, interval: u32, atomic: bool) -> Self {
        Self((interval << 6) | if atomic { Self::ATOMIC } else { 0 } | warp as u32)
    }

    fn copy(copy: u32) -> Self {
        Self(Self::COPY | copy)
    }

    fn as_copy(self) -> Option<u32> {
        (self.0 & Self::COPY != 0).then_some(self.0 & !Self::COPY)
    }

    fn is_atomic(self) -> bool {
        self.0 & Self::ATOMIC != 0
    }

    fn warp_index(self) -> usize {
        (self.0 & 31) as usize
    }

    fn interval(self) -> u32 {
        (self.0 & !Self::COPY) >> 6
    }
}

/// Who accesses: the warp, its current interval, and what it knows.
#[derive(Clone, Copy)]
pub(super) struct Accessor<'a> {
    pub warp: usize,
    pub interval: u32,
    pub knowledge: &'a Knowledge,
    /// Atomics and `volatile` or `relaxed` accesses do not race with each other.
    pub strong: bool,
}

/// An asynchronous copy that writes or reads shared memory.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub finished: bool,
    pub warp: usize,
    pub line: u32,
    pub waits_on: &'static str,
}

/// A range that an asynchronous copy still reads.
#[derive(Debug, Clone, Copy)]
struct PendingRead {
    copy: u32,
    start: usize,
    end: usize,
}

#[derive(Debug, Default)]
pub(super) struct SharedMemory {
    bytes: Vec<u8>,
    writers: Vec<u32>,
    readers: Vec<u32>,
    warps: usize,
    checks: bool,
    copies: Vec<Copy>,
    pending_reads: Vec<PendingRead>,
}

impl SharedMemory {
    /// Uninitialised memory of that size.
    pub(super) fn reset(&mut self, bytes: usize, warps: usize, checks: bool) {
        self.warps = warps;
        self.checks = checks;
        self.copies.clear();
        self.pending_reads.clear();
        self.bytes.clear();
        self.bytes.resize(bytes, 0);
        self.writers.clear();
        self.readers.clear();
        if checks {
            self.writers.resize(bytes, Writer::NOBODY.0);
            self.readers.resize(bytes * warps, 0);
        }
    }

    /// Checks alignment and bounds; returns the offset.
    pub(super) fn locate(
        &self,
        lane: usize,
        address: u64,
        bytes: u32,
        required: u32,
        access: Access,
    ) -> Step<usize> {
        if !address.is_multiple_of(u64::from(required)) {
            return Err(Trouble::at(
                FaultKind::Misaligned {
                    space: Space::Shared,
                    access,
                    bytes,
                    required,
                },
                lane as u32,
                address,
            ));
        }
        let end = address.checked_add(u64::from(bytes));
        if end.is_none_or(|end| end > self.bytes.len() as u64) {
            let detail = format!("the block has {} bytes", self.bytes.len());
            return Err(Trouble::at(
                FaultKind::OutOfBounds {
                    space: Space::Shared,
                    access,
                    bytes,
                    detail,
                },
                lane as u32,
                address,
            ));
        }
        Ok(address as usize)
    }

    /// Bytes without a check.
    #[inline(always)]
    pub(super) fn raw(&self, offset: usize, bytes: usize) -> &[u8] {
        &self.bytes[offset..offset + bytes]
    }

    #[inline(always)]
    pub(super) fn raw_mut(&mut self, offset: usize, bytes: usize) -> &mut [u8] {
        &mut self.bytes[offset..offset + bytes]
    }

    /// Checks that a read is of initialised bytes and ordered after their writers, and records it.
    #[inline(always)]
    pub(super) fn note_read(
        &mut self,
        lane: usize,
        offset: usize,
        bytes: usize,
        who: Accessor<'_>,
    ) -> Step<()> {
        if !self.checks {
            return Ok(());
        }
        let writers = &self.writers[offset..offset + bytes];
        let first = writers[0];
        // Bytes that were written together share one entry: one look is enough.
        if writers.iter().all(|writer| *writer == first) {
            self.check_read(lane, offset, bytes, Writer(first), who)?;
        } else {
            for at in offset..offset + bytes {
                self.check_read(lane, at, bytes, Writer(self.writers[at]), who)?;
            }
        }
        if !who.strong {
            let readers = who.warp * self.bytes.len() + offset;
            self.readers[readers..readers + bytes].fill(who.interval);
        }
        Ok(())
    }

    #[inline(always)]
    fn check_read(
        &self,
        lane: usize,
        at: usize,
        bytes: usize,
        writer: Writer,
        who: Accessor<'_>,
    ) -> Step<()> {
        if writer == Writer::NOBODY {
            let kind = FaultKind::UninitialisedMemory {
                space: Space::Shared,
                bytes: bytes as u32,
            };
            return Err(Trouble::at(kind, lane as u32, at as u64));
        }
        self.check_writer(lane, at, writer, Access::Read, who)
    }

    /// Checks that the last writer is ordered before this access.
    #[inline(always)]
    fn check_writer(
        &self,
        lane: usize,
        at: usize,
        writer: Writer,
        access: Access,
        who: Accessor<'_>,
    ) -> Step<()> {
        if let Some(copy) = writer.as_copy() {
            return self.check_copy(lane, at, copy, access, who);
        }
        let other = writer.warp_index();
        if other == who.warp
            || writer.interval() <= who.knowledge.of(other)
            || (who.strong && writer.is_atomic())
        {
            return Ok(());
        }
        let kind = FaultKind::SharedRace {
            access,
            other_access: Access::Write,
            other_warp: other as u32,
        };
        Err(Trouble::at(kind, lane as u32, at as u64))
    }

    #[cold]
    fn check_copy(
        &self,
        lane: usize,
        at: usize,
        copy: u32,
        access: Access,
        who: Accessor<'_>,
    ) -> Step<()> {
        let record = &self.copies[copy as usize];
        if record.finished && who.knowledge.knows_copy(copy) {
            return Ok(());
        }
        let detail = format!(
            "issued by warp {} at PTX line {}; {} is missing",
            record.warp, record.line, record.waits_on
        );
        Err(Trouble::at(
            FaultKind::AsyncNotWaited { access, detail },
            lane as u32,
            at as u64,
        ))
    }

    /// Checks that a write is ordered after all earlier accesses, records and performs it.
    ///
    /// Two unordered writes of the same value are let pass: compilers write what several warps hold alike from each.
    #[inline(always)]
    pub(super) fn write(
        &mut self,
        lane: usize,
        offset: usize,
        data: &[u8],
        who: Accessor<'_>,
    ) -> Step<()> {
        let bytes = data.len();
        if self.checks {
            let access = if who.strong {
                Access::Atomic
            } else {
                Access::Write
            };
            let checked = self.check_writers(lane, offset, bytes, access, who);
            if checked.is_err() && self.bytes[offset..offset + bytes] != *data {
                return checked;
            }
            self.check_readers(lane, offset, bytes, access, who)?;
            self.writers[offset..offset + bytes]
                .fill(Writer::warp(who.warp, who.interval, who.strong).0);
        }
        self.bytes[offset..offset + bytes].copy_from_slice(data);
        Ok(())
    }

    #[inline(always)]
    fn check_writers(
        &self,
        lane: usize,
        offset: usize,
        bytes: usize,
        access: Access,
        who: Accessor<'_>,
    ) -> Step<()> {
        let writers = &self.writers[offset..offset + bytes];
        let first = writers[0];
        if writers.iter().all(|writer| *writer == first) {
            return self.check_writer(lane, offset, Writer(first), access, who);
        }
        let mut each = writers.iter().enumerate();
        each.try_for_each(|(index, writer)| {
            self.check_writer(lane, offset + index, Writer(*writer), access, who)
        })
    }

    #[inline(always)]
    fn check_readers(
        &self,
        lane: usize,
        offset: usize,
        bytes: usize,
        access: Access,
        who: Accessor<'_>,
    ) -> Step<()> {
        for (warp, known) in who.knowledge.all().iter().enumerate() {
            let readers = warp * self.bytes.len() + offset;
            let latest = self.readers[readers..readers + bytes]
                .iter()
                .fold(0, |latest, interval| latest.max(*interval));
            if latest > *known && warp != who.warp {
                let kind = FaultKind::SharedRace {
                    access,
                    other_access: Access::Read,
                    other_warp: warp as u32,
                };
                return Err(Trouble::at(kind, lane as u32, offset as u64));
            }
        }
        if !self.pending_reads.is_empty() {
            self.check_pending_reads(lane, offset, bytes, access)?;
        }
        Ok(())
    }

    /// The warp that wrote a byte last, if one did.
    pub(super) fn writer(&self, offset: usize) -> Option<usize> {
        let writer = Writer(*self.writers.get(offset)?);
        (writer != Writer::NOBODY && writer.as_copy().is_none()).then(|| writer.warp_index())
    }

    #[cold]
    fn check_pending_reads(
        &self,
        lane: usize,
        offset: usize,
        bytes: usize,
        access: Access,
    ) -> Step<()> {
        let overlap = self
            .pending_reads
            .iter()
            .find(|read| offset < read.end && read.start < offset + bytes);
        let Some(read) = overlap else { return Ok(()) };
        let record = &self.copies[read.copy as usize];
        let detail = format!(
            "it is the source of the copy of warp {} at PTX line {}; {} is missing",
            record.warp, record.line, record.waits_on
        );
        Err(Trouble::at(
            FaultKind::AsyncNotWaited { access, detail },
            lane as u32,
            offset as u64,
        ))
    }

    /// Starts a copy and returns its number.
    pub(super) fn start_copy(&mut self, copy: Copy) -> u32 {
        self.copies.push(copy);
        self.copies.len() as u32 - 1
    }

    pub(super) fn finish_copy(&mut self, copy: u32) {
        if let Some(record) = self.copies.get_mut(copy as usize) {
            record.finished = true;
        }
        self.pending_reads.retain(|read| read.copy != copy);
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
        self.check_writers(lane, offset, bytes, Access::Write, who)?;
        self.check_readers(lane, offset, bytes, Access::Write, who)?;
        self.writers[offset..offset + bytes].fill(Writer::copy(copy).0);
        Ok(())
    }

    /// Hands bytes from a finished copy to the warp that waited for it.
    pub(super) fn give_to_warp(&mut self, offset: usize, bytes: usize, warp: usize, interval: u32) {
        if self.checks {
            self.writers[offset..offset + bytes].fill(Writer::warp(warp, interval, false).0);
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
        if !self.checks || bytes == 0 {
            return Ok(());
        }
        for at in offset..offset + bytes {
            let writer = Writer(self.writers[at]);
            self.check_read(0, at, bytes, writer, who)?;
            if writer.as_copy().is_none()
                && writer.interval() > who.knowledge.fenced(writer.warp_index())
            {
                let kind = FaultKind::MissingProxyFence {
                    writer: writer.warp_index() as u32,
                };
                return Err(Trouble::at(kind, 0, at as u64));
            }
        }
        self.pending_reads.push(PendingRead {
            copy,
            start: offset,
            end: offset + bytes,
        });
        Ok(())
    }
}
