//! What becomes of a finished sum before it is stored.

use crate::cpu::layout::Panels;
use crate::cpu::simd::Simd;

/// Applied to each sum P of a product.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish {
    /// factor P.
    Scaled {
        /// 1 leaves P as it is.
        factor: f32,
    },
    /// linear B + factor P.
    Affine {
        /// B, of the output's size.
        base: Panels,
        linear: f32,
        factor: f32,
    },
    /// y Y + x X + P.
    Combine {
        /// Y, which may be the output.
        y: (Panels, f32),
        x: (Panels, f32),
    },
}

// SAFETY: views into scratch; each element of Y is read by the one task that writes it.
unsafe impl Send for Finish {}
// SAFETY: as above.
unsafe impl Sync for Finish {}

impl Finish {
    /// The numbers to store at (`row`, panel `panel`).
    ///
    /// # Safety
    /// The position lies inside the matrices of `self`.
    #[inline(always)]
    pub(super) unsafe fn apply<S: Simd>(
        self,
        simd: S,
        sum: S::Vector,
        panel: usize,
        row: usize,
    ) -> S::Vector {
        // SAFETY: the position exists by the caller's word.
        let at = |matrix: Panels| unsafe { simd.load(matrix.row(panel, row)) };
        match self {
            Finish::Scaled { factor } => simd.mul(simd.splat(factor), sum),
            Finish::Affine {
                base,
                linear,
                factor,
            } => {
                let sum = simd.mul(simd.splat(factor), sum);
                simd.fused(simd.splat(linear), at(base), sum)
            }
            Finish::Combine { y, x } => {
                let sum = simd.fused(simd.splat(x.1), at(x.0), sum);
                simd.fused(simd.splat(y.1), at(y.0), sum)
            }
        }
    }
}
