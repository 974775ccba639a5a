//! Plain Rust: arrays of sixteen numbers, one fused multiply-add a lane.

use super::{LANES, Line, Simd, Vectorized};
use crate::master_weight::{master_weight, split_master_weight};
use half::{bf16, f16};

/// Needs nothing of the processor. `WIDE` chooses the pieces of the sets with many registers: slow here, but so the
/// tests run those pieces on any processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable<const WIDE: bool>;

#[inline(always)]
fn map(a: Line, f: impl Fn(f32) -> f32) -> Line {
    Line(a.0.map(f))
}

#[inline(always)]
fn zip(a: Line, b: Line, f: impl Fn(f32, f32) -> f32) -> Line {
    Line(std::array::from_fn(|lane| f(a.0[lane], b.0[lane])))
}

impl<const WIDE: bool> Simd for Portable<WIDE> {
    type Vector = Line;
    type Lanes = Self;
    const WIDE: bool = WIDE;

    #[inline(always)]
    fn lanes(self) -> Self {
        self
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Line {
        Line([value; LANES])
    }
    #[inline(always)]
    fn add(self, a: Line, b: Line) -> Line {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn mul(self, a: Line, b: Line) -> Line {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Line, b: Line) -> Line {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self, a: Line) -> Line {
        map(a, f32::sqrt)
    }
    #[inline(always)]
    fn fused(self, a: Line, b: Line, c: Line) -> Line {
        Line(std::array::from_fn(|lane| {
            a.0[lane].mul_add(b.0[lane], c.0[lane])
        }))
    }
    #[inline(always)]
    fn max(self, a: Line, b: Line) -> Line {
        zip(a, b, f32::max)
    }
    #[inline(always)]
    fn abs(self, a: Line) -> Line {
        map(a, f32::abs)
    }
    #[inline(always)]
    fn round_bf16(self, a: Line) -> Line {
        map(a, |value| bf16::from_f32(value).to_f32())
    }
    #[inline(always)]
    fn to_line(self, a: Line) -> Line {
        a
    }
    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> Line {
        // SAFETY: the caller says that 16 numbers are readable; no alignment is assumed.
        Line(unsafe { source.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, a: Line) {
        // SAFETY: the caller says that 16 numbers are writable; no alignment is assumed.
        unsafe { target.cast::<[f32; LANES]>().write_unaligned(a.0) }
    }
    #[inline(always)]
    unsafe fn load_part(self, source: *const f32, count: usize) -> Line {
        let mut line = Line::ZERO;
        // SAFETY: readable by the caller's word; `count` <= 16.
        unsafe { std::ptr::copy_nonoverlapping(source, line.0.as_mut_ptr(), count) };
        line
    }
    #[inline(always)]
    unsafe fn store_part(self, target: *mut f32, a: Line, count: usize) {
        // SAFETY: writable by the caller's word; `count` <= 16.
        unsafe { std::ptr::copy_nonoverlapping(a.0.as_ptr(), target, count) }
    }
    #[inline(always)]
    fn prefetch(self, _address: *const u8) {}
    #[inline(always)]
    unsafe fn load_bf16(self, source: *const bf16) -> Line {
        // SAFETY: as `load`; bf16 is two bytes without padding.
        let numbers = unsafe { source.cast::<[bf16; LANES]>().read_unaligned() };
        Line(numbers.map(bf16::to_f32))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, target: *mut bf16, a: Line) {
        // SAFETY: as `store`.
        unsafe {
            target
                .cast::<[bf16; LANES]>()
                .write_unaligned(a.0.map(bf16::from_f32));
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, source: *const f16) -> Line {
        // SAFETY: as `load`; f16 is two bytes without padding.
        let numbers = unsafe { source.cast::<[f16; LANES]>().read_unaligned() };
        Line(numbers.map(f16::to_f32))
    }
    #[inline(always)]
    unsafe fn store_f16(self, target: *mut f16, a: Line) {
        // SAFETY: as `store`.
        unsafe {
            target
                .cast::<[f16; LANES]>()
                .write_unaligned(a.0.map(f16::from_f32));
        }
    }
    #[inline(always)]
    unsafe fn load_master(self, weights: *const bf16, remainders: *const i16) -> Line {
        // SAFETY: as `load`, for both.
        let (weights, remainders) = unsafe {
            (
                weights.cast::<[bf16; LANES]>().read_unaligned(),
                remainders.cast::<[i16; LANES]>().read_unaligned(),
            )
        };
        Line(std::array::from_fn(|lane| {
            master_weight(weights[lane], remainders[lane])
        }))
    }
    #[inline(always)]
    unsafe fn store_master(self, weights: *mut bf16, remainders: *mut i16, a: Line) {
        let split = a.0.map(split_master_weight);
        // SAFETY: as `store`, for both.
        unsafe {
            weights
                .cast::<[bf16; LANES]>()
                .write_unaligned(split.map(|(weight, _)| weight));
            remainders
                .cast::<[i16; LANES]>()
                .write_unaligned(split.map(|(_, remainder)| remainder));
        }
    }
    #[inline(always)]
    unsafe fn transpose(self, source: *const f32, target: *mut f32) {
        for row in 0..LANES {
            for column in 0..LANES {
                // SAFETY: both indices are below 256, which the caller grants.
                unsafe { *target.add(column * LANES + row) = *source.add(row * LANES + column) }
            }
        }
    }
    #[inline(always)]
    unsafe fn store_transposed(self, rows: [Line; 8], target: *mut f32) {
        for (row, line) in rows.iter().enumerate() {
            for (column, number) in line.0.iter().enumerate() {
                // SAFETY: the caller grants 15 x 16 + 8 numbers.
                unsafe { *target.add(column * LANES + row) = *number }
            }
        }
    }
    #[inline(always)]
    unsafe fn add_corner(self, source: *const f32, sums: [Line; 4]) -> [Line; 4] {
        // SAFETY: as `load`.
        let numbers = unsafe { self.load(source) }.0;
        let left = |row| Line(std::array::from_fn(|lane| numbers[8 + lane / 8 * 4 + row]));
        let right = Line(std::array::from_fn(|lane| numbers[8 + lane % 8]));
        std::array::from_fn(|row| self.fused(left(row), right, sums[row]))
    }
    #[inline(always)]
    fn corner_rows(self, sums: [Line; 4]) -> [Line; 8] {
        std::array::from_fn(|row| {
            let half = row / 4 * 8;
            Line(std::array::from_fn(|lane| sums[row % 4].0[half + lane % 8]))
        })
    }
    #[inline(always)]
    unsafe fn mirror_corner(self, block: *mut f32) {
        for row in 0..8 {
            for column in 8..LANES {
                // SAFETY: both indices are below 256, which the caller grants.
                unsafe { *block.add(column * LANES + row) = *block.add(row * LANES + column) }
            }
        }
    }
    #[inline(always)]
    fn vectorize<K: Vectorized>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}
