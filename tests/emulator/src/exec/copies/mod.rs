//! Asynchronous copies: `cp.async` with its groups, and bulk copies.
//!
//! A copy's data is taken when it is issued and delivered as late as a program may notice: at the wait of the lane
//! that issued it, or when its mbarrier is tested. Until then the destination belongs to the copy.

mod bulk;

pub(super) use bulk::BulkLoad;

use super::block::Core;
use super::env::Env;
use super::shared::Copy;
use super::trouble::{Step, Trouble, lanes_of};
use super::warp::Warp;
use crate::fault::{Access, FaultKind};
use crate::isa::{Address, Inst, Op, PredSrc, Src};
use crate::lanes::{Lanes, WARP};

/// Bytes of the largest `cp.async`.
const MAX_COPY: usize = 16;

/// One lane's copy under way.
#[derive(Debug, Clone, Copy)]
struct LaneCopy {
    lane: usize,
    group: u32,
    number: u32,
    offset: usize,
    bytes: usize,
    data: [u8; MAX_COPY],
}

/// A copy from shared to global memory that was issued and not waited for.
#[derive(Debug)]
struct BulkStore {
    lane: usize,
    group: u32,
    number: u32,
    address: u64,
    data: Vec<u8>,
}

/// The copies of one warp. Groups are counted for each lane.
#[derive(Debug)]
pub(super) struct Copies {
    under_way: Vec<LaneCopy>,
    committed: [u32; WARP],
    bulk_stores: Vec<BulkStore>,
    bulk_committed: [u32; WARP],
}

impl Default for Copies {
    fn default() -> Self {
        Self {
            under_way: Vec::new(),
            committed: [0; WARP],
            bulk_stores: Vec::new(),
            bulk_committed: [0; WARP],
        }
    }
}

impl Copies {
    pub(super) fn reset(&mut self) {
        *self = Self {
            under_way: std::mem::take(&mut self.under_way),
            ..Self::default()
        };
        self.under_way.clear();
    }

    /// Whether a bulk copy still reads shared memory.
    pub(super) fn has_bulk_stores(&self) -> bool {
        !self.bulk_stores.is_empty()
    }
}

/// The operands of one `cp.async`.
struct CopyOperands {
    destination: Address,
    source: Address,
    bytes: u32,
    source_bytes: Option<Src>,
    ignore: PredSrc,
}

impl Warp {
    pub(super) fn execute_copy(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        inst: &Inst,
        active: u32,
    ) -> Step<()> {
        match &inst.op {
            Op::CopyAsync {
                destination,
                source,
                bytes,
                source_bytes,
                ignore,
            } => {
                let operands = CopyOperands {
                    destination: *destination,
                    source: *source,
                    bytes: *bytes,
                    source_bytes: *source_bytes,
                    ignore: *ignore,
                };
                self.copy_async(env, core, &operands, active)?;
            }
            Op::CommitGroup => lanes_of(active).for_each(|lane| self.copies.committed[lane] += 1),
            Op::WaitGroup { pending } => self.deliver(core, active, *pending),
            Op::Bulk(bulk) => self.bulk_copy(env, core, *bulk, active)?,
            Op::BulkCommit => {
                lanes_of(active).for_each(|lane| self.copies.bulk_committed[lane] += 1)
            }
            Op::BulkWait { pending } => self.wait_bulk_stores(env, core, active, *pending)?,
            _ => {}
        }
        Ok(())
    }

    fn copy_async(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        operands: &CopyOperands,
        active: u32,
    ) -> Step<()> {
        let destinations = self.addresses(env, operands.destination);
        let sources = self.addresses(env, operands.source);
        let bytes = operands.bytes;
        let lengths = self.source_lengths(env, operands, active)?;
        let number = core.shared.start_copy(Copy {
            finished: false,
            warp: self.index,
            line: core.line,
            waits_on: "cp.async.wait_group",
        });
        let first = self.copies.under_way.len();
        for lane in lanes_of(active) {
            let offset =
                core.shared
                    .locate(lane, destinations[lane], bytes, bytes, Access::Write)?;
            core.shared
                .own_for_copy(lane, offset, bytes as usize, number, self.accessor(false))?;
            self.copies.under_way.push(LaneCopy {
                lane,
                group: self.copies.committed[lane],
                number,
                offset,
                bytes: bytes as usize,
                data: [0; MAX_COPY],
            });
        }
        let reading = lanes_of(active)
            .filter(|lane| lengths[*lane] > 0)
            .fold(0, |reading, lane| reading | 1 << lane);
        self.read_sources(
            env,
            core.block,
            (&sources, reading),
            (bytes, &lengths),
            first,
        )?;
        core.tally.shared_access(&destinations, active, bytes, true);
        core.tally.global_access(&sources, reading, bytes, false);
        Ok(())
    }

