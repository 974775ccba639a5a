//! Weights of a matrix in memory, alone or with what their masters have more.

use super::simd::{LANES, Simd};
use super::storage::{Pointer, Stored, read, write};
use half::bf16;

/// Where weights lie; row i starts at i times the leading dimension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights {
    pub(super) start: Pointer,
    pub(super) leading: usize,
    /// What the masters of bf16 weights have more, and the distance of its rows.
    pub(super) remainder: Option<(*mut i16, usize)>,
}

// SAFETY: only addresses; whoever reads or writes through them says why no other thread interferes.
unsafe impl Send for Weights {}
// SAFETY: as above.
unsafe impl Sync for Weights {}

/// Numbers that a pass reads and writes as f32.
pub(super) trait Place: Copy {
    /// The first `count` (at most 16) numbers from (row, column) on, the other lanes zero.
    /// # Safety
    /// They exist, and nobody writes them meanwhile.
    unsafe fn read<S: Simd>(self, simd: S, row: usize, column: usize, count: usize) -> S::Vector;
    /// Asks for sixteen numbers from (row, column) on.
    fn ask<S: Simd>(self, simd: S, row: usize, column: usize);
    /// Writes the first `count` (at most 16) lanes from (row, column) on.
    /// # Safety
    /// They exist, and nobody else accesses them meanwhile.
    unsafe fn write<S: Simd>(self, simd: S, at: (usize, usize), value: S::Vector, count: usize);
}

/// Numbers of one type.
#[derive(Clone, Copy)]
pub(super) struct Plain<E> {
    pub(super) start: *mut E,
    pub(super) leading: usize,
}

impl<E> Plain<E> {
    /// As [`Place::ask`].
    #[inline(always)]
    fn ask<S: Simd>(self, simd: S, row: usize, column: usize) {
        let at = row * self.leading + column;
        simd.prefetch(self.start.wrapping_add(at).cast());
    }

    /// The address of (row, column).
    /// # Safety
    /// There is such a number.
    #[inline(always)]
    unsafe fn at(self, row: usize, column: usize) -> *mut E {
        // SAFETY: the caller's word.
        unsafe { self.start.add(row * self.leading + column) }
    }
}

impl<E: Stored> Place for Plain<E> {
    #[inline(always)]
    fn ask<S: Simd>(self, simd: S, row: usize, column: usize) {
        Plain::ask(self, simd, row, column);
    }
    #[inline(always)]
    unsafe fn read<S: Simd>(self, simd: S, row: usize, column: usize, count: usize) -> S::Vector {
        // SAFETY: the caller's word; so for all functions here.
        unsafe { read(simd, self.at(row, column).cast_const(), count) }
    }
    #[inline(always)]
    unsafe fn write<S: Simd>(
        self,
        simd: S,
        (row, column): (usize, usize),
        value: S::Vector,
        count: usize,
    ) {
        // SAFETY: as `read`.
        unsafe { write(simd, self.at(row, column), value, count) }
    }
}

/// Master weights in two parts: see [`master_weight`](crate::master_weight).
#[derive(Clone, Copy)]
pub(super) struct Masters {
    pub(super) weights: Plain<bf16>,
    pub(super) remainders: Plain<i16>,
}

impl Masters {
    /// The addresses of both parts at (row, column).
    #[inline(always)]
    unsafe fn at(self, row: usize, column: usize) -> (*mut bf16, *mut i16) {
        // SAFETY: as `read`.
        unsafe {
            (
                self.weights.at(row, column),
                self.remainders.at(row, column),
            )
        }
    }
}

