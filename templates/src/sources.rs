//! The CUDA text that kernels are rendered from, and what rendering gives.

use crate::variant::Variant;
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

/// A kernel that was compiled ahead, as a build script ships it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompiledKernel {
    /// The kernel's identity.
    pub id: &'static str,
    /// What it computes, as text; empty for the companion, which serves every specification.
    pub specification: &'static str,
    /// What PTX and cubin were compiled for, as in `sm_86`.
    pub target: &'static str,
    /// Self-contained CUDA C++.
    pub text: &'static str,
    /// How it is launched: entries, parameters, tables. Empty for the companion.
    pub manifest: &'static str,
    /// PTX, unless there was no compiler.
    pub ptx: Option<&'static str>,
    /// Machine code of the target, unless there was no assembler.
    pub cubin: Option<&'static [u8]>,
}

/// A file under `cuda/`, as it stands in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Path below `cuda/`, with `/`.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        &[$(SourceFile { path: $path, text: include_str!(concat!("../cuda/", $path)) }),+]
    };
}

/// One template per kernel family, and those for the launches beside and around them.
pub const TEMPLATES: &[SourceFile] = files![
    "plain.cu.tera",
    "resident.cu.tera",
    "streamed.cu.tera",
    "companion.cu.tera",
    "coupling.cu.tera",
];

/// What templates include: plain CUDA that compiles by itself.
pub const LIBRARY: &[SourceFile] = files![
    "plain/element.cuh",
    "plain/tile.cuh",
    "plain/odd.cuh",
    "plain/powers.cuh",
    "plain/step.cuh",
    "lib/adamw.cuh",
    "lib/block.cuh",
    "lib/coupling_factors.cuh",
    "lib/coupling_patch.cuh",
    "lib/coupling_table.cuh",
    "lib/criterion.cuh",
    "lib/element.cuh",
    "lib/finite.cuh",
    "lib/fragment.cuh",
    "lib/gram.cuh",
    "lib/instruction.cuh",
    "lib/launch.cuh",
    "lib/master_quad.cuh",
    "lib/master_weight.cuh",
    "lib/matrix_norm.cuh",
    "lib/newton_schulz.cuh",
    "lib/number.cuh",
    "lib/operand.cuh",
    "lib/orthonormal.cuh",
    "lib/power_map.cuh",
    "lib/prologue.cuh",
    "lib/resident_coupled.cuh",
    "lib/resident_product.cuh",
    "lib/resident_step.cuh",
    "lib/resident_tile.cuh",
    "lib/resident_update.cuh",
    "lib/row_normalisation.cuh",
    "lib/shared_tile.cuh",
    "lib/skinny_product.cuh",
    "lib/small_polar.cuh",
    "lib/small_product.cuh",
    "lib/step_clock.cuh",
    "lib/streamed_map.cuh",
    "lib/streamed_patch.cuh",
    "lib/streamed_product.cuh",
    "lib/streamed_step.cuh",
    "lib/streamed_tile.cuh",
    "lib/tensor_table.cuh",
];

/// The template of the family of `variant`.
pub const fn template_path(variant: &Variant) -> &'static str {
    match variant {
        Variant::Plain(_) => "plain.cu.tera",
        Variant::Resident(_) => "resident.cu.tera",
        Variant::Streamed(_) => "streamed.cu.tera",
    }
}
