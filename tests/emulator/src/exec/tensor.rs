//! Tensor products and matrix loads, by the fragment layouts of the PTX manual.
//!
//! A product is summed in f64, where the products of 16-bit and tf32 factors are exact and a sum of seventeen terms
//! keeps at least 29 bits more than the result, and rounded once. Hardware adds with fewer bits and truncates, so its
//! last bits differ.

use half::f16;

use super::block::Core;
use super::env::Env;
use super::trouble::{Step, Trouble};
use super::warp::Warp;
use crate::fault::{Access, FaultKind};
use crate::isa::{Address, Inst, Mma, MmaOperand, Op, Reg, Src};
use crate::lanes::rounding::{Mode, f16_bits};
use crate::lanes::{Lanes, WARP};

const ROWS: usize = 16;
const COLUMNS: usize = 8;
const MAX_DEPTH: usize = 16;
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

    fn mma(&mut self, env: &Env<'_>, mma: &Mma) {
        let depth = usize::from(mma.shape.k);
        let a = self.factor_a(env, mma);
        let b = self.factor_b(env, mma);
        let mut d = self.accumulator(env, mma);
        for (row, sums) in d.iter_mut().enumerate() {
            for (x, b_row) in a[row][..depth].iter().zip(&b[..depth]) {
                for (sum, y) in sums.iter_mut().zip(b_row) {
                    *sum += x * y;
                }
            }
        }
        self.write_result(mma, &d);
    }

    /// Registers of A go down eight rows, then right by half the depth; in a register lane l holds row l/4 and, packed
    /// in pairs, columns 2(l mod 4) and the next (tf32: column l mod 4).
    fn factor_a(&self, env: &Env<'_>, mma: &Mma) -> [[f64; MAX_DEPTH]; ROWS] {
        let mut a = [[0.0; MAX_DEPTH]; ROWS];
        let packing = packing(mma.operand);
        for (register, src) in mma.a.iter().enumerate() {
            let lanes = self.src(env, *src);
            let (row_base, column_base) = (8 * (register % 2), 4 * packing * (register / 2));
            for (lane, value) in lanes.iter().enumerate() {
                let column = column_base + packing * (lane % 4);
                let row = &mut a[row_base + lane / 4];
                unpack(
                    mma.operand,
                    *value as u32,
                    &mut row[column..column + packing],
                );
            }
        }
        a
    }

    /// Registers of B go down the depth; in a register lane l holds column l/4 and rows 2(l mod 4) and the next.
    fn factor_b(&self, env: &Env<'_>, mma: &Mma) -> [[f64; COLUMNS]; MAX_DEPTH] {
        let mut b = [[0.0; COLUMNS]; MAX_DEPTH];
        let packing = packing(mma.operand);
        for (register, src) in mma.b.iter().enumerate() {
            for (lane, value) in self.src(env, *src).iter().enumerate() {
                let row = 4 * packing * register + packing * (lane % 4);
                let mut pair = [0.0; 2];
                unpack(mma.operand, *value as u32, &mut pair[..packing]);
                for (part, element) in pair[..packing].iter().enumerate() {
                    b[row + part][lane / 4] = *element;
                }
            }
        }
        b
    }

    /// Lane l holds columns 2(l mod 4) and the next of rows l/4 and l/4 + 8; in f16 each pair is one register.
    fn accumulator(&self, env: &Env<'_>, mma: &Mma) -> [[f64; COLUMNS]; ROWS] {
        let mut c = [[0.0; COLUMNS]; ROWS];
        for (register, src) in mma.c.iter().enumerate() {
            for (lane, value) in self.src(env, *src).iter().enumerate() {
                let column = 2 * (lane % 4);
                if mma.half_c {
                    unpack(
                        MmaOperand::F16,
                        *value as u32,
                        &mut c[lane / 4 + 8 * register][column..column + 2],
                    );
                } else {
                    c[lane / 4 + 8 * (register / 2)][column + register % 2] =
                        f64::from(f32::from_bits(*value as u32));
                }
            }
        }
        c
    }

    fn write_result(&mut self, mma: &Mma, d: &[[f64; COLUMNS]; ROWS]) {
        for (register, dst) in mma.d.iter().enumerate() {
            let out: Lanes = std::array::from_fn(|lane| {
                let column = 2 * (lane % 4);
                if mma.half_d {
                    let row = &d[lane / 4 + 8 * register];
                    let [low, high] = [row[column], row[column + 1]]
                        .map(|value| u64::from(f16_bits(value, Mode::NearestEven)));
                    low | (high << 16)
                } else {
                    let value = d[lane / 4 + 8 * (register / 2)][column + register % 2] as f32;
                    u64::from(if value.is_nan() {
                        0x7fff_ffff
                    } else {
                        value.to_bits()
                    })
                }
            });
            self.registers.write(*dst, &out, u32::MAX);
        }
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

/// Elements in one 32-bit register of a factor.
fn packing(operand: MmaOperand) -> usize {
    if operand == MmaOperand::Tf32 { 1 } else { 2 }
}

/// Widens the elements of one register. Of a tf32 the hardware reads the upper 19 bits.
#[inline(always)]
fn unpack(operand: MmaOperand, value: u32, into: &mut [f64]) {
    match operand {
        MmaOperand::Tf32 => into[0] = f64::from(f32::from_bits(value & 0xffff_e000)),
        MmaOperand::Bf16 => {
            into[0] = f64::from(f32::from_bits(value << 16));
            into[1] = f64::from(f32::from_bits(value & 0xffff_0000));
        }
        MmaOperand::F16 => {
            into[0] = f16::from_bits(value as u16).to_f64();
            into[1] = f16::from_bits((value >> 16) as u16).to_f64();
        }
    }
}
