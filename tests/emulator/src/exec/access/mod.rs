//! Loads, stores and atomics in every state space.

mod atomic;
mod load;
mod new_value;
mod store;

use super::block::Core;
use super::env::Env;
use super::execute::space_of;
use super::trouble::{Step, lanes_of};
use super::warp::{Next, Warp};
use crate::isa::{Extend, Inst, MemOrder, MemSpace, Op, Width};
use crate::lanes::Lanes;

/// Bytes of the widest access of one lane.
const MAX_BYTES: usize = 32;

/// A load or store of one state space.
#[derive(Clone, Copy)]
struct Transfer<'a> {
    space: MemSpace,
    width: Width,
    order: MemOrder,
    addresses: &'a Lanes,
    active: u32,
}

impl Transfer<'_> {
    fn bytes(&self) -> u32 {
        self.width.bytes()
    }

    fn is_strong(&self) -> bool {
        self.order == MemOrder::Strong
    }
}

/// The state spaces that a generic address may lie in.
const SPACES: [MemSpace; 4] = [
    MemSpace::Global,
    MemSpace::Shared,
    MemSpace::Local,
    MemSpace::Param,
];

/// Splits the active lanes by state space, those without any left out; generic addresses become those of their space.
fn by_space(
    space: MemSpace,
    addresses: &mut Lanes,
    active: u32,
) -> impl Iterator<Item = (MemSpace, u32)> + use<> {
    let mut groups = SPACES.map(|place| (place, if place == space { active } else { 0 }));
    if space == MemSpace::Generic {
        for lane in lanes_of(active) {
            let (place, address) = space_of(addresses[lane]);
            addresses[lane] = address;
            for group in &mut groups {
                group.1 |= u32::from(group.0 == place) << lane;
            }
        }
    }
    groups.into_iter().filter(|(_, lanes)| *lanes != 0)
}

impl Warp {
    pub(super) fn execute_memory(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        inst: &Inst,
        active: u32,
    ) -> Step<Next> {
        match &inst.op {
            Op::Load {
                space,
                width,
                extend,
                order,
                address,
                dsts,
            } => {
                let mut addresses = self.addresses(env, *address);
                for (space, active) in by_space(*space, &mut addresses, active) {
                    let transfer = Transfer {
                        space,
                        width: *width,
                        order: *order,
                        addresses: &addresses,
                        active,
                    };
                    self.load(env, core, &transfer, *extend, dsts)?;
                }
            }
            Op::Store {
                space,
                width,
                order,
                address,
                srcs,
            } => {
                let mut addresses = self.addresses(env, *address);
                for (space, active) in by_space(*space, &mut addresses, active) {
                    let transfer = Transfer {
                        space,
                        width: *width,
                        order: *order,
                        addresses: &addresses,
                        active,
                    };
                    self.store(env, core, &transfer, srcs)?;
                }
            }
            Op::Atomic { .. } => self.atomic(env, core, inst, active)?,
            Op::Fence { device } => {
                if *device {
                    env.view.synchronised(core.block);
                }
            }
            Op::ProxyFence => {
                self.end_interval();
                self.knowledge.fence_proxy();
            }
            Op::CopyAsync { .. }
            | Op::CommitGroup
            | Op::WaitGroup { .. }
            | Op::Bulk(_)
            | Op::BulkCommit
            | Op::BulkWait { .. } => {
                self.execute_copy(env, core, inst, active)?;
            }
            Op::LoadMatrix { .. } | Op::StoreMatrix { .. } | Op::Mma(_) => {
                self.execute_tensor(env, core, inst, active)?
            }
            Op::Barrier(barrier) => return self.barrier(env, core, barrier, active),
            Op::Mbarrier { address, space, op } => {
                return self.mbarrier(env, core, *address, *space, op, active);
            }
            _ => self.execute_exchange(env, inst, active)?,
        }
        Ok(Next::Step)
    }
}

/// How a loaded element fills its register.
#[inline(always)]
fn extended(value: u64, bytes: usize, extend: Extend) -> u64 {
    let Extend::Sign(to_bits) = extend else {
        return value;
    };
    let shift = 64 - 8 * bytes as u32;
    let wide = (((value << shift) as i64) >> shift) as u64;
    if to_bits >= 64 {
        wide
    } else {
        wide & ((1 << to_bits) - 1)
    }
}
