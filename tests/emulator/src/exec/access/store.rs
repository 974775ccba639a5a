//! Stores.

use super::{MAX_BYTES, Transfer};
use crate::exec::block::Core;
use crate::exec::env::Env;
use crate::exec::registers::Registers;
use crate::exec::trouble::{Step, Trouble, lanes_of};
use crate::exec::warp::Warp;
use crate::fault::Access;
use crate::isa::{MemSpace, Src};
use crate::lanes::Lanes;

impl Warp {
    #[inline(always)]
    pub(super) fn store(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        transfer: &Transfer<'_>,
        srcs: &[Src],
    ) -> Step<()> {
        let Transfer {
            addresses, active, ..
        } = *transfer;
        let (bytes, element) = (transfer.bytes(), transfer.width.element as usize);
        match transfer.space {
            MemSpace::Shared => {
                let who = self.accessor(transfer.is_strong());
                let data =
                    |lane| bytes_of_lane(&self.registers, &env.constants, srcs, element, lane);
                let offsets = core.shared.write(addresses, active, bytes, who, data)?;
                for (index, src) in srcs.iter().enumerate() {
                    let lanes = self.registers.src(&env.constants, *src);
                    for lane in lanes_of(active) {
                        let value = lanes[lane].to_le_bytes();
                        core.shared
                            .raw_mut(offsets[lane] as usize + index * element, element)
                            .copy_from_slice(&value[..element]);
                    }
                }
                core.tally.shared_access(addresses, active, bytes, true);
            }
            MemSpace::Local => {
                for lane in lanes_of(active) {
                    let at =
                        self.local
                            .locate(lane, addresses[lane], bytes, bytes, Access::Write)?;
                    let data = bytes_of_lane(&self.registers, &env.constants, srcs, element, lane);
                    self.local.store(at, &data[..bytes as usize]);
                }
            }
            MemSpace::Param => return Err(Trouble::invalid("parameters cannot be written")),
            MemSpace::Global | MemSpace::Generic => {
                self.store_global(env, core, transfer, srcs)?;
            }
        }
        Ok(())
    }

    fn store_global(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        transfer: &Transfer<'_>,
        srcs: &[Src],
    ) -> Step<()> {
        let Transfer {
            addresses, active, ..
        } = *transfer;
        let (bytes, element) = (transfer.bytes(), transfer.width.element);
        let mut rest = active;
        while rest != 0 {
            let place = env.view.locate(
                addresses,
                rest,
                (bytes, bytes),
                Access::Write,
                &mut self.hint,
            )?;
            rest &= !place.lanes;
            if env.options.checks && !transfer.is_strong() {
                let who = (core.block, &self.accessor(false));
                env.view
                    .note(&place, who, addresses, bytes, Access::Write)?;
            }
            for lane in lanes_of(place.lanes) {
                let offset = place.offset(addresses[lane]);
                place.allocation.mark(offset, u64::from(bytes));
                for (index, src) in srcs.iter().enumerate() {
                    let value = self.registers.src(&env.constants, *src)[lane];
                    let at = offset + index as u64 * u64::from(element);
                    place.allocation.store(at, element, value);
                }
            }
        }
        if transfer.is_strong() {
            env.view.synchronised(core.block);
        }
        core.tally.global_access(addresses, active, bytes, true);
        Ok(())
    }
}

/// What one lane stores, its elements one after another.
fn bytes_of_lane(
    registers: &Registers,
    constants: &[Lanes],
    srcs: &[Src],
    element: usize,
    lane: usize,
) -> [u8; MAX_BYTES] {
    let mut data = [0; MAX_BYTES];
    for (part, src) in data.chunks_exact_mut(element).zip(srcs) {
        let value = registers.src(constants, *src)[lane].to_le_bytes();
        part.copy_from_slice(&value[..element]);
    }
    data
}
