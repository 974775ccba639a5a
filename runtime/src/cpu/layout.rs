//! How a tile lies in scratch memory.
//!
//! A tile is **oriented** first, so that it has at least as many rows as columns: `rows` is M, `columns` N,
//! and its Gram matrix X^T X is N x N, the smaller of the two. Columns are cut into panels of sixteen,
//! and a panel holds its rows one after the other, sixteen numbers each:
//! element (i, j) is number `(j / 16) * stride + i * 16 + j % 16`. Every product then reads whole vectors
//! along rows and single numbers that lie close together, whatever the size; nothing is packed.
//! Columns are padded with zeros to a multiple of sixteen. Panels have room for a multiple of sixteen
//! rows, so that blocks of 16 x 16 can be transposed in place.

use super::simd::LANES;

/// Numbers in one block of 16 x 16.
pub(crate) const BLOCK: usize = LANES * LANES;

/// Keeps buffers of a power of two off each other's 4 KiB aliases: a load whose address matches an
/// earlier store's in the low twelve bits waits for that store.
pub(crate) const BUFFER_PADDING: usize = 336;

/// The size of an oriented tile: constants for the stock grid, numbers for any other.
pub(crate) trait Shape: Copy + Send + Sync {
    /// M, the length of the sums in the Gram matrix.
    fn rows(self) -> usize;
    /// N, at most M.
    fn columns(self) -> usize;
    /// Panels of sixteen columns.
    #[inline(always)]
    fn panels(self) -> usize {
        self.columns().div_ceil(LANES)
    }
    /// Numbers from one panel of an M x N matrix to the next.
    #[inline(always)]
    fn tall_stride(self) -> usize {
        self.rows().next_multiple_of(LANES) * LANES
    }
    /// Numbers from one panel of an N x N matrix to the next.
    #[inline(always)]
    fn gram_stride(self) -> usize {
        self.columns().next_multiple_of(LANES) * LANES
    }
    /// Numbers of an M x N buffer.
    #[inline(always)]
    fn tall_length(self) -> usize {
        self.panels() * self.tall_stride() + BUFFER_PADDING
    }
    /// Numbers of an N x N buffer.
    #[inline(always)]
    fn gram_length(self) -> usize {
        self.panels() * self.gram_stride() + BUFFER_PADDING
    }
}

/// A T x T tile of the stock grid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Square<const T: usize>;

impl<const T: usize> Shape for Square<T> {
    #[inline(always)]
    fn rows(self) -> usize {
        T
    }
    #[inline(always)]
    fn columns(self) -> usize {
        T
    }
}

/// Any tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnyShape {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Shape for AnyShape {
    #[inline(always)]
    fn rows(self) -> usize {
        self.rows
    }
    #[inline(always)]
    fn columns(self) -> usize {
        self.columns
    }
}

/// A matrix in panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels {
    /// Element (0, 0), on a 64-byte boundary.
    pub(crate) start: *mut f32,
    /// Numbers from one panel to the next.
    pub(crate) stride: usize,
}

// SAFETY: only an address; whoever uses it says why no other thread interferes.
unsafe impl Send for Panels {}
// SAFETY: as above.
unsafe impl Sync for Panels {}

impl Panels {
    /// Row `row` of panel `panel`: sixteen numbers.
    ///
    /// # Safety
    /// The row exists.
    #[inline(always)]
    pub(crate) unsafe fn row(self, panel: usize, row: usize) -> *mut f32 {
        // SAFETY: inside the buffer by the caller's word.
        unsafe { self.start.add(panel * self.stride + row * LANES) }
    }
}
