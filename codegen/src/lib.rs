//! Attribute grammar, rendering and compiling of HiMuon kernels.
//!
//! * [`expand`]: `#[himuon(...)]` on a struct to an implementation of `LayerConfig`.
//! * [`render`]: specification x variant x architecture to CUDA text, the same bytes on every run.

mod attr;
mod expand;
pub mod render;

pub use expand::expand;
pub use render::{RenderError, render, sources};
