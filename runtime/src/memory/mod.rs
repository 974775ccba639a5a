//! Where tensors and the optimizer's state live: the optimizer itself is written once for all places.
//!
//! [`Host`] is the memory of this process; the CUDA runtime has another. Everything that the optimizer does with
//! a tensor beside launching goes through [`Memory`].

mod host;

use std::borrow::Cow;
use std::fmt;

use himuon_templates::Element;

pub(crate) use host::zeros;
pub use host::{Host, HostBuffer};

use crate::backend::BackendError;
use crate::tensor::TensorView;

/// A place for tensors: how they are borrowed, and how the optimizer keeps its own.
pub trait Memory: fmt::Debug + Sized + 'static {
    /// Borrowed numbers that are read.
    type Ref<'a>: TensorView + Clone;
    /// Borrowed numbers that are read and written.
    type Mut<'a>: TensorView;
    /// Borrowed f32 numbers of the state: moments of AdamW, row moments.
    type Moments<'a>: fmt::Debug;
    /// Borrowed 16-bit integers of the state: what master weights have more than the weights.
    type Remainders<'a>: fmt::Debug;
    /// Numbers that the optimizer keeps between steps.
    type Buffer: fmt::Debug + Send;
    /// Gives memory to buffers.
    type Allocator: Clone;

    /// The same numbers for a shorter time.
    fn shorter<'a, 'b: 'a>(tensor: Self::Ref<'b>) -> Self::Ref<'a>;
    /// The same numbers for a shorter time.
    fn reborrow<'a>(tensor: &'a mut Self::Mut<'_>) -> Self::Mut<'a>;
    /// The same numbers, to be read.
    fn read<'a>(tensor: &'a Self::Mut<'_>) -> Self::Ref<'a>;
    /// Consecutive `rows` x `columns` matrices.
    fn matrices<'a>(tensor: Self::Ref<'a>, rows: usize, columns: usize) -> Vec<Self::Ref<'a>>;
    /// Consecutive `rows` x `columns` matrices.
    fn matrices_mut<'a>(tensor: Self::Mut<'a>, rows: usize, columns: usize) -> Vec<Self::Mut<'a>>;

    /// Refuses a tensor that what is submitted to the allocator's device cannot use, and says why.
    ///
    /// # Errors
    /// The tensor is another device's, or was borrowed for something else.
    fn check(allocator: &Self::Allocator, tensor: &Self::Ref<'_>) -> Result<(), &'static str> {
        let _ = (allocator, tensor);
        Ok(())
    }

    /// A buffer without memory.
    fn empty(element: Element) -> Self::Buffer;
    /// The numbers of a buffer.
    fn whole(buffer: &Self::Buffer) -> Self::Ref<'_>;
    /// The numbers of a buffer.
    fn whole_mut(buffer: &mut Self::Buffer) -> Self::Mut<'_>;
    /// Consecutive parts of an f32 buffer, `size` numbers each.
    fn moments(buffer: &mut Self::Buffer, size: usize) -> Vec<Self::Moments<'_>>;
    /// Consecutive parts of a bf16 buffer, `size` numbers each, as the signed integers that have the same bits.
    fn remainders(buffer: &mut Self::Buffer, size: usize) -> Vec<Self::Remainders<'_>>;

    /// Grows a buffer to `len` zeros; one that has them already is left as it is.
    ///
    /// # Errors
    /// Not enough memory; the buffer is as it was.
    fn allocate(
        allocator: &Self::Allocator,
        buffer: &mut Self::Buffer,
        len: usize,
        purpose: &str,
    ) -> Result<(), BackendError>;
    /// Makes `to` a copy of `from`, in its own memory where that suffices.
    ///
    /// # Errors
    /// Not enough memory, or the device fails.
    fn save(
        allocator: &Self::Allocator,
        from: Self::Ref<'_>,
        to: &mut Self::Buffer,
        purpose: &str,
    ) -> Result<(), BackendError>;
    /// Writes the numbers of `from` over `to`, which has as many.
    ///
    /// # Errors
    /// The device fails.
    fn restore(
        allocator: &Self::Allocator,
        from: &Self::Buffer,
        to: Self::Mut<'_>,
    ) -> Result<(), BackendError>;
    /// The bytes of a buffer, low byte first.
    ///
    /// # Errors
    /// The device fails.
    fn bytes<'a>(
        allocator: &Self::Allocator,
        buffer: &'a Self::Buffer,
    ) -> Result<Cow<'a, [u8]>, BackendError>;
    /// A buffer of `len` numbers whose bytes `write` fills in.
    ///
    /// # Errors
    /// Not enough memory, the device fails, or what `write` returns.
    fn filled<E: From<BackendError>>(
        allocator: &Self::Allocator,
        element: Element,
        len: usize,
        purpose: &str,
        write: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self::Buffer, E>;
}