impl Place for Masters {
    #[inline(always)]
    fn ask<S: Simd>(self, simd: S, row: usize, column: usize) {
        self.weights.ask(simd, row, column);
        self.remainders.ask(simd, row, column);
    }
    #[inline(always)]
    unsafe fn read<S: Simd>(self, simd: S, row: usize, column: usize, count: usize) -> S::Vector {
        // SAFETY: the caller's word; parts are as long as a vector.
        unsafe {
            let (weights, remainders) = self.at(row, column);
            if count >= LANES {
                return simd.load_master(weights.cast_const(), remainders.cast_const());
            }
            let mut part = ([bf16::ZERO; LANES], [0; LANES]);
            std::ptr::copy_nonoverlapping(weights.cast_const(), part.0.as_mut_ptr(), count);
            std::ptr::copy_nonoverlapping(remainders.cast_const(), part.1.as_mut_ptr(), count);
            simd.load_master(part.0.as_ptr(), part.1.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn write<S: Simd>(
        self,
        simd: S,
        (row, column): (usize, usize),
        value: S::Vector,
        count: usize,
    ) {
        // SAFETY: as `read`.
        unsafe {
            let (weights, remainders) = self.at(row, column);
            if count >= LANES {
                return simd.store_master(weights, remainders, value);
            }
            let mut part = ([bf16::ZERO; LANES], [0; LANES]);
            simd.store_master(part.0.as_mut_ptr(), part.1.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(part.0.as_ptr(), weights, count);
            std::ptr::copy_nonoverlapping(part.1.as_ptr(), remainders, count);
        }
    }
}

/// Runs `$body` with `$name` bound to the [`Place`] of some [`Weights`].
macro_rules! with_place {
    ($weights:expr, $name:ident => $body:expr) => {{
        let $crate::cpu::weights::Weights {
            start,
            leading,
            remainder,
        } = $weights;
        match (start, remainder) {
            ($crate::cpu::storage::Pointer::Bf16(start), Some((remainders, columns))) => {
                let $name = $crate::cpu::weights::Masters {
                    weights: $crate::cpu::weights::Plain { start, leading },
                    remainders: $crate::cpu::weights::Plain {
                        start: remainders,
                        leading: columns,
                    },
                };
                $body
            }
            (start, _) => $crate::cpu::storage::with_type!(start, start => {
                let $name = $crate::cpu::weights::Plain { start, leading };
                $body
            }),
        }
    }};
}
pub(super) use with_place;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::{InstructionSet, WithSimd};
    use crate::master_weight::{master_weight, split_master_weight};

    /// Reads weights with their remainders, and writes those of other masters.
    struct Both<'a> {
        weights: &'a mut [bf16],
        remainders: &'a mut [i16],
        written: &'a [f32],
    }

    impl WithSimd for Both<'_> {
        type Output = Vec<f32>;
        fn with<S: Simd>(self, simd: S) -> Vec<f32> {
            let place = Masters {
                weights: Plain {
                    start: self.weights.as_mut_ptr(),
                    leading: 0,
                },
                remainders: Plain {
                    start: self.remainders.as_mut_ptr(),
                    leading: 0,
                },
            };
            let mut read = Vec::new();
            for (part, written) in self.written.chunks(LANES).enumerate() {
                let (at, count) = (part * LANES, written.len());
                let mut line = [0.0; LANES];
                line[..count].copy_from_slice(written);
                // SAFETY: both slices are as long as `written`, and borrowed.
                unsafe {
                    let masters = simd.to_line(place.read(simd, 0, at, count));
                    read.extend(&masters.0[..count]);
                    place.write(simd, (0, at), simd.load(line.as_ptr()), count);
                }
            }
            read
        }
    }

    #[test]
    fn every_instruction_set_joins_and_splits_the_same_bits() {
        // Every weight beside remainders of both signs; 7 more make the last vector a part of one.
        let count = (1 << 16) + 7;
        let start: Vec<(bf16, i16)> = (0..count)
            .map(|i: u32| {
                let remainder = i.wrapping_mul(0x9e37_79b9) >> 16;
                (bf16::from_bits(i as u16), remainder as u16 as i16)
            })
            .collect();
        let written: Vec<f32> = (0..count)
            .map(|i| f32::from_bits(i.wrapping_mul(0x0001_0dcd) ^ 0x7f80_7fff))
            .collect();
        for set in InstructionSet::ALL {
            if !set.is_available() {
                println!("SKIPPED: {} is not on this processor", set.name());
                continue;
            }
            let (mut weights, mut remainders): (Vec<_>, Vec<_>) = start.iter().copied().unzip();
            let read = set.with(Both {
                weights: &mut weights,
                remainders: &mut remainders,
                written: &written,
            });
            for (found, (weight, remainder)) in read.iter().zip(&start) {
                let expected = master_weight(*weight, *remainder);
                assert_eq!(found.to_bits(), expected.to_bits(), "{}", set.name());
            }
            for ((weight, remainder), master) in weights.iter().zip(&remainders).zip(&written) {
                let (expected, more) = split_master_weight(*master);
                assert_eq!(
                    (weight.to_bits(), *remainder),
                    (expected.to_bits(), more),
                    "{}",
                    set.name()
                );
            }
        }
    }
}
