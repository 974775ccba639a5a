//! Borrowed tensors in device memory: the caller's own pointers, nothing is copied.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DevicePtrMut, SyncOnDrop};
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

/// What a slice of cudarc's was borrowed from, and for what: handles of contexts and of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Borrowed {
    slice_context: usize,
    context: usize,
    stream: usize,
}

impl Borrowed {
    fn of<T>(slice: &CudaSlice<T>, stream: &CudaStream) -> Self {
        Borrowed {
            slice_context: slice.context().cu_ctx() as usize,
            context: stream.context().cu_ctx() as usize,
            stream: stream.cu_stream() as usize,
        }
    }

    /// Refuses memory of another device, whose use would fault, and another stream, in whose order nothing is submitted.
    fn check(self, stream: &CudaStream) -> Result<(), &'static str> {
        let context = stream.context().cu_ctx() as usize;
        if self.slice_context != context {
            return Err("is a slice of another device");
        }
        match (self.context, self.stream) == (context, stream.cu_stream() as usize) {
            true => Ok(()),
            false => Err("was borrowed for another stream"),
        }
    }
}

/// Where numbers lie: `rows` rows of `columns`, `leading` numbers from one row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) pointer: u64,
    pub(super) element: Element,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) leading: usize,
    /// `None`: the caller answers for the address, or it is the optimizer's own.
    borrowed: Option<Borrowed>,
}

impl Extent {
    pub(super) fn contiguous(pointer: u64, element: Element, len: usize) -> Self {
        Extent {
            pointer,
            element,
            rows: 1,
            columns: len,
            leading: len,
            borrowed: None,
        }
    }

    /// The same rows one after the other in the optimizer's own memory.
    pub(super) fn packed_at(self, pointer: u64) -> Self {
        Extent {
            pointer,
            leading: self.columns,
            borrowed: None,
            ..self
        }
    }

    /// Refuses a slice of cudarc's that kernels on this stream cannot use.
    pub(super) fn check(self, stream: &CudaStream) -> Result<(), &'static str> {
        self.borrowed.map_or(Ok(()), |origin| origin.check(stream))
    }

    /// Some of contiguous numbers.
    fn part(self, range: Range<usize>) -> Self {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let bytes = (start * self.element.bytes()) as u64;
        Extent {
            borrowed: self.borrowed,
            ..Extent::contiguous(self.pointer + bytes, self.element, end - start)
        }
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
    ($name:ident, $verb:literal) => {
        impl $name<'_> {
            /// `len` contiguous numbers at a device address, aligned to the numbers' size.
            ///
            /// # Safety
            #[doc = concat!("The numbers must be ", $verb, " on the optimizer's device in the order of its stream, for")]
            /// as long as the tensor is borrowed and until the stream has passed the step.
            pub unsafe fn from_raw(pointer: u64, element: Element, len: usize) -> Self {
                $name::new(Extent::contiguous(pointer, element, len))
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
                $name::new(Extent { pointer, element, rows, columns, leading, borrowed: None })
            }

            /// The device address of the first number.
            pub fn address(&self) -> u64 {
                self.extent.pointer
            }

            pub(super) fn new(extent: Extent) -> Self {
                $name { extent, _guard: None, borrowed: PhantomData }
            }

            pub(super) fn extent(&self) -> Extent {
                self.extent
            }

            pub(super) fn matrices(self, rows: usize, columns: usize) -> Vec<Self> {
                self.extent.matrices(rows, columns).map(Self::new).collect()
            }
        }

        impl TensorView for $name<'_> {
            fn element(&self) -> Element {
                self.extent.element
            }

            fn len(&self) -> usize {
                self.extent.len()
            }

            fn leading(&self, columns: usize) -> usize {
                self.extent.leading_for(columns)
            }

            fn strides(&self) -> Option<(usize, usize)> {
                let strided = !self.extent.is_contiguous();
                strided.then_some((self.extent.columns, self.extent.leading))
            }
        }
    };
}

/// Numbers on a device that are read.
///
/// Of a slice of cudarc's it keeps cudarc's guard: when the last copy is dropped, the slice's event is recorded on the
/// optimizer's stream. So drop it after what reads it is submitted.
#[derive(Clone, Debug)]
pub struct DeviceRef<'a> {
    extent: Extent,
    _guard: Option<Arc<SyncOnDrop<'a>>>,
    borrowed: PhantomData<&'a ()>,
}

/// Numbers on a device that are read and written.
///
/// Of a slice of cudarc's it keeps cudarc's guard, as [`DeviceRef`] does.
#[derive(Debug)]
pub struct DeviceMut<'a> {
    extent: Extent,
    _guard: Option<SyncOnDrop<'a>>,
    borrowed: PhantomData<&'a mut ()>,
}

tensor!(DeviceRef, "readable");
tensor!(DeviceMut, "readable and writable, and nobody else's,");

impl<'a> DeviceRef<'a> {
    /// The numbers of a slice of cudarc's, to be read by what is submitted to the optimizer's `stream`: the stream waits
    /// for earlier writes of other streams, and later ones wait for it, as far as cudarc tracks them. While a stream is
    /// captured it must not (`CudaContext::disable_event_tracking`). A step refuses a slice of another device, and one that was
    /// borrowed for another stream than the optimizer's.
    pub fn of<T: Number>(slice: &'a CudaSlice<T>, stream: &'a CudaStream) -> Self {
        let (pointer, guard) = slice.device_ptr(stream);
        DeviceRef {
            extent: Extent {
                borrowed: Some(Borrowed::of(slice, stream)),
                ..Extent::contiguous(pointer, T::ELEMENT, slice.len())
            },
            _guard: Some(Arc::new(guard)),
            borrowed: PhantomData,
        }
    }

    /// Some of the numbers of a slice of cudarc's; a range that ends beyond it is cut.
    pub fn part_of<T: Number>(
        slice: &'a CudaSlice<T>,
        range: Range<usize>,
        stream: &'a CudaStream,
    ) -> Self {
        let mut part = DeviceRef::of(slice, stream);
        part.extent = part.extent.part(range);
        part
    }
}

impl<'a> DeviceMut<'a> {
    /// The numbers of a slice of cudarc's, to be read and written by what is submitted to the optimizer's `stream`; as
    /// [`DeviceRef::of`].
    pub fn of<T: Number>(slice: &'a mut CudaSlice<T>, stream: &'a CudaStream) -> Self {
        let (borrowed, len) = (Borrowed::of(slice, stream), slice.len());
        let (pointer, guard) = slice.device_ptr_mut(stream);
        DeviceMut {
            extent: Extent {
                borrowed: Some(borrowed),
                ..Extent::contiguous(pointer, T::ELEMENT, len)
            },
            _guard: Some(guard),
            borrowed: PhantomData,
        }
    }

    /// Some of the numbers of a slice of cudarc's; a range that ends beyond it is cut.
    pub fn part_of<T: Number>(
        slice: &'a mut CudaSlice<T>,
        range: Range<usize>,
        stream: &'a CudaStream,
    ) -> Self {
        let mut part = DeviceMut::of(slice, stream);
        part.extent = part.extent.part(range);
        part
    }
}
