//! Tensor products, by the fragment layouts of the PTX manual.
//!
//! A product is summed in f64, where the products of 16-bit and tf32 factors are exact and a sum of seventeen terms
//! keeps at least 29 bits more than the result, and rounded once. Hardware adds with fewer bits and truncates, so its
//! last bits differ; `Sums::Truncated` shows what that does to a long sum.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::env::Env;
use super::warp::Warp;
use crate::isa::{Mma, MmaOperand, Src};
use crate::lanes::rounding::{Mode, f16_bits, f16_wide};
use crate::lanes::vectorise::vectorised;
use crate::lanes::{Lanes, WARP};
use crate::options::Sums;

const ROWS: usize = 16;
const COLUMNS: usize = 8;
/// Registers of an operand, at most.
const REGISTERS: usize = 4;

impl Warp {
    pub(super) fn mma(&mut self, env: &Env<'_>, mma: &Mma) {
        let out = match (mma.operand, mma.shape.k) {
            (MmaOperand::Bf16, 16) => self.product::<Bf16, 2, 16>(env, mma),
            (MmaOperand::Bf16, _) => self.product::<Bf16, 2, 8>(env, mma),
            (MmaOperand::F16, 16) => self.product::<F16, 2, 16>(env, mma),
            (MmaOperand::F16, _) => self.product::<F16, 2, 8>(env, mma),
            (MmaOperand::Tf32, 8) => self.product::<Tf32, 1, 8>(env, mma),
            (MmaOperand::Tf32, _) => self.product::<Tf32, 1, 4>(env, mma),
        };
        for (dst, lanes) in mma.d.iter().zip(&out) {
            self.registers.write(*dst, lanes, u32::MAX);
        }
    }

    fn product<F: Factor<PACKED>, const PACKED: usize, const DEPTH: usize>(
        &self,
        env: &Env<'_>,
        mma: &Mma,
    ) -> [Lanes; REGISTERS] {
        // Places that an operand does not fill repeat its last register; nobody looks at them.
        let fragment = |registers: &[Src]| {
            std::array::from_fn(|index| self.src(env, registers[index.min(registers.len() - 1)]))
        };
        let product = Product::<F, PACKED, DEPTH> {
            a: fragment(&mma.a),
            b: fragment(&mma.b),
            c: fragment(&mma.c),
            half_c: mma.half_c,
            half_d: mma.half_d,
            factor: PhantomData,
        };
        match env.options.sums {
            Sums::Truncated if !mma.half_d => product.truncated(),
            Sums::Exact | Sums::Truncated => vectorised(product),
        }
    }
}

