//! Read-modify-writes.

use super::by_space;
use super::new_value::new_value;
use crate::exec::block::Core;
use crate::exec::env::Env;
use crate::exec::trouble::{Step, Trouble, lanes_of};
use crate::exec::warp::Warp;
use crate::fault::Access;
use crate::isa::{AtomicOp, Inst, MemSpace, Op};
use crate::lanes::{Lanes, WARP};

/// An operation with its operands in every lane.
struct Modification {
    op: AtomicOp,
    bytes: u32,
    addresses: Lanes,
    operands: [Lanes; 2],
}

impl Modification {
    fn change(&self, lane: usize, old: u64) -> u64 {
        let [first, second] = &self.operands;
        new_value(self.op, self.bytes, old, first[lane], second[lane])
    }
}

impl Warp {
    pub(super) fn atomic(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        inst: &Inst,
        active: u32,
    ) -> Step<()> {
        let Op::Atomic {
            space,
            op,
            bytes,
            address,
            dst,
            src,
        } = &inst.op
        else {
            return Ok(());
        };
        let mut modification = Modification {
            op: *op,
            bytes: *bytes,
            addresses: self.addresses(env, *address),
            operands: [*self.src(env, src[0]), *self.src(env, src[1])],
        };
        let mut out = [0; WARP];
        for (space, lanes) in by_space(*space, &mut modification.addresses, active) {
            match space {
                MemSpace::Shared => self.modify_shared(core, &modification, lanes, &mut out)?,
                MemSpace::Global => {
                    self.modify_global(env, core, &modification, lanes, &mut out)?
                }
                _ => return Err(Trouble::invalid("atomics are for global and shared memory")),
            }
        }
        if let Some(dst) = dst {
            self.registers.write(*dst, &out, active);
        }
        Ok(())
    }

    fn modify_shared(
        &mut self,
        core: &mut Core,
        modification: &Modification,
        lanes: u32,
        out: &mut Lanes,
    ) -> Step<()> {
        let Modification {
            addresses, bytes, ..
        } = modification;
        let length = *bytes as usize;
        for lane in lanes_of(lanes) {
            let at = core
                .shared
                .locate(lane, addresses[lane], *bytes, *bytes, Access::Atomic)?;
            let who = self.accessor(true);
            core.shared.read_lane(lane, at, length, who)?;
            let mut old = [0; 8];
            old[..length].copy_from_slice(core.shared.raw(at, length));
            out[lane] = u64::from_le_bytes(old);
            let new = modification.change(lane, out[lane]).to_le_bytes();
            core.shared.write_lane(lane, at, &new[..length], who)?;
        }
        core.tally.shared_access(addresses, lanes, *bytes, true);
        Ok(())
    }

    fn modify_global(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        modification: &Modification,
        lanes: u32,
        out: &mut Lanes,
    ) -> Step<()> {
        let Modification {
            addresses, bytes, ..
        } = modification;
        let mut rest = lanes;
        while rest != 0 {
            let place = env.view.locate(
                addresses,
                rest,
                (*bytes, *bytes),
                Access::Atomic,
                &mut self.hint,
            )?;
            rest &= !place.lanes;
            if env.options.checks {
                env.view.check_initialised(&place, addresses, *bytes)?;
            }
            for lane in lanes_of(place.lanes) {
                let offset = place.offset(addresses[lane]);
                place.allocation.mark(offset, u64::from(*bytes));
                let change = |old| modification.change(lane, old);
                out[lane] = place.allocation.modify(offset, *bytes, change);
            }
        }
        env.view.synchronised(core.block);
        core.tally.global_access(addresses, lanes, *bytes, true);
        Ok(())
    }
}
