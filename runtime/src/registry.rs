//! What a layer's config hands to the runtime.

use himuon_templates::{KernelSource, KernelSpec};

/// Implemented by `#[himuon(...)]` on a layer's config struct.
pub trait LayerConfig {
    /// Every specification that a tile schedule may use, in the declared order; the first is the default.
    const SPECS: &'static [KernelSpec];
    /// The CUDA text of each specification, one per architecture class.
    const SOURCES: &'static [KernelSource];
}

/// The kernels that the crate's build script compiled ahead by `himuon_codegen::build::kernels`:
/// a `&'static [himuon::templates::CompiledKernel]`.
#[macro_export]
macro_rules! bundles {
    () => {{
        use $crate::templates::CompiledKernel;
        const BUNDLES: &[CompiledKernel] = include!(concat!(env!("OUT_DIR"), "/himuon_bundles.rs"));
        BUNDLES
    }};
}
