//! Tensor products, by the fragment layouts of the PTX manual.
//!
//! A product is summed in f64, where the products of 16-bit and tf32 factors are exact and a sum of seventeen terms
//! keeps at least 29 bits more than the result, and rounded once. Hardware adds with fewer bits and truncates, so its
//! last bits differ.

use half::f16;

use super::env::Env;
use super::warp::Warp;
use crate::isa::{Mma, MmaOperand};
use crate::lanes::rounding::{Mode, f16_bits};
use crate::lanes::{Lanes, WARP};

const ROWS: usize = 16;
const COLUMNS: usize = 8;
const MAX_DEPTH: usize = 16;

impl Warp {
    pub(super) fn mma(&mut self, env: &Env<'_>, mma: &Mma) {
        match mma.operand {
            MmaOperand::Bf16 => self.product::<Bf16, 2>(env, mma),
            MmaOperand::F16 => self.product::<F16, 2>(env, mma),
            MmaOperand::Tf32 => self.product::<Tf32, 1>(env, mma),
        }
    }

    fn product<F: Factor<PACKED>, const PACKED: usize>(&mut self, env: &Env<'_>, mma: &Mma) {
        let mut a = [[0.0; MAX_DEPTH]; ROWS];
        for (register, src) in mma.a.iter().enumerate() {
            fill_a::<F, PACKED>(&mut a, register, self.src(env, *src));
        }
        let mut b = [[0.0; COLUMNS]; MAX_DEPTH];
        for (register, src) in mma.b.iter().enumerate() {
            fill_b::<F, PACKED>(&mut b, register, self.src(env, *src));
        }
        let mut d = self.accumulator(env, mma);
        match mma.shape.k {
            16 => multiply::<16>(&a, &b, &mut d),
            8 => multiply::<8>(&a, &b, &mut d),
            _ => multiply::<4>(&a, &b, &mut d),
        }
        self.write_result(mma, &d);
    }

    /// Lane l holds columns 2(l mod 4) and the next of rows l/4 and l/4 + 8; in f16 each pair is one register.
    fn accumulator(&self, env: &Env<'_>, mma: &Mma) -> Accumulator {
        let mut c = [[0.0; COLUMNS]; ROWS];
        for (register, src) in mma.c.iter().enumerate() {
            let lanes = self.src(env, *src);
            let half = if mma.half_c { register } else { register / 2 };
            for (group, row) in c[8 * half..8 * half + 8].iter_mut().enumerate() {
                for thread in 0..4 {
                    let value = lanes[4 * group + thread] as u32;
                    if mma.half_c {
                        [row[2 * thread], row[2 * thread + 1]] = F16::widen(value);
                    } else {
                        row[2 * thread + register % 2] = f64::from(f32::from_bits(value));
                    }
                }
            }
        }
        c
    }

    fn write_result(&mut self, mma: &Mma, d: &Accumulator) {
        for (register, dst) in mma.d.iter().enumerate() {
            let mut out = [0; WARP];
            let half = if mma.half_d { register } else { register / 2 };
            for (group, row) in d[8 * half..8 * half + 8].iter().enumerate() {
                for thread in 0..4 {
                    out[4 * group + thread] = if mma.half_d {
                        let [low, high] = [row[2 * thread], row[2 * thread + 1]]
                            .map(|value| u64::from(f16_bits(value, Mode::NearestEven)));
                        low | (high << 16)
                    } else {
                        let value = row[2 * thread + register % 2] as f32;
                        u64::from(if value.is_nan() {
                            0x7fff_ffff
                        } else {
                            value.to_bits()
                        })
                    };
                }
            }
            self.registers.write(*dst, &out, u32::MAX);
        }
    }
}

type FactorA = [[f64; MAX_DEPTH]; ROWS];
type FactorB = [[f64; COLUMNS]; MAX_DEPTH];
type Accumulator = [[f64; COLUMNS]; ROWS];

/// Registers of A go down eight rows, then right by half the depth; in a register lane l holds row l/4 and, packed in
/// pairs, columns 2(l mod 4) and the next (tf32: column l mod 4).
#[inline(always)]
fn fill_a<F: Factor<PACKED>, const PACKED: usize>(a: &mut FactorA, register: usize, lanes: &Lanes) {
    let (first_row, first_column) = (8 * (register % 2), 4 * PACKED * (register / 2));
    for (group, row) in a[first_row..first_row + 8].iter_mut().enumerate() {
        let columns = &mut row[first_column..first_column + 4 * PACKED];
        for (thread, elements) in columns.chunks_exact_mut(PACKED).enumerate() {
            elements.copy_from_slice(&F::widen(lanes[4 * group + thread] as u32));
        }
    }
}

/// Registers of B go down the depth; in a register lane l holds column l/4 and rows 2(l mod 4) and the next.
#[inline(always)]
fn fill_b<F: Factor<PACKED>, const PACKED: usize>(b: &mut FactorB, register: usize, lanes: &Lanes) {
    let first_row = 4 * PACKED * register;
    let rows = &mut b[first_row..first_row + 4 * PACKED];
    for (thread, rows) in rows.chunks_exact_mut(PACKED).enumerate() {
        for column in 0..COLUMNS {
            let elements = F::widen(lanes[4 * column + thread] as u32);
            for (row, element) in rows.iter_mut().zip(elements) {
                row[column] = element;
            }
        }
    }
}

/// Adds the product of the first `DEPTH` columns of A and rows of B.
#[inline(always)]
fn multiply<const DEPTH: usize>(a: &FactorA, b: &FactorB, d: &mut Accumulator) {
    for (a_row, d_row) in a.iter().zip(d) {
        let mut sums = *d_row;
        for (x, b_row) in a_row[..DEPTH].iter().zip(&b[..DEPTH]) {
            for (sum, y) in sums.iter_mut().zip(b_row) {
                *sum += x * y;
            }
        }
        *d_row = sums;
    }
}

/// An element type of the factors, `PACKED` of them in a register.
trait Factor<const PACKED: usize> {
    fn widen(register: u32) -> [f64; PACKED];
}

struct Bf16;
struct F16;
struct Tf32;

impl Factor<2> for Bf16 {
    #[inline(always)]
    fn widen(register: u32) -> [f64; 2] {
        [register << 16, register & 0xffff_0000].map(|bits| f64::from(f32::from_bits(bits)))
    }
}

impl Factor<2> for F16 {
    #[inline(always)]
    fn widen(register: u32) -> [f64; 2] {
        [register as u16, (register >> 16) as u16].map(|bits| f16::from_bits(bits).to_f64())
    }
}

impl Factor<1> for Tf32 {
    /// Hardware reads the upper 19 bits.
    #[inline(always)]
    fn widen(register: u32) -> [f64; 1] {
        [f64::from(f32::from_bits(register & 0xffff_e000))]
    }
}
