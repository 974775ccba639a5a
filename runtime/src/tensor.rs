//! Borrowed tensors of the three storage types.

use half::{bf16, f16};
use himuon_templates::Element;

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
    };
}
common!(TensorRef);
common!(TensorMut);
