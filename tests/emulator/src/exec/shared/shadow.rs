//! What is known of each byte of shared memory: who wrote it last, in which interval between synchronisations, and
//! when each warp last read it.
//!
//! Bytes are tracked in cells as wide as the kernel's narrowest write. Accesses are aligned to their width, so that
//! every write covers whole cells, and one entry a cell tells as much as one a byte: a read of a part of a cell meets
//! the same writer, and a write after it meets the byte that was read.

use std::ops::Range;

use super::Accessor;
use super::asynchronous::Copies;
use crate::exec::trouble::{Step, Trouble};
use crate::fault::{Access, FaultKind, Space};

/// A cell's last writer, packed: nobody, a warp in an interval, or an asynchronous copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Writer(u32);

impl Writer {
    const NOBODY: Self = Self(0);
    const COPY: u32 = 1 << 31;
    const ATOMIC: u32 = 1 << 5;

    pub(super) fn warp(warp: usize, interval: u32, atomic: bool) -> Self {
        Self((interval << 6) | if atomic { Self::ATOMIC } else { 0 } | warp as u32)
    }

    /// What a write by `who` leaves.
    pub(super) fn of(who: &Accessor<'_>) -> Self {
        Self::warp(who.warp, who.interval, who.strong)
    }

    pub(super) fn copy(copy: u32) -> Self {
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

#[derive(Debug, Default)]
pub(super) struct Shadow {
    /// Bytes of a cell, as a power of two.
    shift: u32,
    writers: Vec<Writer>,
    /// The latest interval in which each warp read each cell: the cells of the first warp, then those of the next.
    reads: Vec<u32>,
    /// The latest of these intervals over all warps.
    latest_reads: Vec<u32>,
}

impl Shadow {
    pub(super) fn reset(&mut self, bytes: usize, warps: usize, cell: u32) {
        self.shift = cell.trailing_zeros();
        let cells = bytes.div_ceil(cell as usize);
        self.writers.clear();
        self.writers.resize(cells, Writer::NOBODY);
        self.reads.clear();
        self.reads.resize(cells * warps, 0);
        self.latest_reads.clear();
        self.latest_reads.resize(cells, 0);
    }

    #[inline(always)]
    fn cells(&self, (offset, bytes): (usize, usize)) -> Range<usize> {
        offset >> self.shift..((offset + bytes - 1) >> self.shift) + 1
    }

    /// The first byte of a cell that an access from `offset` touches.
    fn byte(&self, cell: usize, offset: usize) -> usize {
        (cell << self.shift).max(offset)
    }

    /// Checks that a read is of initialised bytes and ordered after their writers, and records it. `accepted` is a
    /// writer known to be ordered before; the next one found takes its place.
    #[inline(always)]
    pub(super) fn note_read(
        &mut self,
        copies: &Copies,
        lane: usize,
        range: (usize, usize),
        who: &Accessor<'_>,
        accepted: &mut Writer,
    ) -> Step<()> {
        let cells = self.cells(range);
        for (index, writer) in self.writers[cells.clone()].iter().enumerate() {
            if writer != accepted {
                let at = self.byte(cells.start + index, range.0);
                check_read(copies, lane, (at, range.1), *writer, who)?;
                *accepted = *writer;
            }
        }
        if !who.strong {
            let row = who.warp * self.writers.len();
            self.reads[row + cells.start..row + cells.end].fill(who.interval);
            for latest in &mut self.latest_reads[cells] {
                *latest = (*latest).max(who.interval);
            }
        }
        Ok(())
    }

    /// Checks that the last writers are ordered before a write.
    #[inline(always)]
    pub(super) fn check_writers(
        &self,
        copies: &Copies,
        lane: usize,
        range: (usize, usize),
        access: Access,
        who: &Accessor<'_>,
        accepted: &mut Writer,
    ) -> Step<()> {
        let cells = self.cells(range);
        for (index, writer) in self.writers[cells.clone()].iter().enumerate() {
            if writer != accepted {
                let at = self.byte(cells.start + index, range.0);
                check_writer(copies, lane, at, *writer, access, who)?;
                *accepted = *writer;
            }
        }
        Ok(())
    }

    /// Checks that all reads are ordered before a write. What every other warp did up to the interval `floor` is.
    #[inline(always)]
    pub(super) fn check_readers(
        &self,
        lane: usize,
        range: (usize, usize),
        access: Access,
        floor: u32,
        who: &Accessor<'_>,
    ) -> Step<()> {
        let cells = self.cells(range);
        if self.latest_reads[cells.clone()]
            .iter()
            .all(|latest| *latest <= floor)
        {
            return Ok(());
        }
        self.check_each_reader(lane, (cells, range.0), access, who)
    }

    fn check_each_reader(
        &self,
        lane: usize,
        (cells, offset): (Range<usize>, usize),
        access: Access,
        who: &Accessor<'_>,
    ) -> Step<()> {
        for (warp, known) in who.knowledge.all().iter().enumerate() {
            let row = warp * self.writers.len();
            let reads = &self.reads[row + cells.start..row + cells.end];
            let unordered = reads.iter().position(|read| read > known);
            if let (Some(index), true) = (unordered, warp != who.warp) {
                let kind = FaultKind::SharedRace {
                    access,
                    other_access: Access::Read,
                    other_warp: warp as u32,
                };
                let at = self.byte(cells.start + index, offset);
                return Err(Trouble::at(kind, lane as u32, at as u64));
            }
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn set_writer(&mut self, range: (usize, usize), writer: Writer) {
        let cells = self.cells(range);
        self.writers[cells].fill(writer);
    }

    /// The warp that wrote a byte last, if one did.
    pub(super) fn writer(&self, offset: usize) -> Option<usize> {
        let writer = *self.writers.get(offset >> self.shift)?;
        (writer != Writer::NOBODY && writer.as_copy().is_none()).then(|| writer.warp_index())
    }

    /// Checks that bytes may be read through the asynchronous proxy: written, ordered, and fenced since.
    pub(super) fn check_fenced(
        &self,
        copies: &Copies,
        range: (usize, usize),
        who: &Accessor<'_>,
    ) -> Step<()> {
        for cell in self.cells(range) {
            let (writer, at) = (self.writers[cell], self.byte(cell, range.0));
            check_read(copies, 0, (at, range.1), writer, who)?;
            if writer.as_copy().is_none()
                && writer.interval() > who.knowledge.fenced(writer.warp_index())
            {
                let kind = FaultKind::MissingProxyFence {
                    writer: writer.warp_index() as u32,
                };
                return Err(Trouble::at(kind, 0, at as u64));
            }
        }
        Ok(())
    }
}

fn check_read(
    copies: &Copies,
    lane: usize,
    (at, bytes): (usize, usize),
    writer: Writer,
    who: &Accessor<'_>,
) -> Step<()> {
    if writer == Writer::NOBODY {
        let kind = FaultKind::UninitialisedMemory {
            space: Space::Shared,
            bytes: bytes as u32,
        };
        return Err(Trouble::at(kind, lane as u32, at as u64));
    }
    check_writer(copies, lane, at, writer, Access::Read, who)
}

/// Checks that a writer is ordered before an access.
fn check_writer(
    copies: &Copies,
    lane: usize,
    at: usize,
    writer: Writer,
    access: Access,
    who: &Accessor<'_>,
) -> Step<()> {
    if let Some(copy) = writer.as_copy() {
        return copies.check_waited(lane, at, copy, access, who);
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
