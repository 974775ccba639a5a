//! Rendered kernels.

use std::borrow::Cow;

/// The CUDA text of one kernel, as the attribute emits it and the runtime loads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSource {
    /// The kernel's identity: a slug for people and a digest of the text,
    /// as in `ns_t128_k5_muon_f32_sm80_w8-1f3a9c07`.
    pub id: Cow<'static, str>,
    /// Index of the specification in the layer's list.
    pub spec: usize,
    /// The lowest architecture that the text is for: 75, 80 or 90.
    pub architecture: u32,
    /// Self-contained CUDA C++.
    pub text: Cow<'static, str>,
}
