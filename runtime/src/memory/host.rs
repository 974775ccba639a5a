//! The memory of this process.

use std::borrow::Cow;

use half::{bf16, f16};
use himuon_templates::Element;

use super::Memory;
use crate::backend::BackendError;
use crate::tensor::{TensorMut, TensorRef};

/// Slices and vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host;

/// Numbers of one of the three storage types.
#[derive(Clone, Debug)]
pub enum HostBuffer {
    /// binary32.
    F32(Vec<f32>),
    /// bfloat16.
    Bf16(Vec<bf16>),
    /// binary16.
    F16(Vec<f16>),
}

impl HostBuffer {
    fn bytes(&self) -> &[u8] {
        match self {
            HostBuffer::F32(values) => bytemuck::cast_slice(values),
            HostBuffer::Bf16(values) => bytemuck::cast_slice(values),
            HostBuffer::F16(values) => bytemuck::cast_slice(values),
        }
    }
}

impl Memory for Host {
    type Ref<'a> = TensorRef<'a>;
    type Mut<'a> = TensorMut<'a>;
    type Moments<'a> = &'a mut [f32];
    type Remainders<'a> = &'a mut [i16];
    type Buffer = HostBuffer;
    type Allocator = ();

    fn shorter<'a, 'b: 'a>(tensor: Self::Ref<'b>) -> Self::Ref<'a> {
        tensor
    }

    fn reborrow<'a>(tensor: &'a mut Self::Mut<'_>) -> Self::Mut<'a> {
        tensor.reborrow()
    }

    fn read<'a>(tensor: &'a Self::Mut<'_>) -> Self::Ref<'a> {
        tensor.as_ref()
    }

    fn matrices<'a>(tensor: Self::Ref<'a>, rows: usize, columns: usize) -> Vec<Self::Ref<'a>> {
        tensor.pieces(rows * columns)
    }

    fn matrices_mut<'a>(tensor: Self::Mut<'a>, rows: usize, columns: usize) -> Vec<Self::Mut<'a>> {
        tensor.pieces(rows * columns)
    }

    fn empty(element: Element) -> HostBuffer {
        match element {
            Element::F32 => HostBuffer::F32(Vec::new()),
            Element::Bf16 => HostBuffer::Bf16(Vec::new()),
            Element::F16 => HostBuffer::F16(Vec::new()),
        }
    }

    fn whole(buffer: &HostBuffer) -> TensorRef<'_> {
        match buffer {
            HostBuffer::F32(values) => TensorRef::F32(values),
            HostBuffer::Bf16(values) => TensorRef::Bf16(values),
            HostBuffer::F16(values) => TensorRef::F16(values),
        }
    }

    fn whole_mut(buffer: &mut HostBuffer) -> TensorMut<'_> {
        match buffer {
            HostBuffer::F32(values) => TensorMut::F32(values),
            HostBuffer::Bf16(values) => TensorMut::Bf16(values),
            HostBuffer::F16(values) => TensorMut::F16(values),
        }
    }

    fn moments(buffer: &mut HostBuffer, size: usize) -> Vec<&mut [f32]> {
        match buffer {
            HostBuffer::F32(values) => values.chunks_exact_mut(size.max(1)).collect(),
            HostBuffer::Bf16(_) | HostBuffer::F16(_) => Vec::new(),
        }
    }

    fn remainders(buffer: &mut HostBuffer, size: usize) -> Vec<&mut [i16]> {
        match buffer {
            HostBuffer::Bf16(values) => bytemuck::cast_slice_mut(values)
                .chunks_exact_mut(size.max(1))
                .collect(),
            HostBuffer::F32(_) | HostBuffer::F16(_) => Vec::new(),
        }
    }

    fn allocate(
        _allocator: &(),
        buffer: &mut HostBuffer,
        len: usize,
        purpose: &str,
    ) -> Result<(), BackendError> {
        match buffer {
            HostBuffer::F32(values) => zeros(values, len, purpose),
            HostBuffer::Bf16(values) => zeros(values, len, purpose),
            HostBuffer::F16(values) => zeros(values, len, purpose),
        }
    }

    fn save(
        allocator: &(),
        from: TensorRef<'_>,
        to: &mut HostBuffer,
        purpose: &str,
    ) -> Result<(), BackendError> {
        let fits =
            Host::whole(to).element() == from.element() && Host::whole(to).len() <= from.len();
        if !fits {
            *to = Host::empty(from.element());
        }
        Host::allocate(allocator, to, from.len(), purpose)?;
        Host::whole_mut(to)
            .bytes_mut()
            .copy_from_slice(from.bytes());
        Ok(())
    }

    fn restore(_: &(), from: &HostBuffer, mut to: TensorMut<'_>) -> Result<(), BackendError> {
        to.bytes_mut().copy_from_slice(from.bytes());
        Ok(())
    }

    fn bytes<'a>(_: &(), buffer: &'a HostBuffer) -> Result<Cow<'a, [u8]>, BackendError> {
        Ok(Cow::Borrowed(buffer.bytes()))
    }

    fn filled<E: From<BackendError>>(
        allocator: &(),
        element: Element,
        len: usize,
        purpose: &str,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<HostBuffer, E> {
        let mut buffer = Host::empty(element);
        Host::allocate(allocator, &mut buffer, len, purpose)?;
        write(Host::whole_mut(&mut buffer).bytes_mut())?;
        Ok(buffer)
    }
}

/// Grows a vector to `len` zeros, or says how many bytes were not to be had.
pub(crate) fn zeros<T: Clone + Default>(
    values: &mut Vec<T>,
    len: usize,
    purpose: &str,
) -> Result<(), BackendError> {
    let missing = len.saturating_sub(values.len());
    values
        .try_reserve_exact(missing)
        .map_err(|_| BackendError::OutOfMemory {
            purpose: purpose.to_owned(),
            bytes: (missing * size_of::<T>()) as u64,
        })?;
    values.resize(len, T::default());
    Ok(())
}
