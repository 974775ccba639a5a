//! Matrix loads and stores between shared memory and fragments.

use super::block::Core;
use super::env::Env;
use super::execute::space_of;
use super::trouble::{Step, Trouble, lanes_of};
use super::warp::Warp;
use crate::fault::FaultKind;
use crate::isa::{Address, Inst, MemSpace, Op, Reg, Src};
use crate::lanes::{Lanes, WARP};
use crate::memory::WINDOW_BYTES;

/// Bytes of a row of an 8 x 8 matrix of 16-bit elements.
const ROW_BYTES: u32 = 16;

impl Warp {
    pub(super) fn execute_tensor(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        inst: &Inst,
        active: u32,
    ) -> Step<()> {
        if active != u32::MAX {
            return Err(Trouble::new(FaultKind::DivergentCollective {
                active,
                required: u32::MAX,
            }));
        }
        match &inst.op {
            Op::LoadMatrix {
                trans,
                dsts,
                address,
            } => self.load_matrix(env, core, *trans, dsts, *address),
            Op::StoreMatrix {
                trans,
                srcs,
                address,
            } => self.store_matrix(env, core, *trans, srcs, *address),
            Op::Mma(mma) => {
                core.tally.mma(&mma.shape);
                self.mma(env, mma);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Lanes 8i to 8i+7 hold the row addresses of matrix i. Lane l receives elements 2(l mod 4) and 2(l mod 4)+1 of row
    /// l/4; transposed, those of column l/4.
    fn load_matrix(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        trans: bool,
        dsts: &[Reg],
        address: Address,
    ) -> Step<()> {
        let mut addresses = self.addresses(env, address);
        shared_addresses(&mut addresses);
        let lanes = lanes_with_rows(dsts.len());
        let who = self.accessor(false);
        let offsets = core.shared.read(&addresses, lanes, ROW_BYTES, who)?;
        for (matrix, dst) in dsts.iter().enumerate() {
            let mut rows = [[0u16; 8]; 8];
            for (row, elements) in rows.iter_mut().enumerate() {
                let at = offsets[8 * matrix + row] as usize;
                let bytes = core.shared.raw(at, ROW_BYTES as usize);
                for (element, pair) in elements.iter_mut().zip(bytes.chunks_exact(2)) {
                    *element = u16::from_le_bytes([pair[0], pair[1]]);
                }
            }
            if trans {
                rows = std::array::from_fn(|row| std::array::from_fn(|column| rows[column][row]));
            }
            let register = self.registers.fill(*dst, u32::MAX);
            for (lanes, row) in register.chunks_exact_mut(4).zip(&rows) {
                for (lane, pair) in lanes.iter_mut().zip(row.chunks_exact(2)) {
                    *lane = u64::from(pair[0]) | (u64::from(pair[1]) << 16);
                }
            }
        }
        core.tally
            .shared_access(&addresses, lanes, ROW_BYTES, false);
        Ok(())
    }

    fn store_matrix(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        trans: bool,
        srcs: &[Src],
        address: Address,
    ) -> Step<()> {
        let mut addresses = self.addresses(env, address);
        shared_addresses(&mut addresses);
        let lanes = lanes_with_rows(srcs.len());
        let fragments: [&Lanes; 4] =
            std::array::from_fn(|matrix| self.src(env, srcs[matrix.min(srcs.len() - 1)]));
        // The row that a lane addresses, and its elements in the registers of other lanes.
        let row = |lane: usize| {
            let (registers, row) = (fragments[lane / 8], lane % 8);
            let mut data = [0; ROW_BYTES as usize];
            for (element, bytes) in data.chunks_exact_mut(2).enumerate() {
                let (outer, inner) = if trans {
                    (element, row)
                } else {
                    (row, element)
                };
                let value = registers[4 * outer + inner / 2] >> (16 * (inner % 2));
                bytes.copy_from_slice(&(value as u16).to_le_bytes());
            }
            data
        };
        let who = self.accessor(false);
        let offsets = core.shared.write(&addresses, lanes, ROW_BYTES, who, row)?;
        for lane in lanes_of(lanes) {
            core.shared
                .raw_mut(offsets[lane] as usize, ROW_BYTES as usize)
                .copy_from_slice(&row(lane));
        }
        core.tally.shared_access(&addresses, lanes, ROW_BYTES, true);
        Ok(())
    }
}

/// Lanes that hold row addresses of that many matrices.
fn lanes_with_rows(matrices: usize) -> u32 {
    ((1u64 << (8 * matrices).min(WARP)) - 1) as u32
}

/// The matrix instructions also take generic addresses of shared memory.
fn shared_addresses(addresses: &mut Lanes) {
    if addresses.iter().all(|address| *address < WINDOW_BYTES) {
        return;
    }
    for address in addresses {
        if let (MemSpace::Shared, offset) = space_of(*address) {
            *address = offset;
        }
    }
}
