//! Plain Rust: sixteen tiles.

use super::{EDGE, Lanes};
use crate::cpu::simd::portable::Portable;
use crate::cpu::simd::{LANES, Line};

impl<const WIDE: bool> Lanes for Portable<WIDE> {
    type Numbers = Line;
    const TILES: usize = LANES;
    const HALF: bool = WIDE;

    #[inline(always)]
    fn same(self, value: f32) -> Line {
        Line([value; LANES])
    }
    #[inline(always)]
    fn add(self, a: Line, b: Line) -> Line {
        Line(std::array::from_fn(|tile| a.0[tile] + b.0[tile]))
    }
    #[inline(always)]
    fn mul(self, a: Line, b: Line) -> Line {
        Line(std::array::from_fn(|tile| a.0[tile] * b.0[tile]))
    }
    #[inline(always)]
    fn fused(self, a: Line, b: Line, c: Line) -> Line {
        Line(std::array::from_fn(|tile| {
            a.0[tile].mul_add(b.0[tile], c.0[tile])
        }))
    }
    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> Line {
        // SAFETY: the caller's word.
        Line(unsafe { source.cast::<[f32; LANES]>().read() })
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, a: Line) {
        // SAFETY: the caller's word.
        unsafe { target.cast::<[f32; LANES]>().write(a.0) }
    }
    #[inline(always)]
    unsafe fn interleave(self, source: *const f32, apart: usize, target: *mut f32) {
        for tile in 0..LANES {
            for number in 0..EDGE {
                // SAFETY: four numbers of each tile are the caller's, and as many vectors.
                unsafe { *target.add(number * LANES + tile) = *source.add(tile * apart + number) }
            }
        }
    }
    #[inline(always)]
    unsafe fn separate(self, source: *const f32, target: *mut f32, apart: usize) {
        for tile in 0..LANES {
            for number in 0..EDGE {
                // SAFETY: as `interleave`.
                unsafe { *target.add(tile * apart + number) = *source.add(number * LANES + tile) }
            }
        }
    }
}
