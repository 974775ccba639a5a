//! Borrowed tensors of the three storage types.

use half::{bf16, f16};
use himuon_templates::Element;

/// What is known of borrowed numbers, wherever they live.
pub trait TensorView: std::fmt::Debug {
    /// The type of the numbers.
    fn element(&self) -> Element;
    /// How many numbers; those between the rows of a strided matrix are not counted.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Numbers from one row to the next, for rows of `columns` numbers.
    fn leading(&self, columns: usize) -> usize {
        columns
    }
    /// Of a strided matrix the numbers in a row, and those from one row to the next; `None` where the numbers follow
    /// one another.
    fn strides(&self) -> Option<(usize, usize)> {
        None
    }
}

/// Numbers that are read.
#[derive(Clone, Copy, Debug)]
pub enum TensorRef<'a> {
    /// binary32.
    F32(&'a [f32]),
    /// bfloat16.
    Bf16(&'a [bf16]),
    /// binary16.
    F16(&'a [f16]),
}

/// Numbers that are read and written.
#[derive(Debug)]
pub enum TensorMut<'a> {
    /// binary32.
    F32(&'a mut [f32]),
    /// bfloat16.
    Bf16(&'a mut [bf16]),
    /// binary16.
    F16(&'a mut [f16]),
}

macro_rules! common {
    ($name:ident) => {
        impl $name<'_> {
            /// The type of the numbers.
            pub fn element(&self) -> Element {
                match self {
                    $name::F32(_) => Element::F32,
                    $name::Bf16(_) => Element::Bf16,
                    $name::F16(_) => Element::F16,
                }
            }

            /// How many numbers.
            pub fn len(&self) -> usize {
                match self {
                    $name::F32(values) => values.len(),
                    $name::Bf16(values) => values.len(),
                    $name::F16(values) => values.len(),
                }
            }

            /// Whether there is none.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }

        impl TensorView for $name<'_> {
            fn element(&self) -> Element {
                $name::element(self)
            }

            fn len(&self) -> usize {
                $name::len(self)
            }
        }
    };
}
common!(TensorRef);
common!(TensorMut);

impl<'a> TensorRef<'a> {
    /// The numbers as bytes, in the machine's order.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            TensorRef::F32(values) => bytemuck::cast_slice(values),
            TensorRef::Bf16(values) => bytemuck::cast_slice(values),
            TensorRef::F16(values) => bytemuck::cast_slice(values),
        }
    }

    /// Consecutive parts of `size` numbers each; a shorter rest is left out.
    pub fn pieces(self, size: usize) -> Vec<TensorRef<'a>> {
        let size = size.max(1);
        match self {
            TensorRef::F32(values) => values.chunks_exact(size).map(TensorRef::F32).collect(),
            TensorRef::Bf16(values) => values.chunks_exact(size).map(TensorRef::Bf16).collect(),
            TensorRef::F16(values) => values.chunks_exact(size).map(TensorRef::F16).collect(),
        }
    }
}

impl<'a> TensorMut<'a> {
    /// The same numbers for a shorter time.
    pub fn reborrow(&mut self) -> TensorMut<'_> {
        match self {
            TensorMut::F32(values) => TensorMut::F32(values),
            TensorMut::Bf16(values) => TensorMut::Bf16(values),
            TensorMut::F16(values) => TensorMut::F16(values),
        }
    }

    /// The same numbers, to be read.
    pub fn as_ref(&self) -> TensorRef<'_> {
        match self {
            TensorMut::F32(values) => TensorRef::F32(values),
            TensorMut::Bf16(values) => TensorRef::Bf16(values),
            TensorMut::F16(values) => TensorRef::F16(values),
        }
    }

    /// The numbers as bytes, in the machine's order.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            TensorMut::F32(values) => bytemuck::cast_slice_mut(values),
            TensorMut::Bf16(values) => bytemuck::cast_slice_mut(values),
            TensorMut::F16(values) => bytemuck::cast_slice_mut(values),
        }
    }

    /// Consecutive parts of `size` numbers each; a shorter rest is left out.
    pub fn pieces(self, size: usize) -> Vec<TensorMut<'a>> {
        let size = size.max(1);
        match self {
            TensorMut::F32(values) => values.chunks_exact_mut(size).map(TensorMut::F32).collect(),
            TensorMut::Bf16(values) => values.chunks_exact_mut(size).map(TensorMut::Bf16).collect(),
            TensorMut::F16(values) => values.chunks_exact_mut(size).map(TensorMut::F16).collect(),
        }
    }
}
