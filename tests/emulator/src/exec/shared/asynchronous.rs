//! Asynchronous copies that write or read shared memory, from their start to the wait for them.

use super::Accessor;
use crate::exec::trouble::{Step, Trouble};
use crate::fault::{Access, FaultKind};

/// One copy.
#[derive(Debug, Clone)]
pub(in crate::exec) struct Copy {
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

/// All copies of a block, by number.
#[derive(Debug, Default)]
pub(super) struct Copies {
    records: Vec<Copy>,
    pending_reads: Vec<PendingRead>,
}

impl Copies {
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.pending_reads.clear();
    }

    /// Starts a copy and returns its number.
    pub(super) fn start(&mut self, copy: Copy) -> u32 {
        self.records.push(copy);
        self.records.len() as u32 - 1
    }

    pub(super) fn finish(&mut self, copy: u32) {
        if let Some(record) = self.records.get_mut(copy as usize) {
            record.finished = true;
        }
        self.pending_reads.retain(|read| read.copy != copy);
    }

    /// Keeps others from writing what a copy reads.
    pub(super) fn keep_source(&mut self, copy: u32, start: usize, end: usize) {
        self.pending_reads.push(PendingRead { copy, start, end });
    }

    /// Checks that a copy into bytes that are accessed now has been waited for.
    #[cold]
    pub(super) fn check_waited(
        &self,
        lane: usize,
        at: usize,
        copy: u32,
        access: Access,
        who: &Accessor<'_>,
    ) -> Step<()> {
        let record = &self.records[copy as usize];
        if record.finished && who.knowledge.knows_copy(copy) {
            return Ok(());
        }
        let detail = format!(
            "issued by warp {} at PTX line {}; {} is missing",
            record.warp, record.line, record.waits_on
        );
        let kind = FaultKind::AsyncNotWaited { access, detail };
        Err(Trouble::at(kind, lane as u32, at as u64))
    }

    /// Checks that no copy still reads bytes that are written now.
    #[inline(always)]
    pub(super) fn check_pending_reads(
        &self,
        lane: usize,
        (offset, bytes): (usize, usize),
        access: Access,
    ) -> Step<()> {
        let overlap = self
            .pending_reads
            .iter()
            .find(|read| offset < read.end && read.start < offset + bytes);
        match overlap {
            None => Ok(()),
            Some(read) => Err(self.still_read(lane, offset, read.copy, access)),
        }
    }

    #[cold]
    fn still_read(&self, lane: usize, offset: usize, copy: u32, access: Access) -> Box<Trouble> {
        let record = &self.records[copy as usize];
        let detail = format!(
            "it is the source of the copy of warp {} at PTX line {}; {} is missing",
            record.warp, record.line, record.waits_on
        );
        let kind = FaultKind::AsyncNotWaited { access, detail };
        Trouble::at(kind, lane as u32, offset as u64)
    }
}
