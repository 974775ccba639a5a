//! Loads, stores and atomics in every state space.

use super::block::Core;
use super::env::Env;
use super::execute::space_of;
use super::global::GlobalAccess;
use super::trouble::{Step, Trouble, lanes_of};
use super::warp::{Next, Warp};
use crate::fault::{Access, FaultKind, Space};
use crate::isa::{Address, AtomicOp, Extend, Inst, MemOrder, MemSpace, Op, Reg, Src, Width};
use crate::lanes::{Lanes, WARP};

/// Elements of the widest vector.
const MAX_ELEMENTS: usize = 8;
/// Bytes of the widest access of one lane.
const MAX_BYTES: usize = 32;

/// Up to eight little-endian bytes.
#[inline(always)]
pub(super) fn value_of(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => bytes
            .iter()
            .rev()
            .fold(0, |value, byte| (value << 8) | u64::from(*byte)),
    }
}

fn sign_extend(value: u64, bytes: u32, to_bits: u32) -> u64 {
    let shift = 64 - 8 * bytes;
    let wide = (((value << shift) as i64) >> shift) as u64;
    if to_bits >= 64 {
        wide
    } else {
        wide & ((1 << to_bits) - 1)
    }
}

impl Warp {
    /// Splits the active lanes of a generic access by state space; other accesses are of one space.
    fn by_space(
        &self,
        space: MemSpace,
        addresses: &mut Lanes,
        active: u32,
    ) -> Vec<(MemSpace, u32)> {
        if space != MemSpace::Generic {
            return vec![(space, active)];
        }
        let mut groups: Vec<(MemSpace, u32)> = Vec::with_capacity(1);
        for lane in lanes_of(active) {
            let (space, address) = space_of(addresses[lane]);
            addresses[lane] = address;
            match groups.iter_mut().find(|group| group.0 == space) {
                Some(group) => group.1 |= 1 << lane,
                None => groups.push((space, 1 << lane)),
            }
        }
        groups
    }

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
                let mut out = [[0; WARP]; MAX_ELEMENTS];
                let mut addresses = self.addresses(env, *address);
                for (space, lanes) in self.by_space(*space, &mut addresses, active) {
                    self.load(
                        env,
                        core,
                        (space, *width, *order),
                        &addresses,
                        lanes,
                        &mut out,
                    )?;
                }
                for (dst, lanes) in dsts.iter().zip(&mut out) {
                    let Some(dst) = dst else { continue };
                    if let Extend::Sign(bits) = extend {
                        lanes
                            .iter_mut()
                            .for_each(|lane| *lane = sign_extend(*lane, width.element, *bits));
                    }
                    self.registers.write(*dst, lanes, active);
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
                for (space, lanes) in self.by_space(*space, &mut addresses, active) {
                    self.store(env, core, (space, *width, *order), &addresses, lanes, srcs)?;
                }
            }
            Op::Atomic {
                space,
                op,
                bytes,
                address,
                dst,
                src,
            } => self.atomic(
                env,
                core,
                (*space, *op, *bytes),
                *address,
                (*dst, *src),
                active,
            )?,
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

    #[inline(always)]
    fn load(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        (space, width, order): (MemSpace, Width, MemOrder),
        addresses: &Lanes,
        active: u32,
        out: &mut [Lanes; MAX_ELEMENTS],
    ) -> Step<()> {
        let bytes = width.bytes();
        match space {
            MemSpace::Shared => {
                let strong = order == MemOrder::Strong;
                for lane in lanes_of(active) {
                    let at =
                        core.shared
                            .locate(lane, addresses[lane], bytes, bytes, Access::Read)?;
                    core.shared
                        .note_read(lane, at, bytes as usize, self.accessor(strong))?;
                    let data = core.shared.raw(at, bytes as usize);
                    for (element, part) in data.chunks_exact(width.element as usize).enumerate() {
                        out[element][lane] = value_of(part);
                    }
                }
                core.tally.shared_access(addresses, active, bytes, false);
            }
            MemSpace::Local => {
                for lane in lanes_of(active) {
                    let at =
                        self.local
                            .locate(lane, addresses[lane], bytes, bytes, Access::Read)?;
                    if env.options.checks {
                        self.local.check_initialised(lane, at, bytes)?;
                    }
                    for (element, part) in self
                        .local
                        .load(at, bytes as usize)
                        .chunks_exact(width.element as usize)
                        .enumerate()
                    {
                        out[element][lane] = value_of(part);
                    }
                }
            }
            MemSpace::Param => {
                for lane in lanes_of(active) {
                    let data = parameter(env, lane, addresses[lane], bytes)?;
                    for (element, part) in data.chunks_exact(width.element as usize).enumerate() {
                        out[element][lane] = value_of(part);
                    }
                }
            }
            MemSpace::Global | MemSpace::Generic => {
                self.load_global(env, core, width, order, (addresses, active), out)?
            }
        }
        Ok(())
    }

    fn load_global(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        width: Width,
        order: MemOrder,
        (addresses, active): (&Lanes, u32),
        out: &mut [Lanes; MAX_ELEMENTS],
    ) -> Step<()> {
        let bytes = width.bytes();
        for lane in lanes_of(active) {
            let at = GlobalAccess {
                block: core.block,
                lane,
                address: addresses[lane],
                bytes,
                access: Access::Read,
            };
            let place = env.view.locate(at, bytes, &mut self.hint)?;
            if env.options.checks {
                env.view.check_initialised(place, at)?;
                if order == MemOrder::Weak {
                    env.view.note(place, at)?;
                }
            }
            for element in 0..width.count {
                out[element as usize][lane] = place.load(element * width.element, width.element);
            }
        }
        if order == MemOrder::Strong {
            env.view.synchronised(core.block);
        }
        core.tally.global_access(addresses, active, bytes, false);
        Ok(())
    }

