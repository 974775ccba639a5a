//! AVX-512F: sixteen tiles.

use super::Lanes;
use crate::cpu::simd::avx512::{Avx512, columns_of, quarter};
use std::arch::x86_64::*;

impl Lanes for Avx512 {
    type Numbers = __m512;
    const TILES: usize = 16;
    const HALF: bool = true;

    #[inline(always)]
    fn same(self, value: f32) -> __m512 {
        // SAFETY: `self` proves AVX-512F; so in every block of this implementation.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as `same`.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: as `same`.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fused(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as `same`.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> __m512 {
        // SAFETY: as `same`; readable and aligned by the caller's word.
        unsafe { _mm512_load_ps(source) }
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, a: __m512) {
        // SAFETY: as `load`, writable.
        unsafe { _mm512_store_ps(target, a) }
    }
    #[inline(always)]
    unsafe fn interleave(self, source: *const f32, apart: usize, target: *mut f32) {
        // SAFETY: as `same`; the numbers of sixteen tiles and four vectors are the caller's.
        unsafe {
            let tiles = |first: usize| quarter(source.add(first * apart), 4 * apart);
            let columns = columns_of([tiles(0), tiles(1), tiles(2), tiles(3)]);
            for (number, column) in columns.into_iter().enumerate() {
                _mm512_store_pd(target.add(number * 16).cast(), column);
            }
        }
    }
    #[inline(always)]
    unsafe fn separate(self, source: *const f32, target: *mut f32, apart: usize) {
        // SAFETY: as `interleave`.
        unsafe {
            let numbers = |number: usize| self.load(source.add(number * 16));
            let tiles = columns_of([numbers(0), numbers(1), numbers(2), numbers(3)]);
            for (first, four) in tiles.into_iter().enumerate() {
                let four = _mm512_castpd_ps(four);
                let at = |tile: usize| target.add((first + tile) * apart);
                _mm_store_ps(at(0), _mm512_castps512_ps128(four));
                _mm_store_ps(at(4), _mm512_extractf32x4_ps::<1>(four));
                _mm_store_ps(at(8), _mm512_extractf32x4_ps::<2>(four));
                _mm_store_ps(at(12), _mm512_extractf32x4_ps::<3>(four));
            }
        }
    }
}
