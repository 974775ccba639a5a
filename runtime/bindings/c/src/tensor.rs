//! The caller's buffers.

use std::ffi::c_void;
use std::ops::Range;

use half::{bf16, f16};
use himuon::overlap::overlap;
use himuon::templates::Element as Known;
use himuon::tensor::{TensorMut, TensorRef};

use crate::status::Failure;

/// The type of numbers.
pub type Element = u32;

/// IEEE single precision.
pub const HIMUON_F32: Element = 0;
/// bfloat16.
pub const HIMUON_BF16: Element = 1;
/// IEEE half precision.
pub const HIMUON_F16: Element = 2;

/// Contiguous numbers of the caller's, row-major and aligned to their size: in this process's memory, or on the device of an
/// optimizer of `himuon_build_cuda`. It does not grow: they are passed as arrays.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tensor {
    /// The first number; of a device's its `CUdeviceptr`. Of a gradient null says that there is none: its parameter is left unchanged.
    pub data: *mut c_void,
    /// How many numbers.
    pub len: usize,
    /// `HIMUON_F32`, `HIMUON_BF16` or `HIMUON_F16`.
    pub element: Element,
}

impl Tensor {
    fn bytes(&self, what: &str) -> Result<usize, Failure> {
        let size = match self.element {
            HIMUON_F32 => 4,
            HIMUON_BF16 | HIMUON_F16 => 2,
            other => {
                return Err(Failure::argument(format!(
                    "{what} has element type {other}, expected HIMUON_F32 (0), HIMUON_BF16 (1) or HIMUON_F16 (2)"
                )));
            }
        };
        if self.data.is_null() {
            return Err(Failure::argument(format!(
                "{what} is null, expected {} numbers",
                self.len
            )));
        }
        if !(self.data as usize).is_multiple_of(size) {
            return Err(Failure::argument(format!(
                "{what} is at {:p}, expected an address that is a multiple of {size}",
                self.data
            )));
        }
        self.len
            .checked_mul(size)
            .filter(|bytes| *bytes <= isize::MAX as usize)
            .ok_or_else(|| {
                Failure::argument(format!(
                    "{what} has {} numbers, which no memory holds",
                    self.len
                ))
            })
    }

    /// Where it begins and ends, once it is known to be a tensor.
    pub(crate) fn range(&self, what: &str) -> Result<Range<usize>, Failure> {
        let (start, bytes) = (self.data as usize, self.bytes(what)?);
        let end = start.checked_add(bytes).ok_or_else(|| {
            Failure::argument(format!(
                "{what} is at {start:#x} and has {bytes} bytes, beyond the end of all addresses"
            ))
        })?;
        Ok(start..end)
    }

    /// Whether there is anything at its address: a gradient may be missing.
    pub(crate) fn holds_numbers(&self) -> bool {
        !self.data.is_null() && self.len > 0
    }

    /// The type of the numbers, once [`range`](Self::range) was `Ok`.
    pub(crate) fn known_element(&self) -> Known {
        match self.element {
            HIMUON_BF16 => Known::Bf16,
            HIMUON_F16 => Known::F16,
            _ => Known::F32,
        }
    }

    /// # Safety
    /// [`range`](Self::range) was `Ok`; the numbers are there and written to by nobody for as long as the result is used.
    pub(crate) unsafe fn read<'a>(&self) -> TensorRef<'a> {
        // SAFETY: aligned and not null by `range`, long enough and not written to by the caller's word.
        unsafe {
            match self.element {
                HIMUON_BF16 => TensorRef::Bf16(slice(self.data.cast::<bf16>(), self.len)),
                HIMUON_F16 => TensorRef::F16(slice(self.data.cast::<f16>(), self.len)),
                _ => TensorRef::F32(slice(self.data.cast::<f32>(), self.len)),
            }
        }
    }

    /// # Safety
    /// [`range`](Self::range) was `Ok`; the numbers are there and nobody else's for as long as the result is used.
    pub(crate) unsafe fn write<'a>(&self) -> TensorMut<'a> {
        // SAFETY: aligned and not null by `range`, long enough and nobody else's by the caller's word.
        unsafe {
            match self.element {
                HIMUON_BF16 => TensorMut::Bf16(slice_mut(self.data.cast::<bf16>(), self.len)),
                HIMUON_F16 => TensorMut::F16(slice_mut(self.data.cast::<f16>(), self.len)),
                _ => TensorMut::F32(slice_mut(self.data.cast::<f32>(), self.len)),
            }
        }
    }
}

/// # Safety
/// As `std::slice::from_raw_parts`.
unsafe fn slice<'a, T>(start: *const T, len: usize) -> &'a [T] {
    // SAFETY: the caller's word.
    unsafe { std::slice::from_raw_parts(start, len) }
}

/// # Safety
/// As `std::slice::from_raw_parts_mut`.
unsafe fn slice_mut<'a, T>(start: *mut T, len: usize) -> &'a mut [T] {
    // SAFETY: the caller's word.
    unsafe { std::slice::from_raw_parts_mut(start, len) }
}

/// Refuses what is no tensor, and weights that overlap each other or a gradient.
pub(crate) fn check_apart(weights: &[Tensor], gradients: &[Tensor]) -> Result<(), Failure> {
    let weights = weights.iter().enumerate();
    let weights = weights
        .map(|(index, weight)| weight.range(&format!("weight {index}")))
        .collect::<Result<Vec<_>, _>>()?;
    let gradients = gradients.iter().enumerate();
    let gradients = gradients
        .map(|(index, gradient)| match gradient.data.is_null() {
            true => Ok(None),
            false => gradient.range(&format!("gradient {index}")).map(Some),
        })
        .collect::<Result<Vec<_>, _>>()?;
    match overlap(&weights, &gradients) {
        None => Ok(()),
        Some((first, second)) => Err(Failure::argument(format!(
            "{first} and {second} overlap; a weight must be nobody else's memory"
        ))),
    }
}
