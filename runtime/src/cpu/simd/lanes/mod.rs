//! Registers whose lanes are tiles.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// Edge of the blocks that interleaved matrices are cut into.
pub(crate) const EDGE: usize = 4;

/// The operations of one instruction set on one number of each of [`Lanes::TILES`] tiles.
pub(crate) trait Lanes: Copy + Send + Sync {
    /// A number of each tile, in one register.
    type Numbers: Copy;

    /// Lanes of a register.
    const TILES: usize;

    /// Whether only one half of a symmetric matrix is kept: with longer registers the whole of it would leave too little
    /// of the first level of cache to the others, and cost more stores than it saves in branches.
    const HALF: bool;

    /// `value` for every tile.
    fn same(self, value: f32) -> Self::Numbers;
    fn add(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;
    fn mul(self, a: Self::Numbers, b: Self::Numbers) -> Self::Numbers;
    /// a b + c, rounded once.
    fn fused(self, a: Self::Numbers, b: Self::Numbers, c: Self::Numbers) -> Self::Numbers;

    /// # Safety
    /// `source`, on a boundary of [`Lanes::TILES`] numbers, is readable for so many.
    unsafe fn load(self, source: *const f32) -> Self::Numbers;
    /// # Safety
    /// `target`, on a boundary of [`Lanes::TILES`] numbers, is writable for so many.
    unsafe fn store(self, target: *mut f32, a: Self::Numbers);
    /// Writes number e of each of four neighbouring numbers of every tile to lane t of register e; those of tile t
    /// begin at `source + t * apart`.
    /// # Safety
    /// Four numbers of each tile are readable, on a boundary of 16 bytes, and `target`, on a boundary of
    /// [`Lanes::TILES`] numbers, is writable for four times so many.
    unsafe fn interleave(self, source: *const f32, apart: usize, target: *mut f32);
    /// The way back of [`Lanes::interleave`].
    /// # Safety
    /// As there, with `source` and `target` in each other's place.
    unsafe fn separate(self, source: *const f32, target: *mut f32, apart: usize);
}