    /// Bytes that each lane reads; the rest of its copy is zero.
    fn source_lengths(
        &self,
        env: &Env<'_>,
        operands: &CopyOperands,
        active: u32,
    ) -> Step<[u32; WARP]> {
        let bytes = operands.bytes;
        let mut lengths = [bytes; WARP];
        if let Some(source_bytes) = operands.source_bytes {
            lengths = self.src(env, source_bytes).map(|length| length as u32);
        }
        let ignored = self.registers.pred_src(operands.ignore);
        for lane in lanes_of(active) {
            if (ignored >> lane) & 1 == 1 {
                lengths[lane] = 0;
            }
            if lengths[lane] > bytes {
                let detail = format!("a source of {} bytes for a copy of {bytes}", lengths[lane]);
                return Err(Box::new(Trouble {
                    kind: FaultKind::InvalidUse { detail },
                    lane: Some(lane as u32),
                    address: None,
                }));
            }
        }
        Ok(lengths)
    }

    /// Takes the data of copies, from the one numbered `first`, of which `reading` have a source; it must be aligned
    /// to the size of the copy. Lanes that read equally much of one allocation are checked together.
    fn read_sources(
        &mut self,
        env: &Env<'_>,
        block: u32,
        (sources, reading): (&Lanes, u32),
        (required, lengths): (u32, &[u32; WARP]),
        first: usize,
    ) -> Step<()> {
        let mut rest = reading;
        while rest != 0 {
            let length = lengths[rest.trailing_zeros() as usize % WARP];
            let alike = lanes_of(rest)
                .filter(|lane| lengths[*lane] == length)
                .fold(0, |alike, lane| alike | 1 << lane);
            let place = env.view.locate(
                sources,
                alike,
                (length, required),
                Access::Read,
                &mut self.hint,
            )?;
            rest &= !place.lanes;
            if env.options.checks {
                env.view.check_initialised(&place, sources, length)?;
                let who = (block, &self.accessor(false));
                env.view.note(&place, who, sources, length, Access::Read)?;
            }
            for copy in &mut self.copies.under_way[first..] {
                if (place.lanes >> copy.lane) & 1 == 1 {
                    place.allocation.read(
                        place.offset(sources[copy.lane]),
                        &mut copy.data[..length as usize],
                    );
                }
            }
        }
        Ok(())
    }

    /// Delivers the copies of lanes: those of all but the last `pending` groups, or every one issued so far.
    fn deliver(&mut self, core: &mut Core, active: u32, pending: Option<u32>) {
        let committed = self.copies.committed;
        let due = |copy: &LaneCopy| {
            let covered = pending.is_none_or(|pending| {
                i64::from(copy.group) < i64::from(committed[copy.lane]) - i64::from(pending)
            });
            (active >> copy.lane) & 1 == 1 && covered
        };
        let (index, interval) = (self.index, self.interval);
        self.copies.under_way.retain(|copy| {
            if !due(copy) {
                return true;
            }
            core.shared
                .raw_mut(copy.offset, copy.bytes)
                .copy_from_slice(&copy.data[..copy.bytes]);
            core.shared
                .give_to_warp(copy.offset, copy.bytes, index, interval);
            false
        });
    }

    /// Delivers what the lanes have issued, to be seen through an mbarrier: the numbers of the copies.
    pub(super) fn deliver_for_mbarrier(&mut self, core: &mut Core, active: u32) -> Vec<u32> {
        let mut numbers = Vec::new();
        self.copies.under_way.retain(|copy| {
            if (active >> copy.lane) & 1 == 0 {
                return true;
            }
            core.shared
                .raw_mut(copy.offset, copy.bytes)
                .copy_from_slice(&copy.data[..copy.bytes]);
            core.shared.finish_copy(copy.number);
            if !numbers.contains(&copy.number) {
                numbers.push(copy.number);
            }
            false
        });
        numbers
    }
}
