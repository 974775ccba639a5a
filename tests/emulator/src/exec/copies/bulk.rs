//! One-dimensional bulk copies: to shared memory with an mbarrier, from it in groups.

use super::BulkStore;
use crate::exec::block::Core;
use crate::exec::env::Env;
use crate::exec::shared::Copy;
use crate::exec::trouble::{Step, Trouble, lanes_of};
use crate::exec::warp::Warp;
use crate::fault::{Access, FaultKind};
use crate::isa::{Address, Bulk};
use crate::lanes::{Lanes, WARP};

/// Alignment and granularity of bulk copies.
const UNIT: u32 = 16;

/// A bulk copy from global to shared memory that has not arrived.
#[derive(Debug)]
pub(in crate::exec) struct BulkLoad {
    number: u32,
    offset: usize,
    data: Vec<u8>,
    pub mbarrier: u64,
}

impl Warp {
    pub(super) fn bulk_copy(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        bulk: Bulk,
        active: u32,
    ) -> Step<()> {
        match bulk {
            Bulk::GlobalToShared {
                destination,
                source,
                bytes,
                mbarrier,
            } => {
                let lengths = *self.src(env, bytes);
                let places = [destination, source, mbarrier].map(|at| self.addresses(env, at));
                for lane in lanes_of(active) {
                    let length = checked_length(lane, lengths[lane] as u32)?;
                    self.bulk_load(env, core, lane, &places, length)?;
                }
            }
            Bulk::SharedToGlobal {
                destination,
                source,
                bytes,
            } => {
                let lengths = *self.src(env, bytes);
                let places = [destination, source].map(|at: Address| self.addresses(env, at));
                for lane in lanes_of(active) {
                    let length = checked_length(lane, lengths[lane] as u32)?;
                    self.bulk_store(env, core, lane, &places, length)?;
                }
            }
        }
        Ok(())
    }

    fn bulk_load(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        lane: usize,
        [destinations, sources, mbarriers]: &[Lanes; 3],
        length: u32,
    ) -> Step<()> {
        let offset = core
            .shared
            .locate(lane, destinations[lane], length, UNIT, Access::Write)?;
        core.mbarrier(lane, mbarriers[lane])?;
        let place = env.view.locate(
            sources,
            1 << lane,
            (length, UNIT),
            Access::Read,
            &mut self.hint,
        )?;
        if env.options.checks {
            env.view.check_initialised(&place, sources, length)?;
            let who = (core.block, &self.accessor(false));
            env.view.note(&place, who, sources, length, Access::Read)?;
        }
        let mut data = vec![0; length as usize];
        place
            .allocation
            .read(place.offset(sources[lane]), &mut data);
        let number = core.shared.start_copy(Copy {
            finished: false,
            warp: self.index,
            line: core.line,
            waits_on: "a wait on its mbarrier",
        });
        core.shared
            .own_for_copy(lane, offset, data.len(), number, self.accessor(false))?;
        core.bulk_loads.push(BulkLoad {
            number,
            offset,
            data,
            mbarrier: mbarriers[lane],
        });
        count(core, u64::from(length), false);
        Ok(())
    }

    fn bulk_store(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        lane: usize,
        [destinations, sources]: &[Lanes; 2],
        length: u32,
    ) -> Step<()> {
        let offset = core
            .shared
            .locate(lane, sources[lane], length, UNIT, Access::Read)?;
        let number = core.shared.start_copy(Copy {
            finished: false,
            warp: self.index,
            line: core.line,
            waits_on: "cp.async.bulk.wait_group",
        });
        core.shared
            .read_for_copy(offset, length as usize, number, self.accessor(false))?;
        let place = env.view.locate(
            destinations,
            1 << lane,
            (length, UNIT),
            Access::Write,
            &mut self.hint,
        )?;
        if env.options.checks {
            let who = (core.block, &self.accessor(false));
            env.view
                .note(&place, who, destinations, length, Access::Write)?;
        }
        self.copies.bulk_stores.push(BulkStore {
            lane,
            group: self.copies.bulk_committed[lane],
            number,
            address: destinations[lane],
            data: core.shared.raw(offset, length as usize).to_vec(),
        });
        count(core, u64::from(length), true);
        Ok(())
    }

    pub(super) fn wait_bulk_stores(
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
            let place = env.view.locate(
                &[store.address; WARP],
                1 << store.lane,
                (store.data.len() as u32, UNIT),
                Access::Write,
                &mut self.hint,
            )?;
            place
                .allocation
                .write(place.offset(store.address), &store.data);
            core.shared.finish_copy(store.number);
        }
        Ok(())
    }
}

impl Core {
    /// Lets the bulk copies of an mbarrier arrive.
    pub(in crate::exec) fn land_bulk_loads(&mut self, mbarrier: u64) {
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

fn checked_length(lane: usize, length: u32) -> Step<u32> {
    if length > 0 && length.is_multiple_of(UNIT) {
        return Ok(length);
    }
    let detail = format!("a bulk copy of {length} bytes: not a positive multiple of {UNIT}");
    Err(Box::new(Trouble {
        kind: FaultKind::InvalidUse { detail },
        lane: Some(lane as u32),
        address: None,
    }))
}

/// Bulk copies move whole lines: their wavefronts and sectors are the ideal ones.
fn count(core: &mut Core, bytes: u64, store: bool) {
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
