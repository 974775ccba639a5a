//! AVX2, FMA and F16C: two 256-bit registers a vector.

use super::{Line, Simd, Vectorized};
use half::{bf16, f16};
use std::arch::x86_64::*;

/// Exists only where AVX2, FMA and F16C were detected: the field is private to this module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    /// The proof, where the processor has the set.
    pub(super) fn detect() -> Option<Self> {
        let present = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c");
        present.then_some(Avx2(()))
    }
}

/// # Safety
/// The processor has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn with_features<K: Vectorized>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// Lanes 0..8 and 8..16.
type Pair = [__m256; 2];

#[inline(always)]
fn zip(a: Pair, b: Pair, f: impl Fn(__m256, __m256) -> __m256) -> Pair {
    [f(a[0], b[0]), f(a[1], b[1])]
}

impl Simd for Avx2 {
    type Vector = Pair;
    type Lanes = Avx2;
    const WIDE: bool = false;

    #[inline(always)]
    fn lanes(self) -> Avx2 {
        self
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        // SAFETY: `self` proves AVX2, FMA and F16C; so in every block of this implementation.
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: as `splat`.
        zip(a, b, |a, b| unsafe { _mm256_add_ps(a, b) })
    }
    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: as `splat`.
        zip(a, b, |a, b| unsafe { _mm256_mul_ps(a, b) })
    }
    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: as `splat`.
        zip(a, b, |a, b| unsafe { _mm256_div_ps(a, b) })
    }
    #[inline(always)]
    fn sqrt(self, a: Pair) -> Pair {
        // SAFETY: as `splat`.
        unsafe { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1])] }
    }
    #[inline(always)]
    fn fused(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: as `splat`.
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], c[0]),
                _mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }
    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: as `splat`.
        zip(a, b, |a, b| unsafe { _mm256_max_ps(a, b) })
    }
    #[inline(always)]
    fn abs(self, a: Pair) -> Pair {
        // SAFETY: as `splat`.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            [_mm256_andnot_ps(sign, a[0]), _mm256_andnot_ps(sign, a[1])]
        }
    }
    #[inline(always)]
    fn round_bf16(self, a: Pair) -> Pair {
        // SAFETY: as `splat`.
        a.map(|half| unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bf16_bits(half))) })
    }
    #[inline(always)]
    fn to_line(self, a: Pair) -> Line {
        let mut line = Line::ZERO;
        // SAFETY: as `splat`; a line is 64 bytes.
        unsafe { self.store(line.0.as_mut_ptr(), a) }
        line
    }
    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> Pair {
        // SAFETY: as `splat`; readable by the caller's word, no alignment needed.
        unsafe { [_mm256_loadu_ps(source), _mm256_loadu_ps(source.add(8))] }
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, a: Pair) {
        // SAFETY: as `splat`; writable by the caller's word, no alignment needed.
        unsafe {
            _mm256_storeu_ps(target, a[0]);
            _mm256_storeu_ps(target.add(8), a[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_part(self, source: *const f32, count: usize) -> Pair {
        // SAFETY: as `splat`; lanes that the masks leave out are not accessed, and the address of the upper half is
        // only computed.
        unsafe {
            let [low, high] = masks(count);
            let upper = source.wrapping_add(8);
            [
                _mm256_maskload_ps(source, low),
                _mm256_maskload_ps(upper, high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn store_part(self, target: *mut f32, a: Pair, count: usize) {
        // SAFETY: as `load_part`.
        unsafe {
            let [low, high] = masks(count);
            _mm256_maskstore_ps(target, low, a[0]);
            _mm256_maskstore_ps(target.wrapping_add(8), high, a[1]);
        }
    }
    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: AVX2 includes SSE; a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, source: *const bf16) -> Pair {
        // SAFETY: as `load`: 8 numbers from 0 and 8 from 8.
        [0, 8].map(|first| unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(source.add(first).cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        })
    }
    #[inline(always)]
    unsafe fn store_bf16(self, target: *mut bf16, a: Pair) {
        // SAFETY: as `store`, 32 bytes; the pack puts the lanes of 128 bits in the order 0 2 1 3.
        unsafe {
            let packed = _mm256_packus_epi32(bf16_bits(a[0]), bf16_bits(a[1]));
            _mm256_storeu_si256(
                target.cast(),
                _mm256_permute4x64_epi64::<0b1101_1000>(packed),
            );
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, source: *const f16) -> Pair {
        // SAFETY: as `load_bf16`.
        [0, 8].map(|first| unsafe { _mm256_cvtph_ps(_mm_loadu_si128(source.add(first).cast())) })
    }
    #[inline(always)]
    unsafe fn store_f16(self, target: *mut f16, a: Pair) {
        for (half, first) in a.into_iter().zip([0, 8]) {
            // SAFETY: as `store`: 8 numbers from 0 and 8 from 8.
            unsafe {
                let numbers = _mm256_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(half);
                _mm_storeu_si128(target.add(first).cast(), numbers);
            }
        }
    }
    #[inline(always)]
    unsafe fn load_master(self, weights: *const bf16, remainders: *const i16) -> Pair {
        // SAFETY: as `load_bf16`, for both.
        [0, 8].map(|first| unsafe {
            let weight = _mm256_cvtepu16_epi32(_mm_loadu_si128(weights.add(first).cast()));
            let weight = _mm256_slli_epi32::<16>(weight);
            let more = _mm256_cvtepi16_epi32(_mm_loadu_si128(remainders.add(first).cast()));
            let master = _mm256_castsi256_ps(_mm256_add_epi32(weight, more));
            let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(master, master);
            _mm256_blendv_ps(master, _mm256_castsi256_ps(weight), nan)
        })
    }
    #[inline(always)]
    unsafe fn store_master(self, weights: *mut bf16, remainders: *mut i16, a: Pair) {
        // SAFETY: as `store_bf16`, for both.
        unsafe {
            let bits = a.map(|half| {
                let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(half, half);
                let quiet = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc0_0000));
                _mm256_castps_si256(_mm256_blendv_ps(half, quiet, nan))
            });
            let weight = bits.map(|bits| {
                _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, _mm256_set1_epi32(0x8000)))
            });
            let low = bits.map(|bits| _mm256_and_si256(bits, _mm256_set1_epi32(0xffff)));
            for (target, [first, second]) in [(weights.cast(), weight), (remainders.cast(), low)] {
                let packed = _mm256_packus_epi32(first, second);
                let ordered = _mm256_permute4x64_epi64::<0b1101_1000>(packed);
                _mm256_storeu_si256(target, ordered);
            }
        }
    }
    #[inline(always)]
    unsafe fn transpose(self, source: *const f32, target: *mut f32) {
        for (row, column) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
            // SAFETY: the 8 x 8 block at (row, column) and its place (column, row) lie inside the 16 x 16 blocks.
            unsafe { transpose_8(source.add(row * 16 + column), target.add(column * 16 + row)) }
        }
    }
    #[inline(always)]
    unsafe fn store_transposed(self, rows: [Pair; 8], target: *mut f32) {
        let mut block = [Line::ZERO; 8];
        for (line, row) in block.iter_mut().zip(rows) {
            *line = self.to_line(row);
        }
        let source = block.as_ptr().cast::<f32>();
        // SAFETY: eight lines of 16 numbers; the targets are the caller's.
        unsafe {
            transpose_8(source, target);
            transpose_8(source.add(8), target.add(8 * 16));
        }
    }
    #[inline(always)]
    unsafe fn add_corner(self, source: *const f32, mut sums: [Pair; 4]) -> [Pair; 4] {
        // SAFETY: as `load`: numbers 8 to 15. Each number is used as soon as it is loaded: all of them at once, with
        // the sums, are more than sixteen registers.
        unsafe {
            let right = _mm256_loadu_ps(source.add(8));
            for r in 0..4 {
                for (half, sum) in sums[r].iter_mut().enumerate() {
                    let left = _mm256_broadcast_ss(&*source.add(8 + r + 4 * half));
                    *sum = _mm256_fmadd_ps(left, right, *sum);
                }
            }
        }
        sums
    }
    #[inline(always)]
    fn corner_rows(self, sums: [Pair; 4]) -> [Pair; 8] {
        std::array::from_fn(|row| [sums[row % 4][row / 4]; 2])
    }
    #[inline(always)]
    unsafe fn mirror_corner(self, block: *mut f32) {
        // SAFETY: `self` proves AVX; both 8 x 8 blocks lie in the block.
        unsafe { transpose_8(block.add(8), block.add(8 * 16)) }
    }
    #[inline(always)]
    fn vectorize<K: Vectorized>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves the features.
        unsafe { with_features(self, kernel) }
    }
}

/// Masks of the first `count` lanes.
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn masks(count: usize) -> [__m256i; 2] {
    // SAFETY: the caller's word.
    unsafe {
        let count = _mm256_set1_epi32(count as i32);
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let upper = _mm256_add_epi32(lanes, _mm256_set1_epi32(8));
        [
            _mm256_cmpgt_epi32(count, lanes),
            _mm256_cmpgt_epi32(count, upper),
        ]
    }
}

/// Four numbers of each of two rows that are `apart` numbers apart, one row per 128 bits.
/// # Safety
/// The processor has AVX; the numbers are readable.
#[inline(always)]
pub(super) unsafe fn join(first: *const f32, apart: usize) -> __m256 {
    // SAFETY: the caller's word.
    unsafe {
        let low = _mm256_castps128_ps256(_mm_loadu_ps(first));
        _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(first.add(apart)))
    }
}

