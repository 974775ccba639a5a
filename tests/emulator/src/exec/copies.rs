//! Asynchronous copies: `cp.async` with its groups, and bulk copies.
//!
//! A copy's data is taken when it is issued and delivered as late as a program may notice: at the wait of the lane
//! that issued it, or when its mbarrier is tested. Until then the destination belongs to the copy.

use super::block::Core;
use super::env::Env;
use super::global::GlobalAccess;
use super::shared::Copy;
use super::trouble::{Step, Trouble, lanes_of};
use super::warp::Warp;
use crate::fault::{Access, FaultKind};
use crate::isa::{Address, Bulk, Inst, Op, PredSrc, Src};
use crate::lanes::WARP;

/// Bytes of the largest `cp.async`.
const MAX_COPY: usize = 16;
/// Alignment and granularity of bulk copies.
const BULK_UNIT: u32 = 16;

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

/// A bulk copy from global to shared memory that has not arrived.
#[derive(Debug)]
pub(super) struct BulkLoad {
    number: u32,
    offset: usize,
    data: Vec<u8>,
    pub mbarrier: u64,
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
            Op::Bulk(Bulk::GlobalToShared {
                destination,
                source,
                bytes,
                mbarrier,
            }) => {
                self.bulk_load(
                    env,
                    core,
                    (*destination, *source, *mbarrier),
                    *bytes,
                    active,
                )?;
            }
            Op::Bulk(Bulk::SharedToGlobal {
                destination,
                source,
                bytes,
            }) => self.bulk_store(env, core, *destination, *source, *bytes, active)?,
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
        let ignored = self.registers.pred_src(operands.ignore);
        let lengths = operands.source_bytes.map(|src| *self.src(env, src));
        let bytes = operands.bytes;
        let number = core.shared.start_copy(Copy {
            finished: false,
            warp: self.index,
            line: core.line,
            waits_on: "cp.async.wait_group",
        });
        let mut reading = 0;
        for lane in lanes_of(active) {
            let length = if (ignored >> lane) & 1 == 1 {
                0
            } else {
                lengths.map_or(bytes, |lengths| lengths[lane] as u32)
            };
            if length > bytes {
                let detail = format!("a source of {length} bytes for a copy of {bytes}");
                return Err(Box::new(Trouble {
                    kind: FaultKind::InvalidUse { detail },
                    lane: Some(lane as u32),
                    address: None,
                }));
            }
            let offset =
                core.shared
                    .locate(lane, destinations[lane], bytes, bytes, Access::Write)?;
            let mut copy = LaneCopy {
                lane,
                group: self.copies.committed[lane],
                number,
                offset,
                bytes: bytes as usize,
                data: [0; MAX_COPY],
            };
            if length > 0 {
                reading |= 1 << lane;
                self.read_source(
                    env,
                    core.block,
                    (lane, sources[lane]),
                    (bytes, length),
                    &mut copy.data,
                )?;
            }
            core.shared
                .own_for_copy(lane, offset, bytes as usize, number, self.accessor(false))?;
            self.copies.under_way.push(copy);
        }
        core.tally.shared_access(&destinations, active, bytes, true);
        core.tally.global_access(&sources, reading, bytes, false);
        Ok(())
    }

    /// Reads the first `length` bytes of a source that must be aligned to the size of the copy.
    fn read_source(
        &mut self,
        env: &Env<'_>,
        block: u32,
        (lane, address): (usize, u64),
        (required, length): (u32, u32),
        into: &mut [u8],
    ) -> Step<()> {
        let at = GlobalAccess {
            block,
            lane,
            address,
            bytes: length,
            access: Access::Read,
        };
        let place = env.view.locate(at, required, &mut self.hint)?;
        if env.options.checks {
            env.view.check_initialised(place, at)?;
            env.view.note(place, at)?;
        }
        place
            .allocation
            .read(place.offset, &mut into[..length as usize]);
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

    fn bulk_load(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        (destination, source, mbarrier): (Address, Address, Address),
        bytes: Src,
        active: u32,
    ) -> Step<()> {
        let (destinations, sources, mbarriers) = (
            self.addresses(env, destination),
            self.addresses(env, source),
            self.addresses(env, mbarrier),
        );
        let lengths = *self.src(env, bytes);
        for lane in lanes_of(active) {
            let length = bulk_length(lane, lengths[lane] as u32)?;
            let offset =
                core.shared
                    .locate(lane, destinations[lane], length, BULK_UNIT, Access::Write)?;
            core.mbarrier(lane, mbarriers[lane])?;
            let mut data = vec![0; length as usize];
            self.read_source(
                env,
                core.block,
                (lane, sources[lane]),
                (BULK_UNIT, length),
                &mut data,
            )?;
            let copy = Copy {
                finished: false,
                warp: self.index,
                line: core.line,
                waits_on: "a wait on its mbarrier",
            };
            let number = core.shared.start_copy(copy);
            core.shared
                .own_for_copy(lane, offset, data.len(), number, self.accessor(false))?;
            core.bulk_loads.push(BulkLoad {
                number,
                offset,
                data,
                mbarrier: mbarriers[lane],
            });
            count_bulk(core, u64::from(length), false);
        }
        Ok(())
    }

    fn bulk_store(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        destination: Address,
        source: Address,
        bytes: Src,
        active: u32,
    ) -> Step<()> {
        let (destinations, sources) = (
            self.addresses(env, destination),
            self.addresses(env, source),
        );
        let lengths = *self.src(env, bytes);
        for lane in lanes_of(active) {
            let length = bulk_length(lane, lengths[lane] as u32)?;
            let offset =
                core.shared
                    .locate(lane, sources[lane], length, BULK_UNIT, Access::Read)?;
            let copy = Copy {
                finished: false,
                warp: self.index,
                line: core.line,
                waits_on: "cp.async.bulk.wait_group",
            };
            let number = core.shared.start_copy(copy);
            core.shared
                .read_for_copy(offset, length as usize, number, self.accessor(false))?;
            let at = GlobalAccess {
                block: core.block,
                lane,
                address: destinations[lane],
                bytes: length,
                access: Access::Write,
            };
            let place = env.view.locate(at, BULK_UNIT, &mut self.hint)?;
            if env.options.checks {
                env.view.note(place, at)?;
            }
            let data = core.shared.raw(offset, length as usize).to_vec();
            let group = self.copies.bulk_committed[lane];
            self.copies.bulk_stores.push(BulkStore {
                lane,
                group,
                number,
                address: destinations[lane],
                data,
            });
            count_bulk(core, u64::from(length), true);
        }
        Ok(())
    }

    fn wait_bulk_stores(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        active: u32,
        pending: u32,
    ) -> Step<()> {
        let committed = self.copies.bulk_committed;
        let due = |store: &mut BulkStore| {
            let covered =
                i64::from(store.group) < i64::from(committed[store.lane]) - i64::from(pending);
            (active >> store.lane) & 1 == 1 && covered
        };
        let done: Vec<BulkStore> = self.copies.bulk_stores.extract_if(.., due).collect();
        for store in done {
            let at = GlobalAccess {
                block: core.block,
                lane: store.lane,
                address: store.address,
                bytes: store.data.len() as u32,
                access: Access::Write,
            };
            let place = env.view.locate(at, BULK_UNIT, &mut self.hint)?;
            place.allocation.write(place.offset, &store.data);
            core.shared.finish_copy(store.number);
        }
        Ok(())
    }
}

