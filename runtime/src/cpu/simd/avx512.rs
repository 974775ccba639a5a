//! AVX-512F: one 512-bit register a vector.

use super::{Line, Simd, Vectorized};
use half::{bf16, f16};
use std::arch::x86_64::*;

/// Exists only where AVX-512F was detected: the field is private to this module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    /// The proof, where the processor has the set.
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_x86_feature_detected!("avx512f").then_some(Avx512(()))
    }
}

/// # Safety
/// The processor has AVX-512F.
#[target_feature(enable = "avx512f")]
unsafe fn with_features<K: Vectorized>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// Four numbers of each of four rows that are `apart` numbers apart, one row per 128 bits.
/// # Safety
/// The processor has AVX-512F; the numbers are readable, on boundaries of 16 bytes.
#[inline(always)]
pub(super) unsafe fn quarter(first: *const f32, apart: usize) -> __m512 {
    // SAFETY: the caller's word.
    unsafe {
        let mut rows = _mm512_castps128_ps512(_mm_load_ps(first));
        rows = _mm512_insertf32x4::<1>(rows, _mm_load_ps(first.add(apart)));
        rows = _mm512_insertf32x4::<2>(rows, _mm_load_ps(first.add(2 * apart)));
        _mm512_insertf32x4::<3>(rows, _mm_load_ps(first.add(3 * apart)))
    }
}

/// A mask of the first `count` lanes, at most 16.
#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}

/// The columns of four rows: in vector c, 128 bits number l hold column 4 l + c.
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
pub(super) unsafe fn columns_of([row0, row1, row2, row3]: [__m512; 4]) -> [__m512d; 4] {
    // SAFETY: the caller's word.
    unsafe {
        let low01 = _mm512_castps_pd(_mm512_unpacklo_ps(row0, row1));
        let high01 = _mm512_castps_pd(_mm512_unpackhi_ps(row0, row1));
        let low23 = _mm512_castps_pd(_mm512_unpacklo_ps(row2, row3));
        let high23 = _mm512_castps_pd(_mm512_unpackhi_ps(row2, row3));
        [
            _mm512_unpacklo_pd(low01, low23),
            _mm512_unpackhi_pd(low01, low23),
            _mm512_unpacklo_pd(high01, high23),
            _mm512_unpackhi_pd(high01, high23),
        ]
    }
}

impl Simd for Avx512 {
    type Vector = __m512;
    type Lanes = Avx512;
    const WIDE: bool = true;

