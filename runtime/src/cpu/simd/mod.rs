//! Vectors of sixteen `f32` on three instruction sets.
//!
//! Everything above this module is written once, over [`Simd`], and gives the same bits on each set:
//! every operation below is exactly rounded, and no set fuses or reorders what another does not.
//!
//! A value of an implementing type is the proof that the processor has the set, so arithmetic is safe;
//! only memory accesses are not.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
mod leaf;
pub(crate) mod portable;

pub(crate) use lanes::{EDGE, Lanes};
pub(crate) use leaf::leaf;

use half::{bf16, f16};

/// Numbers in one vector, on every instruction set.
pub(crate) const LANES: usize = 16;

/// Sixteen aligned numbers: what a vector is outside registers.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [f32; LANES]);

impl Line {
    pub(crate) const ZERO: Line = Line([0.0; LANES]);

    /// Sum of the lanes by halving: lane i with lane i + 8, then + 4, + 2, + 1.
    pub(crate) fn sum(self) -> f32 {
        self.halve(|a, b| a + b)
    }

    /// Largest lane.
    pub(crate) fn largest(self) -> f32 {
        self.halve(f32::max)
    }

    #[inline(always)]
    fn halve(self, combine: impl Fn(f32, f32) -> f32) -> f32 {
        let mut lanes = self.0;
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] = combine(lanes[lane], lanes[lane + half]);
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// A start of numbers that threads share, each its own part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<T>(pub(crate) *mut T);
// SAFETY: only an address; whoever uses it says why no other thread interferes.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// # Safety
    /// The number exists, or is one past the last.
    pub(crate) unsafe fn at(&self, number: usize) -> *mut T {
        // SAFETY: the caller's word.
        unsafe { self.0.add(number) }
    }
}

/// The operations of one instruction set.
pub(crate) trait Simd: Copy + Send + Sync {
    /// Sixteen numbers in registers.
    type Vector: Copy;

    /// Registers whose lanes are tiles.
    type Lanes: Lanes;

    /// Whether 28 vectors fit into the registers; otherwise 7 do.
    const WIDE: bool;

    fn lanes(self) -> Self::Lanes;

