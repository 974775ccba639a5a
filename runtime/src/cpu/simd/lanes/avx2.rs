//! AVX2 and FMA: eight tiles.

use super::Lanes;
use crate::cpu::simd::avx2::{Avx2, columns_of, join};
use std::arch::x86_64::*;

impl Lanes for Avx2 {
    type Numbers = __m256;
    const TILES: usize = 8;
    const HALF: bool = false;

    #[inline(always)]
    fn same(self, value: f32) -> __m256 {
        // SAFETY: `self` proves AVX2 and FMA; so in every block of this implementation.
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as `same`.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: as `same`.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fused(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: as `same`.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> __m256 {
        // SAFETY: as `same`; readable and aligned by the caller's word.
        unsafe { _mm256_load_ps(source) }
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, a: __m256) {
        // SAFETY: as `load`, writable.
        unsafe { _mm256_store_ps(target, a) }
    }
    #[inline(always)]
    unsafe fn interleave(self, source: *const f32, apart: usize, target: *mut f32) {
        // SAFETY: as `same`; the numbers of eight tiles and four registers are the caller's.
        unsafe {
            let tiles = |first: usize| join(source.add(first * apart), 4 * apart);
            let columns = columns_of([tiles(0), tiles(1), tiles(2), tiles(3)]);
            for (number, column) in columns.into_iter().enumerate() {
                _mm256_store_pd(target.add(number * 8).cast(), column);
            }
        }
    }
    #[inline(always)]
    unsafe fn separate(self, source: *const f32, target: *mut f32, apart: usize) {
        // SAFETY: as `interleave`.
        unsafe {
            let numbers = |number: usize| self.load(source.add(number * 8));
            let tiles = columns_of([numbers(0), numbers(1), numbers(2), numbers(3)]);
            for (first, two) in tiles.into_iter().enumerate() {
                let two = _mm256_castpd_ps(two);
                let at = |tile: usize| target.add((first + tile) * apart);
                _mm_store_ps(at(0), _mm256_castps256_ps128(two));
                _mm_store_ps(at(4), _mm256_extractf128_ps::<1>(two));
            }
        }
    }
}
