//! What becomes of a finished sum before it is stored.

use crate::cpu::layout::Panels;
use crate::cpu::simd::Simd;

/// Applied to each sum P of a product.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish {
    /// factor P.
    Scaled(Scaled),
    /// linear B + factor P.
    Affine(Affine),
    /// y Y + x X + P.
    Combine(Combine),
}

/// factor P.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scaled {
    /// 1 leaves P as it is, and takes no time.
    pub(crate) factor: f32,
}

/// linear B + factor P.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine {
    /// B, of the output's size.
    pub(crate) base: Panels,
    pub(crate) linear: f32,
    pub(crate) factor: f32,
}

/// y Y + x X + P.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Combine {
    /// Y, which may be the output.
    pub(crate) y: (Panels, f32),
    pub(crate) x: (Panels, f32),
}

impl Scaled {
    /// The numbers to store at (`row`, panel `panel`).
    ///
    /// # Safety
    /// The position lies inside the matrices of `self`; so for the other kinds.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(
        self,
        simd: S,
        sum: S::Vector,
        _panel: usize,
        _row: usize,
    ) -> S::Vector {
        simd.mul(simd.splat(self.factor), sum)
    }
}

/// linear B + P: what [`Affine`] is where its factor is 1, which needs no multiplication.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unscaled(pub(super) Affine);

impl Unscaled {
    /// # Safety
    /// As [`Scaled::apply`].
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(
        self,
        simd: S,
        sum: S::Vector,
        panel: usize,
        row: usize,
    ) -> S::Vector {
        // SAFETY: the caller's word.
        let base = unsafe { simd.load(self.0.base.row(panel, row)) };
        simd.fused(simd.splat(self.0.linear), base, sum)
    }
}

impl Affine {
    /// # Safety
    /// As [`Scaled::apply`].
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(
        self,
        simd: S,
        sum: S::Vector,
        panel: usize,
        row: usize,
    ) -> S::Vector {
        let sum = simd.mul(simd.splat(self.factor), sum);
        // SAFETY: the caller's word.
        unsafe { Unscaled(self).apply(simd, sum, panel, row) }
    }
}

impl Combine {
    /// # Safety
    /// As [`Scaled::apply`].
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(
        self,
        simd: S,
        sum: S::Vector,
        panel: usize,
        row: usize,
    ) -> S::Vector {
        // SAFETY: the caller's word.
        let (y, x) = unsafe {
            let y = simd.load(self.y.0.row(panel, row));
            (y, simd.load(self.x.0.row(panel, row)))
        };
        let sum = simd.fused(simd.splat(self.x.1), x, sum);
        simd.fused(simd.splat(self.y.1), y, sum)
    }
}