/// The columns of four rows: in vector c, 128 bits number l hold column 4 l + c.
/// # Safety
/// The processor has AVX.
#[inline(always)]
pub(super) unsafe fn columns_of([row0, row1, row2, row3]: [__m256; 4]) -> [__m256d; 4] {
    // SAFETY: the caller's word.
    unsafe {
        let low01 = _mm256_castps_pd(_mm256_unpacklo_ps(row0, row1));
        let high01 = _mm256_castps_pd(_mm256_unpackhi_ps(row0, row1));
        let low23 = _mm256_castps_pd(_mm256_unpacklo_ps(row2, row3));
        let high23 = _mm256_castps_pd(_mm256_unpackhi_ps(row2, row3));
        [
            _mm256_unpacklo_pd(low01, low23),
            _mm256_unpackhi_pd(low01, low23),
            _mm256_unpacklo_pd(high01, high23),
            _mm256_unpackhi_pd(high01, high23),
        ]
    }
}

/// Transposes an 8 x 8 block; rows are 16 numbers apart on both sides.
/// # Safety
/// The processor has AVX; both blocks are valid.
#[inline(always)]
unsafe fn transpose_8(source: *const f32, target: *mut f32) {
    for column in [0, 4] {
        // SAFETY: the caller's word; rows column..column + 4 of the target lie in its block.
        unsafe {
            let rows = |first: usize| join(source.add(first * 16 + column), 64);
            let columns = columns_of([rows(0), rows(1), rows(2), rows(3)]);
            for (row, numbers) in columns.into_iter().enumerate() {
                _mm256_storeu_pd(target.add((column + row) * 16).cast(), numbers);
            }
        }
    }
}

/// The upper halves after rounding to nearest even; a NaN stays one (its payload cut, made quiet).
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn bf16_bits(a: __m256) -> __m256i {
    // SAFETY: the caller's word.
    unsafe {
        let bits = _mm256_castps_si256(a);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
        let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, bias));
        let quiet = _mm256_or_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(0x40));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(a, a));
        _mm256_blendv_epi8(rounded, quiet, nan)
    }
}