impl Core {
    /// Lets the bulk copies of an mbarrier arrive.
    pub(super) fn land_bulk_loads(&mut self, mbarrier: u64) {
        let landing: Vec<BulkLoad> = self
            .bulk_loads
            .extract_if(.., |load| load.mbarrier == mbarrier)
            .collect();
        for load in landing {
            self.shared
                .raw_mut(load.offset, load.data.len())
                .copy_from_slice(&load.data);
            self.shared.finish_copy(load.number);
            if let Some(object) = self.mbarriers.get_mut(&mbarrier) {
                object.deliver(load.data.len() as u32, Some(load.number));
            }
        }
    }
}

fn bulk_length(lane: usize, length: u32) -> Step<u32> {
    if length > 0 && length.is_multiple_of(BULK_UNIT) {
        return Ok(length);
    }
    let detail = format!("a bulk copy of {length} bytes: not a positive multiple of {BULK_UNIT}");
    Err(Box::new(Trouble {
        kind: FaultKind::InvalidUse { detail },
        lane: Some(lane as u32),
        address: None,
    }))
}

/// Bulk copies move whole lines: their wavefronts and sectors are the ideal ones.
fn count_bulk(core: &mut Core, bytes: u64, store: bool) {
    let (shared, global) = (&mut core.tally.shared, &mut core.tally.global);
    shared.wavefronts += bytes.div_ceil(128);
    shared.ideal_wavefronts += bytes.div_ceil(128);
    if store {
        shared.bytes_read += bytes;
        global.bytes_written += bytes;
        global.sectors_written += bytes.div_ceil(32);
    } else {
        shared.bytes_written += bytes;
        global.bytes_read += bytes;
        global.sectors_read += bytes.div_ceil(32);
    }
}