/// A product of depth `DEPTH` whose factors lie `PACKED` to a register.
struct Product<'l, F, const PACKED: usize, const DEPTH: usize> {
    a: [&'l Lanes; REGISTERS],
    b: [&'l Lanes; REGISTERS],
    c: [&'l Lanes; REGISTERS],
    half_c: bool,
    half_d: bool,
    factor: PhantomData<F>,
}

/// C or D as it lies in f32 registers: element (row, column) is lane `4 (row mod 8) + column / 2` of register
/// `2 (row / 8) + column mod 2`. In f16 the two registers of a half are packed into one.
type Accumulator = [[f64; WARP]; REGISTERS];

/// The columns of one row of an accumulator, the even ones and then the odd ones: four lanes of two registers.
type Row = [[f64; COLUMNS / 2]; 2];

impl<F: Factor<PACKED>, const PACKED: usize, const DEPTH: usize> WithSimd
    for Product<'_, F, PACKED, DEPTH>
{
    type Output = [Lanes; REGISTERS];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [Lanes; REGISTERS] {
        let mut d = accumulator(&self.c, self.half_c);
        self.add_product(simd, &mut d);
        result(&d, self.half_d)
    }
}

impl<F: Factor<PACKED>, const PACKED: usize, const DEPTH: usize> Product<'_, F, PACKED, DEPTH> {
    /// Adds to each element of `d` its terms in ascending depth.
    #[inline(always)]
    fn add_product<S: Simd>(&self, simd: S, d: &mut Accumulator) {
        let b = self.factor_b();
        for half in 0..ROWS / 8 {
            let a = self.rows_of_a(half);
            for group in 0..8 {
                let lanes = 4 * group..4 * group + 4;
                let mut sums: Row = Row::default();
                for (odd, part) in sums.iter_mut().enumerate() {
                    part.copy_from_slice(&d[2 * half + odd][lanes.clone()]);
                }
                for (register, rows) in a.iter().take(DEPTH / 4 / PACKED).enumerate() {
                    for thread in 0..4 {
                        for (element, lanes) in rows.iter().enumerate() {
                            let terms = &b[PACKED * (4 * register + thread) + element];
                            add_scaled(simd, lanes[4 * group + thread], terms, &mut sums);
                        }
                    }
                }
                for (odd, part) in sums.iter().enumerate() {
                    d[2 * half + odd][lanes.clone()].copy_from_slice(part);
                }
            }
        }
    }

    /// The product with sums as tensor cores make them, in f32.
    fn truncated(&self) -> [Lanes; REGISTERS] {
        // Products that are added at a time.
        let together = 8 * PACKED / 2;
        let mut d = accumulator(&self.c, self.half_c);
        let b = self.factor_b();
        for half in 0..ROWS / 8 {
            let a = self.rows_of_a(half);
            for (row, column) in
                (0..8).flat_map(|row| (0..COLUMNS).map(move |column| (row, column)))
            {
                let sum = &mut d[2 * half + column % 2][4 * row + column / 2];
                let products: [f64; DEPTH] = std::array::from_fn(|k| {
                    let (register, place) = (k / (4 * PACKED), k % (4 * PACKED));
                    let lane = 4 * row + place / PACKED;
                    a[register][place % PACKED][lane] * b[k][column % 2][column / 2]
                });
                for products in products.chunks(together) {
                    *sum = truncated_sum(*sum, products);
                }
            }
        }
        result(&d, false)
    }

    /// Eight rows of A: registers go right by half the depth; in a register lane l holds row l/4 and, packed in pairs,
    /// columns 2(l mod 4) and the next (tf32: column l mod 4).
    #[inline(always)]
    fn rows_of_a(&self, half: usize) -> [[[f64; WARP]; PACKED]; 2] {
        let mut rows = [[[0.0; WARP]; PACKED]; 2];
        for (register, row) in rows.iter_mut().take(DEPTH / 4 / PACKED).enumerate() {
            F::widen(self.a[2 * register + half], row);
        }
        rows
    }

    /// B by rows. Registers go down the depth; in a register lane l holds column l/4 and rows 2(l mod 4) and the next.
    #[inline(always)]
    fn factor_b(&self) -> [Row; DEPTH] {
        let mut b = [Row::default(); DEPTH];
        for register in 0..DEPTH / 4 / PACKED {
            let mut wide = [[0.0; WARP]; PACKED];
            F::widen(self.b[register], &mut wide);
            for (element, lanes) in wide.iter().enumerate() {
                for thread in 0..4 {
                    let row = &mut b[PACKED * (4 * register + thread) + element];
                    for column in 0..COLUMNS {
                        row[column % 2][column / 2] = lanes[4 * column + thread];
                    }
                }
            }
        }
        b
    }
}

/// The sum of an accumulator and products, each cut off one place below the last one that an f32 as large as the largest has,
/// and cut off to f32.
fn truncated_sum(accumulator: f64, products: &[f64]) -> f64 {
    let terms = || std::iter::once(&accumulator).chain(products);
    let largest = terms().fold(0.0, |largest: f64, term| largest.max(term.abs()));
    let plain: f64 = terms().sum();
    if largest == 0.0 || !plain.is_finite() {
        return plain;
    }
    // Sums of f32 products are normal in f64.
    let exponent = (largest.to_bits() >> 52) as i32 - 1023;
    let place = f64::powi(2.0, exponent - f32::MANTISSA_DIGITS as i32);
    let sum: f64 = terms().map(|term| (term / place).trunc() * place).sum();
    towards_zero(sum)
}

fn towards_zero(value: f64) -> f64 {
    let nearest = value as f32;
    match f64::from(nearest).abs() > value.abs() {
        true => f64::from(f32::from_bits(nearest.to_bits() - 1)),
        false => f64::from(nearest),
    }
}

/// Adds `x` times `terms`. The product is exact, so that it makes no difference whether it is fused.
#[inline(always)]
fn add_scaled<S: Simd>(simd: S, x: f64, terms: &Row, sums: &mut Row) {
    let x = simd.splat_f64s(x);
    for (terms, sums) in terms.iter().zip(sums) {
        let (terms, sums) = (S::as_simd_f64s(terms).0, S::as_mut_simd_f64s(sums).0);
        for (term, sum) in terms.iter().zip(sums) {
            *sum = simd.mul_add_e_f64s(x, *term, *sum);
        }
    }
}

#[inline(always)]
fn accumulator(registers: &[&Lanes; REGISTERS], half: bool) -> Accumulator {
    let mut c = [[0.0; WARP]; REGISTERS];
    if half {
        for (pair, register) in c.chunks_exact_mut(2).zip(registers) {
            if let [even, odd] = pair {
                for lane in 0..WARP {
                    even[lane] = f64::from(f16_wide(register[lane] as u16));
                    odd[lane] = f64::from(f16_wide((register[lane] >> 16) as u16));
                }
            }
        }
    } else {
        for (wide, register) in c.iter_mut().zip(registers) {
            for lane in 0..WARP {
                wide[lane] = f64::from(f32::from_bits(register[lane] as u32));
            }
        }
    }
    c
}

#[inline(always)]
fn result(d: &Accumulator, half: bool) -> [Lanes; REGISTERS] {
    let mut out = [[0; WARP]; REGISTERS];
    if half {
        for (register, pair) in out.iter_mut().zip(d.chunks_exact(2)) {
            for lane in 0..WARP {
                let [low, high] = [pair[0][lane], pair[1][lane]]
                    .map(|value| u64::from(f16_bits(value, Mode::NearestEven)));
                register[lane] = low | (high << 16);
            }
        }
    } else {
        for (register, wide) in out.iter_mut().zip(d) {
            for lane in 0..WARP {
                let value = wide[lane] as f32;
                let bits = value.to_bits();
                register[lane] = u64::from(if value.is_nan() { 0x7fff_ffff } else { bits });
            }
        }
    }
    out
}

/// An element type of the factors, `PACKED` of them in a register.
trait Factor<const PACKED: usize> {
    /// The elements of a register, the lower ones of each lane first.
    fn widen(register: &Lanes, into: &mut [[f64; WARP]; PACKED]);
}

struct Bf16;
struct F16;
struct Tf32;

impl Factor<2> for Bf16 {
    #[inline(always)]
    fn widen(register: &Lanes, [low, high]: &mut [[f64; WARP]; 2]) {
        for lane in 0..WARP {
            let bits = register[lane] as u32;
            low[lane] = f64::from(f32::from_bits(bits << 16));
            high[lane] = f64::from(f32::from_bits(bits & 0xffff_0000));
        }
    }
}

impl Factor<2> for F16 {
    #[inline(always)]
    fn widen(register: &Lanes, [low, high]: &mut [[f64; WARP]; 2]) {
        for lane in 0..WARP {
            low[lane] = f64::from(f16_wide(register[lane] as u16));
            high[lane] = f64::from(f16_wide((register[lane] >> 16) as u16));
        }
    }
}

impl Factor<1> for Tf32 {
    /// Hardware reads the upper 19 bits.
    #[inline(always)]
    fn widen(register: &Lanes, [all]: &mut [[f64; WARP]; 1]) {
        for lane in 0..WARP {
            all[lane] = f64::from(f32::from_bits(register[lane] as u32 & 0xffff_e000));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::random::Random;

    fn registers(random: &mut Random) -> [Lanes; REGISTERS] {
        std::array::from_fn(|_| std::array::from_fn(|_| random.next() & 0xffff_ffff))
    }

    /// Bits of every kind, NaN and infinity included: the instruction set of the host must not show.
    fn same_on_every_host<F: Factor<PACKED>, const PACKED: usize, const DEPTH: usize>(
        random: &mut Random,
    ) {
        for (half_c, half_d) in [(false, false), (true, true), (false, true)] {
            let [a, b, c] = [(); 3].map(|()| registers(random));
            let product = || Product::<F, PACKED, DEPTH> {
                a: a.each_ref(),
                b: b.each_ref(),
                c: c.each_ref(),
                half_c,
                half_d,
                factor: PhantomData,
            };
            assert_eq!(
                vectorised(product()),
                product().with_simd(pulp::Scalar),
                "{PACKED} {DEPTH}"
            );
        }
    }

    #[test]
    fn truncated_sums_lose_what_lies_below_the_accumulator() {
        let small = f64::powi(2.0, -26);
        // Eight times 2^-26 is one unit in the last place of 1, but each by itself lies below it.
        assert_eq!(truncated_sum(1.0, &[small; 8]), 1.0);
        assert_eq!(truncated_sum(0.0, &[small; 8]), 8.0 * small);
        // One place below the last one is kept while the terms are added.
        assert_eq!(truncated_sum(1.0, &[4.0 * small; 2]), 1.0 + 8.0 * small);
        assert_eq!(truncated_sum(-1.0, &[-4.0 * small]), -1.0);
        assert!(truncated_sum(f64::INFINITY, &[f64::NEG_INFINITY]).is_nan());
    }

    /// Small integers, whose sums are exact however they are made.
    #[test]
    fn truncated_products_are_the_products() {
        fn same<F: Factor<PACKED>, const PACKED: usize, const DEPTH: usize>(
            random: &mut Random,
            word: fn(f32) -> u64,
        ) {
            let mut integers = |pairs: bool| -> [Lanes; REGISTERS] {
                std::array::from_fn(|_| {
                    std::array::from_fn(|_| {
                        let [low, high] = [(); 2].map(|()| word((random.next() % 9) as f32 - 4.0));
                        if pairs { low | (high << 16) } else { low }
                    })
                })
            };
            let [a, b] = [(); 2].map(|()| integers(PACKED == 2));
            let c: [Lanes; REGISTERS] = [[u64::from(3.0_f32.to_bits()); WARP]; REGISTERS];
            let product = Product::<F, PACKED, DEPTH> {
                a: a.each_ref(),
                b: b.each_ref(),
                c: c.each_ref(),
                half_c: false,
                half_d: false,
                factor: PhantomData,
            };
            assert_eq!(product.truncated(), product.with_simd(pulp::Scalar));
        }
        let mut random = Random::new(3, 4);
        same::<Bf16, 2, 16>(&mut random, |value| u64::from(value.to_bits() >> 16));
        same::<Bf16, 2, 8>(&mut random, |value| u64::from(value.to_bits() >> 16));
        same::<Tf32, 1, 8>(&mut random, |value| u64::from(value.to_bits()));
        same::<Tf32, 1, 4>(&mut random, |value| u64::from(value.to_bits()));
    }

    #[test]
    fn products_do_not_depend_on_the_host() {
        let mut random = Random::new(1, 2);
        for _ in 0..50 {
            same_on_every_host::<Bf16, 2, 16>(&mut random);
            same_on_every_host::<F16, 2, 8>(&mut random);
            same_on_every_host::<Tf32, 1, 4>(&mut random);
        }
    }
}