    fn splat(self, value: f32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sqrt(self, a: Self::Vector) -> Self::Vector;
    /// a b + c, rounded once.
    fn fused(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn abs(self, a: Self::Vector) -> Self::Vector;
    /// Each lane to the nearest bf16, ties to even. Finite input.
    fn round_bf16(self, a: Self::Vector) -> Self::Vector;
    fn to_line(self, a: Self::Vector) -> Line;

    /// # Safety
    /// `source` is readable for 16 numbers.
    unsafe fn load(self, source: *const f32) -> Self::Vector;
    /// # Safety
    /// `target` is writable for 16 numbers.
    unsafe fn store(self, target: *mut f32, a: Self::Vector);
    /// The first `count` numbers, zeros behind them.
    /// # Safety
    /// `source` is readable for `count` numbers; `count` <= 16.
    unsafe fn load_part(self, source: *const f32, count: usize) -> Self::Vector;
    /// Writes the first `count` lanes.
    /// # Safety
    /// `target` is writable for `count` numbers; `count` <= 16.
    unsafe fn store_part(self, target: *mut f32, a: Self::Vector, count: usize);
    /// Asks for the 64 bytes around an address, which need not be readable, in the second-level cache.
    fn prefetch(self, address: *const u8);
    /// # Safety
    /// `source` is readable for 16 numbers.
    unsafe fn load_bf16(self, source: *const bf16) -> Self::Vector;
    /// Rounds to nearest, ties to even.
    /// # Safety
    /// `target` is writable for 16 numbers.
    unsafe fn store_bf16(self, target: *mut bf16, a: Self::Vector);
    /// # Safety
    /// `source` is readable for 16 numbers.
    unsafe fn load_f16(self, source: *const f16) -> Self::Vector;
    /// Rounds to nearest, ties to even.
    /// # Safety
    /// `target` is writable for 16 numbers.
    unsafe fn store_f16(self, target: *mut f16, a: Self::Vector);
    /// The masters of sixteen weights: see [`master_weight`](crate::master_weight).
    /// # Safety
    /// Both are readable for 16 numbers.
    unsafe fn load_master(self, weights: *const bf16, remainders: *const i16) -> Self::Vector;
    /// Splits sixteen masters.
    /// # Safety
    /// Both are writable for 16 numbers.
    unsafe fn store_master(self, weights: *mut bf16, remainders: *mut i16, a: Self::Vector);
    /// Writes the transpose of the contiguous 16 x 16 block at `source` to `target`.
    /// # Safety
    /// `source` is readable and `target` writable for 256 numbers, both on 64-byte boundaries, and they
    /// do not overlap.
    unsafe fn transpose(self, source: *const f32, target: *mut f32);
    /// Writes the transpose of eight rows: lane r of the vector at 16 c is lane c of row r, for r < 8. The upper
    /// lanes stay.
    /// # Safety
    /// `target`, on a 32-byte boundary, is writable for 15 x 16 + 8 numbers.
    unsafe fn store_transposed(self, rows: [Self::Vector; 8], target: *mut f32);

    /// Adds a term to the sums of a [corner](crate::cpu::product): numbers 8..16, each times each. Which lane holds what
    /// is the set's own affair.
    /// # Safety
    /// `source`, on a 64-byte boundary, is readable for 16 numbers.
    unsafe fn add_corner(self, source: *const f32, sums: [Self::Vector; 4]) -> [Self::Vector; 4];
    /// Rows 8 to 15 of a corner in the upper halves of eight vectors; what the lower halves hold is left open.
    fn corner_rows(self, sums: [Self::Vector; 4]) -> [Self::Vector; 8];
    /// Writes the transpose of numbers 8..16 of rows 0..8 to numbers 0..8 of rows 8..16 of a block.
    /// # Safety
    /// `block`, on a 64-byte boundary, is valid for 256 numbers.
    unsafe fn mirror_corner(self, block: *mut f32);

    /// Runs `kernel` compiled for this set.
    fn vectorize<K: Vectorized>(self, kernel: K) -> K::Output;
}

/// A computation that is compiled once for each instruction set.
pub(crate) trait Vectorized {
    type Output;
    /// Implementations, and all that they call down to the intrinsics, are `#[inline(always)]`:
    /// only then are they compiled with the set's features.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Code that is handed an instruction set and calls [`leaf`] functions with it.
pub(crate) trait WithSimd {
    type Output;
    fn with<S: Simd>(self, simd: S) -> Self::Output;
}

/// Instruction sets that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum InstructionSet {
    /// AVX-512F (x86-64).
    Avx512,
    /// AVX2, FMA and F16C (x86-64).
    Avx2,
    /// Plain Rust, any processor; without a fused multiply-add in hardware it is slow, and still the same bits.
    Portable,
}

impl InstructionSet {
    /// All sets, the preferred first.
    pub const ALL: [InstructionSet; 3] = [
        InstructionSet::Avx512,
        InstructionSet::Avx2,
        InstructionSet::Portable,
    ];

    /// The name in variants, tables and reports.
    pub const fn name(self) -> &'static str {
        match self {
            InstructionSet::Avx512 => "avx512",
            InstructionSet::Avx2 => "avx2",
            InstructionSet::Portable => "portable",
        }
    }

    /// Tiles that share a register where they are interleaved.
    pub(crate) const fn interleaved_tiles(self) -> usize {
        match self {
            InstructionSet::Avx512 | InstructionSet::Portable => 16,
            InstructionSet::Avx2 => 8,
        }
    }

    /// Whether this processor has the set.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::Avx2::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            InstructionSet::Avx512 | InstructionSet::Avx2 => false,
            InstructionSet::Portable => true,
        }
    }

    /// The preferred set of this processor.
    pub fn best() -> InstructionSet {
        Self::ALL
            .into_iter()
            .find(|set| set.is_available())
            .unwrap_or(InstructionSet::Portable)
    }

    /// Calls `user` with this set, or with the portable one where the processor lacks it (the same bits).
    pub(crate) fn with<U: WithSimd>(self, user: U) -> U::Output {
        #[cfg(target_arch = "x86_64")]
        match self {
            InstructionSet::Avx512 => {
                if let Some(simd) = avx512::Avx512::detect() {
                    return user.with(simd);
                }
            }
            InstructionSet::Avx2 => {
                if let Some(simd) = avx2::Avx2::detect() {
                    return user.with(simd);
                }
            }
            InstructionSet::Portable => {}
        }
        user.with(portable::Portable::<false>)
    }
}
