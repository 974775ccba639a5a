//! Whether a tensor holds a NaN or an infinity.

use super::elementwise::poisoned;
use super::pool::Pool;
use super::simd::{InstructionSet, LANES, Simd, Vectorized, WithSimd};
use super::storage::{Pointer, Stored, read, with_type};
use crate::tensor::TensorRef;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Elements that one thread takes at a time.
const ELEMENTS_AT_A_TIME: usize = 64 * 1024;

/// Whether every number of `tensor` is finite.
///
/// ```
/// use himuon::cpu::{Pool, all_finite};
/// use himuon::tensor::TensorRef;
///
/// let pool = Pool::new(1)?;
/// assert!(all_finite(&pool, TensorRef::F32(&[1.0, -2.0])));
/// assert!(!all_finite(&pool, TensorRef::F32(&[1.0, f32::INFINITY])));
/// # Ok::<(), himuon::cpu::CpuError>(())
/// ```
pub fn all_finite(pool: &Pool, tensor: TensorRef<'_>) -> bool {
    let (pointer, length) = (Pointer::to_read(tensor), tensor.len());
    let set = InstructionSet::best();
    let finite = AtomicBool::new(true);
    pool.for_each(length.div_ceil(ELEMENTS_AT_A_TIME), |_, unit| {
        if !finite.load(Ordering::Relaxed) {
            return;
        }
        let start = unit * ELEMENTS_AT_A_TIME;
        let elements = start..length.min(start + ELEMENTS_AT_A_TIME);
        if set.with(Part { pointer, elements }) {
            finite.store(false, Ordering::Relaxed);
        }
    });
    finite.into_inner()
}

struct Part {
    pointer: Pointer,
    elements: Range<usize>,
}

impl WithSimd for Part {
    type Output = bool;
    fn with<S: Simd>(self, simd: S) -> bool {
        with_type!(self.pointer, numbers => simd.vectorize(Typed {
            numbers: numbers.cast_const(),
            elements: self.elements,
        }))
    }
}

/// Elements of the tensor, which is borrowed.
struct Typed<E> {
    numbers: *const E,
    elements: Range<usize>,
}

impl<E: Stored> Vectorized for Typed<E> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        let (mut zeros, zero) = (simd.splat(0.0), simd.splat(0.0));
        let mut at = self.elements.start;
        while at < self.elements.end {
            let count = LANES.min(self.elements.end - at);
            // SAFETY: the elements lie in the tensor.
            let numbers = unsafe { read(simd, self.numbers.add(at), count) };
            zeros = simd.fused(numbers, zero, zeros);
            at += count;
        }
        poisoned(simd, zeros)
    }
}
