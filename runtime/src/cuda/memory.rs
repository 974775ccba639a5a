//! The optimizer's state on a device.

use std::borrow::Cow;
use std::sync::Arc;

use cudarc::driver::CudaStream;
use himuon_templates::Element;

use super::driver::{DeviceMemory, Rows, copy_on_device, copy_rows_on_device};
use super::tensor::{DeviceMut, DeviceRef, Extent};
use crate::backend::BackendError;
use crate::memory::Memory;

/// The memory of a CUDA device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device;

/// Numbers that the optimizer keeps on the device.
#[derive(Debug)]
pub struct DeviceBuffer {
    element: Element,
    len: usize,
    memory: Option<DeviceMemory>,
}

impl DeviceBuffer {
    fn extent(&self) -> Extent {
        let pointer = self.memory.as_ref().map_or(0, DeviceMemory::pointer);
        Extent::contiguous(pointer, self.element, self.len)
    }
}

/// The stream in whose order state is made, copied and updated.
#[derive(Clone, Debug)]
pub struct DeviceAllocator(pub(super) Arc<CudaStream>);

impl DeviceAllocator {
    pub(crate) fn stream(&self) -> Arc<CudaStream> {
        Arc::clone(&self.0)
    }
}

impl Memory for Device {
    type Ref<'a> = DeviceRef<'a>;
    type Mut<'a> = DeviceMut<'a>;
    type Moments<'a> = DeviceMut<'a>;
    type Remainders<'a> = DeviceMut<'a>;
    type Buffer = DeviceBuffer;
    type Allocator = DeviceAllocator;

    fn shorter<'a, 'b: 'a>(tensor: Self::Ref<'b>) -> Self::Ref<'a> {
        tensor
    }

    fn reborrow<'a>(tensor: &'a mut Self::Mut<'_>) -> Self::Mut<'a> {
        DeviceMut::new(tensor.extent())
    }

    fn read<'a>(tensor: &'a Self::Mut<'_>) -> Self::Ref<'a> {
        DeviceRef::new(tensor.extent())
    }

    fn matrices<'a>(tensor: Self::Ref<'a>, rows: usize, columns: usize) -> Vec<Self::Ref<'a>> {
        tensor.matrices(rows, columns)
    }

    fn matrices_mut<'a>(tensor: Self::Mut<'a>, rows: usize, columns: usize) -> Vec<Self::Mut<'a>> {
        tensor.matrices(rows, columns)
    }

    fn check(allocator: &DeviceAllocator, tensor: &DeviceRef<'_>) -> Result<(), &'static str> {
        tensor.extent().check(&allocator.0)
    }

    fn empty(element: Element) -> DeviceBuffer {
        DeviceBuffer {
            element,
            len: 0,
            memory: None,
        }
    }

    fn whole(buffer: &DeviceBuffer) -> DeviceRef<'_> {
        DeviceRef::new(buffer.extent())
    }

    fn whole_mut(buffer: &mut DeviceBuffer) -> DeviceMut<'_> {
        DeviceMut::new(buffer.extent())
    }

    fn moments(buffer: &mut DeviceBuffer, size: usize) -> Vec<DeviceMut<'_>> {
        match buffer.element {
            Element::F32 => Device::whole_mut(buffer).matrices(1, size),
            Element::Bf16 | Element::F16 => Vec::new(),
        }
    }

    fn remainders(buffer: &mut DeviceBuffer, size: usize) -> Vec<DeviceMut<'_>> {
        match buffer.element {
            Element::Bf16 => Device::whole_mut(buffer).matrices(1, size),
            Element::F32 | Element::F16 => Vec::new(),
        }
    }

    fn allocate(
        allocator: &DeviceAllocator,
        buffer: &mut DeviceBuffer,
        len: usize,
        purpose: &str,
    ) -> Result<(), BackendError> {
        if buffer.len != len {
            let bytes = len * buffer.element.bytes();
            buffer.memory = Some(DeviceMemory::zeroed(&allocator.0, bytes, purpose)?);
            buffer.len = len;
        }
        Ok(())
    }

    fn save(
        allocator: &DeviceAllocator,
        from: DeviceRef<'_>,
        to: &mut DeviceBuffer,
        purpose: &str,
    ) -> Result<(), BackendError> {
        let extent = from.extent();
        if to.element != extent.element {
            *to = Device::empty(extent.element);
        }
        Device::allocate(allocator, to, extent.len(), purpose)?;
        let target = extent.packed_at(to.extent().pointer);
        copy(&allocator.0, extent, target)
    }

    fn restore(
        allocator: &DeviceAllocator,
        from: &DeviceBuffer,
        to: DeviceMut<'_>,
    ) -> Result<(), BackendError> {
        let target = to.extent();
        let source = target.packed_at(from.extent().pointer);
        copy(&allocator.0, source, target)
    }

    fn bytes<'a>(
        _allocator: &DeviceAllocator,
        buffer: &'a DeviceBuffer,
    ) -> Result<Cow<'a, [u8]>, BackendError> {
        let mut bytes = vec![0; buffer.len * buffer.element.bytes()];
        if let Some(memory) = &buffer.memory {
            memory.read(0, &mut bytes)?;
        }
        Ok(Cow::Owned(bytes))
    }

    fn filled<E: From<BackendError>>(
        allocator: &DeviceAllocator,
        element: Element,
        len: usize,
        purpose: &str,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<DeviceBuffer, E> {
        let mut bytes = vec![0; len * element.bytes()];
        write(&mut bytes)?;
        let mut buffer = Device::empty(element);
        Device::allocate(allocator, &mut buffer, len, purpose)?;
        if let Some(memory) = &buffer.memory {
            memory.write(0, &bytes).map_err(BackendError::from)?;
        }
        Ok(buffer)
    }
}

/// Copies rows; the numbers between the rows of a strided tensor are nobody's and stay.
fn copy(stream: &CudaStream, from: Extent, to: Extent) -> Result<(), BackendError> {
    let size = from.element.bytes();
    if from.is_contiguous() && to.is_contiguous() {
        copy_on_device(stream, from.pointer, to.pointer, from.len() * size)?;
        return Ok(());
    }
    let rows = |extent: Extent| Rows {
        pointer: extent.pointer,
        pitch: extent.leading * size,
    };
    let width = from.columns * size;
    copy_rows_on_device(stream, rows(from), rows(to), width, from.rows)?;
    Ok(())
}
