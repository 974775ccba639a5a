//! Numbers in memory: three types, converted in the load and the store.

use super::simd::{LANES, Simd};
use crate::tensor::{TensorMut, TensorRef};
use half::{bf16, f16};

/// A type that tensors are stored in.
pub(super) trait Stored: Copy + Send + Sync + 'static {
    /// Zero.
    const ZERO: Self;
    /// # Safety
    /// `source` is readable for sixteen numbers.
    unsafe fn load<S: Simd>(simd: S, source: *const Self) -> S::Vector;
    /// # Safety
    /// `target` is writable for sixteen numbers.
    unsafe fn store<S: Simd>(simd: S, target: *mut Self, value: S::Vector);
}

macro_rules! stored {
    ($type:ty, $zero:expr, $load:ident, $store:ident) => {
        impl Stored for $type {
            const ZERO: Self = $zero;
            #[inline(always)]
            unsafe fn load<S: Simd>(simd: S, source: *const Self) -> S::Vector {
                // SAFETY: the caller's word.
                unsafe { simd.$load(source) }
            }
            #[inline(always)]
            unsafe fn store<S: Simd>(simd: S, target: *mut Self, value: S::Vector) {
                // SAFETY: the caller's word.
                unsafe { simd.$store(target, value) }
            }
        }
    };
}
stored!(f32, 0.0, load, store);
stored!(bf16, bf16::ZERO, load_bf16, store_bf16);
stored!(f16, f16::ZERO, load_f16, store_f16);

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
    // SAFETY: the caller's word; the part is as long as a vector.
    unsafe {
        if count >= LANES {
            return E::load(simd, source);
        }
        let mut part = [E::ZERO; LANES];
        std::ptr::copy_nonoverlapping(source, part.as_mut_ptr(), count);
        E::load(simd, part.as_ptr())
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
    // SAFETY: the caller's word; the part is as long as a vector.
    unsafe {
        if count >= LANES {
            return E::store(simd, target, value);
        }
        let mut part = [E::ZERO; LANES];
        E::store(simd, part.as_mut_ptr(), value);
        std::ptr::copy_nonoverlapping(part.as_ptr(), target, count);
    }
}

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

    pub(super) fn to_write(tensor: &mut TensorMut<'_>) -> Pointer {
        match tensor {
            TensorMut::F32(numbers) => Pointer::F32(numbers.as_mut_ptr()),
            TensorMut::Bf16(numbers) => Pointer::Bf16(numbers.as_mut_ptr()),
            TensorMut::F16(numbers) => Pointer::F16(numbers.as_mut_ptr()),
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
