//! Borrowed tensors in device memory: the caller's own pointers, nothing is copied.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use cudarc::driver::{CudaSlice, DevicePtr, DevicePtrMut};
use half::{bf16, f16};
use himuon_templates::Element;

use crate::tensor::TensorView;

/// A type of numbers that tensors hold.
pub trait Number {
    /// Its name in specifications.
    const ELEMENT: Element;
}

impl Number for f32 {
    const ELEMENT: Element = Element::F32;
}

impl Number for bf16 {
    const ELEMENT: Element = Element::Bf16;
}

impl Number for f16 {
    const ELEMENT: Element = Element::F16;
}

/// Where numbers lie: `rows` rows of `columns`, `leading` numbers from one row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) pointer: u64,
    pub(super) element: Element,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) leading: usize,
}

impl Extent {
    pub(super) fn contiguous(pointer: u64, element: Element, len: usize) -> Self {
        Extent {
            pointer,
            element,
            rows: 1,
            columns: len,
            leading: len,
        }
    }

    /// Some of contiguous numbers.
    fn part(self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let bytes = (start * self.element.bytes()) as u64;
        Extent::contiguous(self.pointer + bytes, self.element, end - start)
    }

    pub(super) fn len(&self) -> usize {
        self.rows * self.columns
    }

    pub(super) fn is_contiguous(&self) -> bool {
        self.rows <= 1 || self.leading == self.columns
    }

    fn leading_for(&self, columns: usize) -> usize {
        if self.is_contiguous() {
            columns
        } else {
            self.leading
        }
    }

    /// Consecutive matrices; rows of a strided tensor are rows of the matrices.
    fn matrices(self, rows: usize, columns: usize) -> impl Iterator<Item = Extent> {
        let leading = self.leading_for(columns);
        let count = self.len() / (rows * columns).max(1);
        let bytes = (rows * leading * self.element.bytes()) as u64;
        (0..count).map(move |index| Extent {
            pointer: self.pointer + index as u64 * bytes,
            rows,
            columns,
            leading,
            ..self
        })
    }
}

macro_rules! tensor {
    ($name:ident, $borrow:ty, $verb:literal) => {
        impl $name<'_> {
            /// `len` contiguous numbers at a device address, aligned to the numbers' size.
            ///
            /// # Safety
            #[doc = concat!("The numbers must be ", $verb, " on the optimizer's device in the order of its stream, for")]
            /// as long as the tensor is borrowed and until the stream has passed the step.
            pub unsafe fn from_raw(pointer: u64, element: Element, len: usize) -> Self {
                $name(Extent::contiguous(pointer, element, len), PhantomData)
            }

            /// A `rows` x `columns` matrix whose rows start `leading` numbers apart. A step refuses it where `leading` is
            /// below `columns`, or `columns` are not those of the matrices that the parameter is cut into.
            ///
            /// # Safety
            /// As [`from_raw`](Self::from_raw), for every row.
            pub unsafe fn strided(
                pointer: u64,
                element: Element,
                rows: usize,
                columns: usize,
                leading: usize,
            ) -> Self {
                $name(Extent { pointer, element, rows, columns, leading }, PhantomData)
            }

            /// The device address of the first number.
            pub fn address(&self) -> u64 {
                self.0.pointer
            }

            pub(super) fn extent(&self) -> Extent {
                self.0
            }
        }

        impl TensorView for $name<'_> {
            fn element(&self) -> Element {
                self.0.element
            }

            fn len(&self) -> usize {
                self.0.len()
            }

            fn leading(&self, columns: usize) -> usize {
                self.0.leading_for(columns)
            }

            fn strides(&self) -> Option<(usize, usize)> {
                let strided = !self.0.is_contiguous();
                strided.then_some((self.0.columns, self.0.leading))
            }
        }
    };
}

/// Numbers on a device that are read.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRef<'a>(Extent, PhantomData<&'a ()>);

/// Numbers on a device that are read and written.
#[derive(Debug)]
pub struct DeviceMut<'a>(Extent, PhantomData<&'a mut ()>);

tensor!(DeviceRef, &'a (), "readable");
tensor!(
    DeviceMut,
    &'a mut (),
    "readable and writable, and nobody else's,"
);

impl<'a> DeviceRef<'a> {
    /// The numbers of a slice of cudarc's. Its stream must be the optimizer's, or wait for it.
    pub fn of<T: Number>(slice: &'a CudaSlice<T>) -> Self {
        let (pointer, _recorded) = slice.device_ptr(slice.stream());
        DeviceRef(
            Extent::contiguous(pointer, T::ELEMENT, slice.len()),
            PhantomData,
        )
    }

    /// Some of the numbers of a slice of cudarc's; a range that ends beyond it is cut.
    pub fn part_of<T: Number>(slice: &'a CudaSlice<T>, range: Range<usize>) -> Self {
        DeviceRef(DeviceRef::of(slice).0.part(range), PhantomData)
    }

    pub(super) fn new(extent: Extent) -> Self {
        DeviceRef(extent, PhantomData)
    }

    pub(super) fn matrices(self, rows: usize, columns: usize) -> Vec<Self> {
        self.0.matrices(rows, columns).map(Self::new).collect()
    }
}

impl<'a> DeviceMut<'a> {
    /// The numbers of a slice of cudarc's. Its stream must be the optimizer's, or wait for it.
    pub fn of<T: Number>(slice: &'a mut CudaSlice<T>) -> Self {
        let len = slice.len();
        let stream = std::sync::Arc::clone(slice.stream());
        let (pointer, _recorded) = slice.device_ptr_mut(&stream);
        DeviceMut(Extent::contiguous(pointer, T::ELEMENT, len), PhantomData)
    }

    /// Some of the numbers of a slice of cudarc's; a range that ends beyond it is cut.
    pub fn part_of<T: Number>(slice: &'a mut CudaSlice<T>, range: Range<usize>) -> Self {
        DeviceMut(DeviceMut::of(slice).0.part(range), PhantomData)
    }

    pub(super) fn new(extent: Extent) -> Self {
        DeviceMut(extent, PhantomData)
    }

    pub(super) fn matrices(self, rows: usize, columns: usize) -> Vec<Self> {
        self.0.matrices(rows, columns).map(Self::new).collect()
    }
}
