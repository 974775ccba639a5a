//! Loads.

use super::{Transfer, extended};
use crate::exec::block::Core;
use crate::exec::env::Env;
use crate::exec::shared::Offsets;
use crate::exec::trouble::{Step, Trouble, lanes_of};
use crate::exec::warp::Warp;
use crate::fault::{Access, FaultKind, Space};
use crate::isa::{Extend, MemSpace, Reg};
use crate::lanes::{Lanes, WARP};

impl Warp {
    #[inline(always)]
    pub(super) fn load(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        transfer: &Transfer<'_>,
        extend: Extend,
        dsts: &[Option<Reg>],
    ) -> Step<()> {
        let Transfer {
            addresses, active, ..
        } = *transfer;
        let bytes = transfer.bytes();
        match transfer.space {
            MemSpace::Shared => {
                let who = self.accessor(transfer.is_strong());
                let offsets = core.shared.read(addresses, active, bytes, who)?;
                core.tally.shared_access(addresses, active, bytes, false);
                self.take(transfer, extend, dsts, core.shared.all(), &offsets);
            }
            MemSpace::Local => {
                let mut offsets = [0; WARP];
                for lane in lanes_of(active) {
                    let at =
                        self.local
                            .locate(lane, addresses[lane], bytes, bytes, Access::Read)?;
                    if env.options.checks {
                        self.local.check_initialised(lane, at, bytes)?;
                    }
                    offsets[lane] = at as u32;
                }
                let local = std::mem::take(&mut self.local);
                self.take(transfer, extend, dsts, local.all(), &offsets);
                self.local = local;
            }
            MemSpace::Param => {
                let mut offsets = [0; WARP];
                for lane in lanes_of(active) {
                    offsets[lane] = parameter(env, lane, addresses[lane], bytes)?;
                }
                self.take(transfer, extend, dsts, env.params, &offsets);
            }
            MemSpace::Global | MemSpace::Generic => {
                self.load_global(env, core, transfer, extend, dsts)?
            }
        }
        Ok(())
    }

    /// Fills the registers from bytes at checked offsets.
    #[inline(always)]
    fn take(
        &mut self,
        transfer: &Transfer<'_>,
        extend: Extend,
        dsts: &[Option<Reg>],
        bytes: &[u8],
        offsets: &Offsets,
    ) {
        let active = transfer.active;
        for (element, dst) in dsts.iter().enumerate() {
            let Some(dst) = dst else { continue };
            let first = element * transfer.width.element as usize;
            let register = self.registers.fill(*dst, active);
            match transfer.width.element {
                1 => take_elements::<1>(register, active, bytes, (offsets, first), extend),
                2 => take_elements::<2>(register, active, bytes, (offsets, first), extend),
                4 => take_elements::<4>(register, active, bytes, (offsets, first), extend),
                _ => take_elements::<8>(register, active, bytes, (offsets, first), extend),
            }
        }
    }

    fn load_global(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        transfer: &Transfer<'_>,
        extend: Extend,
        dsts: &[Option<Reg>],
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
                Access::Read,
                &mut self.hint,
            )?;
            rest &= !place.lanes;
            if env.options.checks {
                env.view.check_initialised(&place, addresses, bytes)?;
                if !transfer.is_strong() {
                    let who = (core.block, &self.accessor(false));
                    env.view.note(&place, who, addresses, bytes, Access::Read)?;
                }
            }
            for (index, dst) in dsts.iter().enumerate() {
                let Some(dst) = dst else { continue };
                let register = self.registers.fill(*dst, place.lanes);
                for lane in lanes_of(place.lanes) {
                    let offset = place.offset(addresses[lane]) + index as u64 * u64::from(element);
                    let value = place.allocation.load(offset, element);
                    register[lane] = extended(value, element as usize, extend);
                }
            }
        }
        if transfer.is_strong() {
            env.view.synchronised(core.block);
        }
        core.tally.global_access(addresses, active, bytes, false);
        Ok(())
    }
}

#[inline(always)]
fn take_elements<const BYTES: usize>(
    register: &mut Lanes,
    active: u32,
    bytes: &[u8],
    (offsets, first): (&Offsets, usize),
    extend: Extend,
) {
    for lane in lanes_of(active) {
        let at = offsets[lane] as usize + first;
        let mut value = [0; 8];
        value[..BYTES].copy_from_slice(&bytes[at..at + BYTES]);
        register[lane] = extended(u64::from_le_bytes(value), BYTES, extend);
    }
}

/// Checks an access of the parameter block; returns the offset.
fn parameter(env: &Env<'_>, lane: usize, address: u64, bytes: u32) -> Step<u32> {
    let (space, access) = (Space::Param, Access::Read);
    if !address.is_multiple_of(u64::from(bytes)) {
        let kind = FaultKind::Misaligned {
            space,
            access,
            bytes,
            required: bytes,
        };
        return Err(Trouble::at(kind, lane as u32, address));
    }
    let end = address.checked_add(u64::from(bytes));
    if end.is_some_and(|end| end <= env.params.len() as u64) {
        return Ok(address as u32);
    }
    let detail = format!("the kernel has {} bytes", env.params.len());
    let kind = FaultKind::OutOfBounds {
        space,
        access,
        bytes,
        detail,
    };
    Err(Trouble::at(kind, lane as u32, address))
}