    #[inline(always)]
    fn lanes(self) -> Avx512 {
        self
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512F; so in every block of this implementation.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as `splat`.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as `splat`.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as `splat`.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: as `splat`.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn fused(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as `splat`.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as `splat`.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        // SAFETY: as `splat`.
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn round_bf16(self, a: __m512) -> __m512 {
        // SAFETY: as `splat`.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bf16_bits(a))) }
    }
    #[inline(always)]
    fn to_line(self, a: __m512) -> Line {
        let mut line = Line::ZERO;
        // SAFETY: as `splat`; a line is 64 bytes on a 64-byte boundary.
        unsafe { _mm512_store_ps(line.0.as_mut_ptr(), a) }
        line
    }
    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> __m512 {
        // SAFETY: as `splat`; readable by the caller's word, no alignment needed.
        unsafe { _mm512_loadu_ps(source) }
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, a: __m512) {
        // SAFETY: as `splat`; writable by the caller's word, no alignment needed.
        unsafe { _mm512_storeu_ps(target, a) }
    }
    #[inline(always)]
    unsafe fn load_part(self, source: *const f32, count: usize) -> __m512 {
        // SAFETY: as `splat`; lanes that the mask leaves out are not accessed.
        unsafe { _mm512_maskz_loadu_ps(first(count), source) }
    }
    #[inline(always)]
    unsafe fn store_part(self, target: *mut f32, a: __m512, count: usize) {
        // SAFETY: as `load_part`.
        unsafe { _mm512_mask_storeu_ps(target, first(count), a) }
    }
    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: AVX-512F includes SSE; a prefetch never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, source: *const bf16) -> __m512 {
        // SAFETY: as `load`, 32 bytes.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(source.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, target: *mut bf16, a: __m512) {
        // SAFETY: as `store`, 32 bytes.
        unsafe { _mm256_storeu_si256(target.cast(), _mm512_cvtepi32_epi16(bf16_bits(a))) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, source: *const f16) -> __m512 {
        // SAFETY: as `load`, 32 bytes.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(source.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, target: *mut f16, a: __m512) {
        // SAFETY: as `store`, 32 bytes.
        unsafe {
            let numbers = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
            _mm256_storeu_si256(target.cast(), numbers);
        }
    }
    #[inline(always)]
    unsafe fn load_master(self, weights: *const bf16, remainders: *const i16) -> __m512 {
        // SAFETY: as `load_bf16`, for both.
        unsafe {
            let weight = _mm512_cvtepu16_epi32(_mm256_loadu_si256(weights.cast()));
            let weight = _mm512_slli_epi32::<16>(weight);
            let more = _mm512_cvtepi16_epi32(_mm256_loadu_si256(remainders.cast()));
            let master = _mm512_castsi512_ps(_mm512_add_epi32(weight, more));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(master, master);
            _mm512_mask_mov_ps(master, nan, _mm512_castsi512_ps(weight))
        }
    }
    #[inline(always)]
    unsafe fn store_master(self, weights: *mut bf16, remainders: *mut i16, a: __m512) {
        // SAFETY: as `store_bf16`, for both.
        unsafe {
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
            let bits = _mm512_castps_si512(a);
            let bits = _mm512_mask_mov_epi32(bits, nan, _mm512_set1_epi32(0x7fc0_0000));
            let rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x8000));
            let weight = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded));
            _mm256_storeu_si256(weights.cast(), weight);
            _mm256_storeu_si256(remainders.cast(), _mm512_cvtepi32_epi16(bits));
        }
    }
    #[inline(always)]
    unsafe fn transpose(self, source: *const f32, target: *mut f32) {
        for column in [0, 4, 8, 12] {
            // SAFETY: `self` proves AVX-512F; both blocks are the caller's.
            unsafe {
                let rows = |first: usize| quarter(source.add(first * 16 + column), 64);
                let columns = columns_of([rows(0), rows(1), rows(2), rows(3)]);
                for (row, numbers) in columns.into_iter().enumerate() {
                    _mm512_store_pd(target.add((column + row) * 16).cast(), numbers);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn store_transposed(self, rows: [__m512; 8], target: *mut f32) {
        // SAFETY: `self` proves AVX-512F.
        let (upper, lower) = unsafe {
            (
                columns_of([rows[0], rows[1], rows[2], rows[3]]),
                columns_of([rows[4], rows[5], rows[6], rows[7]]),
            )
        };
        for column in 0..4 {
            // SAFETY: as above; the vectors at 16 (column + 12) and below are granted by the caller.
            unsafe {
                let (first, second) = (upper[column], lower[column]);
                let low = _mm512_permutex2var_pd(
                    first,
                    _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
                    second,
                );
                let high = _mm512_permutex2var_pd(
                    first,
                    _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15),
                    second,
                );
                let target = target.add(column * 16).cast::<f64>();
                _mm256_store_pd(target, _mm512_castpd512_pd256(low));
                _mm256_store_pd(target.add(32), _mm512_extractf64x4_pd::<1>(low));
                _mm256_store_pd(target.add(64), _mm512_castpd512_pd256(high));
                _mm256_store_pd(target.add(96), _mm512_extractf64x4_pd::<1>(high));
            }
        }
    }
    #[inline(always)]
    unsafe fn add_corner(self, source: *const f32, mut sums: [__m512; 4]) -> [__m512; 4] {
        // Rows 8 + 2 r and 9 + 2 r share vector r, in its even and its odd lanes: two neighbouring numbers are broadcast
        // by a load alone, and the columns are spread by the one permutation that every vector shares.
        // SAFETY: `self` proves AVX-512F; readable by the caller's word.
        unsafe {
            let twice =
                _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
            let right = _mm512_permutexvar_ps(twice, _mm512_load_ps(source));
            for (r, sum) in sums.iter_mut().enumerate() {
                let pair = source.add(8 + 2 * r).cast::<f64>();
                let left = _mm512_castpd_ps(_mm512_set1_pd(*pair));
                *sum = _mm512_fmadd_ps(left, right, *sum);
            }
        }
        sums
    }
    #[inline(always)]
    fn corner_rows(self, sums: [__m512; 4]) -> [__m512; 8] {
        // SAFETY: as `splat`.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 2, 4, 6, 8, 10, 12, 14);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15);
            let lanes = [even, odd];
            std::array::from_fn(|row| _mm512_permutexvar_ps(lanes[row % 2], sums[row / 2]))
        }
    }
    #[inline(always)]
    unsafe fn mirror_corner(self, block: *mut f32) {
        // Of rows r and r + 4 numbers 8..16 share a vector. Whole rows are loaded: what was just stored need not be.
        // SAFETY: `self` proves AVX-512F; rows 0..8 are read, halves of rows 8..16 written.
        unsafe {
            let pair = |r: usize| {
                let (first, second) = (block.add(r * 16), block.add((r + 4) * 16));
                let (first, second) = (_mm512_load_ps(first), _mm512_load_ps(second));
                _mm512_shuffle_f32x4::<0b11_10_11_10>(first, second)
            };
            let columns = columns_of([pair(0), pair(1), pair(2), pair(3)]);
            for (c, column) in columns.into_iter().enumerate() {
                // Columns 8 + c and 12 + c, each of all eight rows.
                let both = _mm512_castpd_ps(column);
                let both = _mm512_shuffle_f32x4::<0b11_01_10_00>(both, both);
                let both = _mm512_castps_pd(both);
                let target = block.add((8 + c) * 16).cast::<f64>();
                _mm256_store_pd(target, _mm512_castpd512_pd256(both));
                _mm256_store_pd(target.add(32), _mm512_extractf64x4_pd::<1>(both));
            }
        }
    }
    #[inline(always)]
    fn vectorize<K: Vectorized>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves AVX-512F.
        unsafe { with_features(self, kernel) }
    }
}

/// The upper halves after rounding to nearest even; a NaN stays one (its payload cut, made quiet).
/// # Safety
/// The processor has AVX-512F.
#[inline(always)]
unsafe fn bf16_bits(a: __m512) -> __m512i {
    // SAFETY: the caller's word.
    unsafe {
        let bits = _mm512_castps_si512(a);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
        let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, bias));
        let quiet = _mm512_or_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(0x40));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
        _mm512_mask_mov_epi32(rounded, nan, quiet)
    }
}
