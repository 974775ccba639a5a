//! Matrix loads and stores between shared memory and fragments.

use super::block::Core;
use super::env::Env;
use super::trouble::{Step, Trouble};
use super::warp::Warp;
use crate::fault::{Access, FaultKind};
use crate::isa::{Address, Inst, Op, Reg, Src};
use crate::lanes::{Lanes, WARP};

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
                core.tally.mma(mma.shape);
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
        for (matrix, dst) in dsts.iter().enumerate() {
            let mut rows = [[0u16; 8]; 8];
            for (row, elements) in rows.iter_mut().enumerate() {
                let lane = 8 * matrix + row;
                let at = core.shared.locate(
                    lane,
                    addresses[lane],
                    ROW_BYTES,
                    ROW_BYTES,
                    Access::Read,
                )?;
                core.shared
                    .note_read(lane, at, ROW_BYTES as usize, self.accessor(false))?;
                for (element, pair) in elements
                    .iter_mut()
                    .zip(core.shared.raw(at, ROW_BYTES as usize).chunks_exact(2))
                {
                    *element = u16::from_le_bytes([pair[0], pair[1]]);
                }
            }
            let out = std::array::from_fn(|lane| {
                let (outer, inner) = (lane / 4, 2 * (lane % 4));
                let (low, high) = if trans {
                    (rows[inner][outer], rows[inner + 1][outer])
                } else {
                    (rows[outer][inner], rows[outer][inner + 1])
                };
                u64::from(low) | (u64::from(high) << 16)
            });
            self.registers.write(*dst, &out, u32::MAX);
        }
        core.tally
            .shared_access(&addresses, lanes_with_rows(dsts.len()), ROW_BYTES, false);
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
        for (matrix, src) in srcs.iter().enumerate() {
            let mut rows = [[0u16; 8]; 8];
            for (lane, value) in self.src(env, *src).iter().enumerate() {
                let (outer, inner) = (lane / 4, 2 * (lane % 4));
                for (part, element) in [*value as u16, (*value >> 16) as u16]
                    .into_iter()
                    .enumerate()
                {
                    if trans {
                        rows[inner + part][outer] = element;
                    } else {
                        rows[outer][inner + part] = element;
                    }
                }
            }
            for (row, elements) in rows.iter().enumerate() {
                let lane = 8 * matrix + row;
                let at = core.shared.locate(
                    lane,
                    addresses[lane],
                    ROW_BYTES,
                    ROW_BYTES,
                    Access::Write,
                )?;
                let mut data = [0; ROW_BYTES as usize];
                for (pair, element) in data.chunks_exact_mut(2).zip(elements) {
                    pair.copy_from_slice(&element.to_le_bytes());
                }
                core.shared.write(lane, at, &data, self.accessor(false))?;
            }
        }
        core.tally
            .shared_access(&addresses, lanes_with_rows(srcs.len()), ROW_BYTES, true);
        Ok(())
    }
}

/// Lanes that hold row addresses of that many matrices.
fn lanes_with_rows(matrices: usize) -> u32 {
    ((1u64 << (8 * matrices).min(WARP)) - 1) as u32
}

/// The matrix instructions also take generic addresses of shared memory.
fn shared_addresses(addresses: &mut Lanes) {
    for address in addresses {
        if let (crate::isa::MemSpace::Shared, offset) = super::execute::space_of(*address) {
            *address = offset;
        }
    }
}
