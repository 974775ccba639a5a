//! Loops over lanes on the processor's vector unit.

use pulp::{Scalar, WithSimd};

/// Runs `op` compiled for AVX2 and FMA where the processor has them, and for the baseline otherwise.
///
/// Results do not depend on which, as long as `op` leaves the fusing of products to [`mul_add`](f64::mul_add) or to
/// places where the product is exact.
#[inline(always)]
pub(crate) fn vectorised<Op: WithSimd>(op: Op) -> Op::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        return pulp::Simd::vectorize(simd, op);
    }
    op.with_simd(Scalar)
}