    #[inline(always)]
    fn store(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        (space, width, order): (MemSpace, Width, MemOrder),
        addresses: &Lanes,
        active: u32,
        srcs: &[Src],
    ) -> Step<()> {
        let bytes = width.bytes();
        match space {
            MemSpace::Shared => {
                let strong = order == MemOrder::Strong;
                for lane in lanes_of(active) {
                    let at =
                        core.shared
                            .locate(lane, addresses[lane], bytes, bytes, Access::Write)?;
                    let mut data = [0; MAX_BYTES];
                    for (part, src) in data.chunks_exact_mut(width.element as usize).zip(srcs) {
                        let value = self.registers.src(&env.constants, *src)[lane].to_le_bytes();
                        part.copy_from_slice(&value[..width.element as usize]);
                    }
                    core.shared
                        .write(lane, at, &data[..bytes as usize], self.accessor(strong))?;
                }
                core.tally.shared_access(addresses, active, bytes, true);
            }
            MemSpace::Local => {
                for lane in lanes_of(active) {
                    let at =
                        self.local
                            .locate(lane, addresses[lane], bytes, bytes, Access::Write)?;
                    for (element, src) in srcs.iter().enumerate() {
                        let value = self.registers.src(&env.constants, *src)[lane].to_le_bytes();
                        self.local.store(
                            at + element * width.element as usize,
                            &value[..width.element as usize],
                        );
                    }
                }
            }
            MemSpace::Param => return Err(Trouble::invalid("parameters cannot be written")),
            MemSpace::Global | MemSpace::Generic => {
                for lane in lanes_of(active) {
                    let at = GlobalAccess {
                        block: core.block,
                        lane,
                        address: addresses[lane],
                        bytes,
                        access: Access::Write,
                    };
                    let place = env.view.locate(at, bytes, &mut self.hint)?;
                    if env.options.checks && order == MemOrder::Weak {
                        env.view.note(place, at)?;
                    }
                    for (element, src) in srcs.iter().enumerate() {
                        place.store(
                            element as u32 * width.element,
                            width.element,
                            self.registers.src(&env.constants, *src)[lane],
                        );
                    }
                }
                if order == MemOrder::Strong {
                    env.view.synchronised(core.block);
                }
                core.tally.global_access(addresses, active, bytes, true);
            }
        }
        Ok(())
    }

    fn atomic(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        (space, op, bytes): (MemSpace, AtomicOp, u32),
        address: Address,
        (dst, src): (Option<Reg>, [Src; 2]),
        active: u32,
    ) -> Step<()> {
        let mut addresses = self.addresses(env, address);
        let (first, second) = (*self.src(env, src[0]), *self.src(env, src[1]));
        let mut out = [0; WARP];
        for (space, lanes) in self.by_space(space, &mut addresses, active) {
            for lane in lanes_of(lanes) {
                let change = |old| super::atomic::apply(op, bytes, old, first[lane], second[lane]);
                out[lane] = match space {
                    MemSpace::Shared => {
                        let at = core.shared.locate(
                            lane,
                            addresses[lane],
                            bytes,
                            bytes,
                            Access::Atomic,
                        )?;
                        core.shared
                            .note_read(lane, at, bytes as usize, self.accessor(true))?;
                        let old = value_of(core.shared.raw(at, bytes as usize));
                        let new = change(old).to_le_bytes();
                        core.shared
                            .write(lane, at, &new[..bytes as usize], self.accessor(true))?;
                        old
                    }
                    MemSpace::Global => {
                        let at = GlobalAccess {
                            block: core.block,
                            lane,
                            address: addresses[lane],
                            bytes,
                            access: Access::Atomic,
                        };
                        let place = env.view.locate(at, bytes, &mut self.hint)?;
                        if env.options.checks {
                            env.view.check_initialised(place, at)?;
                        }
                        place.modify(bytes, change)
                    }
                    _ => return Err(Trouble::invalid("atomics are for global and shared memory")),
                };
            }
            match space {
                MemSpace::Shared => core.tally.shared_access(&addresses, lanes, bytes, true),
                _ => {
                    env.view.synchronised(core.block);
                    core.tally.global_access(&addresses, lanes, bytes, true);
                }
            }
        }
        if let Some(dst) = dst {
            self.registers.write(dst, &out, active);
        }
        Ok(())
    }
}

/// Bytes of the parameter block.
fn parameter<'a>(env: &Env<'a>, lane: usize, address: u64, bytes: u32) -> Step<&'a [u8]> {
    if !address.is_multiple_of(u64::from(bytes)) {
        let kind = FaultKind::Misaligned {
            space: Space::Param,
            access: Access::Read,
            bytes,
            required: bytes,
        };
        return Err(Trouble::at(kind, lane as u32, address));
    }
    let start = usize::try_from(address).ok();
    let data = start.and_then(|start| env.params.get(start..start.checked_add(bytes as usize)?));
    data.ok_or_else(|| {
        let detail = format!("the kernel has {} bytes", env.params.len());
        Trouble::at(
            FaultKind::OutOfBounds {
                space: Space::Param,
                access: Access::Read,
                bytes,
                detail,
            },
            lane as u32,
            address,
        )
    })
}
