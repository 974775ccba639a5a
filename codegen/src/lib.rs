//! Attribute grammar, rendering and compiling of HiMuon kernels.
//!
//! * `expand`: `#[himuon(...)]` on a struct to an implementation of `LayerConfig`.
//! * `render`: specification x variant x architecture to CUDA text, the same bytes on every run.
//! * [`declared_layers`]: the specifications that a source file declares.
//! * `compile`, `bundle`, `pipeline` (feature `compile`): text to PTX and cubin, and to a folder that any loader
//!   can use. `build` does so for a user's build script.

mod attr;
#[cfg(feature = "compile")]
pub mod build;
#[cfg(feature = "compile")]
pub mod bundle;
#[cfg(feature = "compile")]
pub mod compile;
mod expand;
#[cfg(feature = "compile")]
pub mod pipeline;
pub mod render;
mod scan;

pub use expand::expand;
pub use render::{RenderError, header, render, sources};
pub use scan::{DeclaredLayer, ScanError, declared_layers};
