//! Numbers in memory: three types, converted in the load and the store.

use super::simd::{LANES, Simd};
use crate::tensor::{TensorMut, TensorRef};
use half::{bf16, f16};

/// A type that tensors are stored in.
pub(super) trait Stored: Copy + Send + Sync + 'static {
    /// # Safety
    /// `source` is readable for sixteen numbers.
    unsafe fn load<S: Simd>(simd: S, source: *const Self) -> S::Vector;
    /// # Safety
    /// `target` is writable for sixteen numbers.
    unsafe fn store<S: Simd>(simd: S, target: *mut Self, value: S::Vector);
    /// The first `count` numbers, zeros behind them.
    /// # Safety
    /// `source` is readable for `count` numbers, fewer than sixteen.
    unsafe fn load_part<S: Simd>(simd: S, source: *const Self, count: usize) -> S::Vector;
    /// # Safety
    /// `target` is writable for `count` numbers, fewer than sixteen.
    unsafe fn store_part<S: Simd>(simd: S, target: *mut Self, value: S::Vector, count: usize);
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, source: *const f32) -> S::Vector {
        // SAFETY: the caller's word; so for all functions here.
        unsafe { simd.load(source) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, target: *mut f32, value: S::Vector) {
        // SAFETY: as `load`.
        unsafe { simd.store(target, value) }
    }
    #[inline(always)]
    unsafe fn load_part<S: Simd>(simd: S, source: *const f32, count: usize) -> S::Vector {
        // SAFETY: as `load`.
        unsafe { simd.load_part(source, count) }
    }
    #[inline(always)]
    unsafe fn store_part<S: Simd>(simd: S, target: *mut f32, value: S::Vector, count: usize) {
        // SAFETY: as `load`.
        unsafe { simd.store_part(target, value, count) }
    }
}

macro_rules! half {
    ($type:ty, $load:ident, $store:ident) => {
        impl Stored for $type {
            #[inline(always)]
            unsafe fn load<S: Simd>(simd: S, source: *const Self) -> S::Vector {
                // SAFETY: the caller's word; so for all functions here.
                unsafe { simd.$load(source) }
            }
            #[inline(always)]
            unsafe fn store<S: Simd>(simd: S, target: *mut Self, value: S::Vector) {
                // SAFETY: as `load`.
                unsafe { simd.$store(target, value) }
            }
            #[inline(always)]
            unsafe fn load_part<S: Simd>(simd: S, source: *const Self, count: usize) -> S::Vector {
                let mut part = [<$type>::ZERO; LANES];
                // SAFETY: as `load`; the part is as long as a vector.
                unsafe {
                    std::ptr::copy_nonoverlapping(source, part.as_mut_ptr(), count);
                    simd.$load(part.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn store_part<S: Simd>(
                simd: S,
                target: *mut Self,
                value: S::Vector,
                count: usize,
            ) {
                let mut part = [<$type>::ZERO; LANES];
                // SAFETY: as `load_part`.
                unsafe {
                    simd.$store(part.as_mut_ptr(), value);
                    std::ptr::copy_nonoverlapping(part.as_ptr(), target, count);
                }
            }
        }
    };
}
half!(bf16, load_bf16, store_bf16);
half!(f16, load_f16, store_f16);

/// The first `count` (at most 16) lanes from memory, the others zero.
///
/// # Safety
/// `source` is readable for `count` numbers.
#[inline(always)]
pub(super) unsafe fn read<S: Simd, E: Stored>(
    simd: S,
    source: *const E,
    count: usize,
) -> S::Vector {
    // SAFETY: the caller's word.
    unsafe {
        if count >= LANES {
            E::load(simd, source)
        } else {
            E::load_part(simd, source, count)
        }
    }
}

/// Writes the first `count` (at most 16) lanes.
///
/// # Safety
/// `target` is writable for `count` numbers.
#[inline(always)]
pub(super) unsafe fn write<S: Simd, E: Stored>(
    simd: S,
    target: *mut E,
    value: S::Vector,
    count: usize,
) {
    // SAFETY: the caller's word.
    unsafe {
        if count >= LANES {
            E::store(simd, target, value);
        } else {
            E::store_part(simd, target, value, count);
        }
    }
}

/// Runs `$body` with `$name` bound to the typed address in a [`Pointer`].
macro_rules! with_type {
    ($pointer:expr, $name:ident => $body:expr) => {
        match $pointer {
            $crate::cpu::storage::Pointer::F32($name) => $body,
            $crate::cpu::storage::Pointer::Bf16($name) => $body,
            $crate::cpu::storage::Pointer::F16($name) => $body,
        }
    };
}
pub(super) use with_type;

/// The start of a tensor and its type, without its lifetime: tasks that work on disjoint tiles share it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pointer {
    F32(*mut f32),
    Bf16(*mut bf16),
    F16(*mut f16),
}

// SAFETY: only an address; whoever reads or writes through it says why no other thread interferes.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

impl Pointer {
    /// For reading only.
    pub(super) fn to_read(tensor: TensorRef<'_>) -> Pointer {
        match tensor {
            TensorRef::F32(numbers) => Pointer::F32(numbers.as_ptr().cast_mut()),
            TensorRef::Bf16(numbers) => Pointer::Bf16(numbers.as_ptr().cast_mut()),
            TensorRef::F16(numbers) => Pointer::F16(numbers.as_ptr().cast_mut()),
        }
    }

    /// The address, and the bytes of a number.
    pub(super) fn bytes(self) -> (*const u8, usize) {
        with_type!(self, start => (start.cast_const().cast(), size_of_pointee(start)))
    }

    pub(super) fn to_write(tensor: &mut TensorMut<'_>) -> Pointer {
        match tensor {
            TensorMut::F32(numbers) => Pointer::F32(numbers.as_mut_ptr()),
            TensorMut::Bf16(numbers) => Pointer::Bf16(numbers.as_mut_ptr()),
            TensorMut::F16(numbers) => Pointer::F16(numbers.as_mut_ptr()),
        }
    }
}

/// Bytes of what an address points to.
fn size_of_pointee<T>(_: *mut T) -> usize {
    size_of::<T>()
}
