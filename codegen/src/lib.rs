//! Attribute grammar, rendering and compiling of HiMuon kernels.
//!
//! * [`render`]: specification x variant x architecture -> CUDA text, the same bytes on every run.

pub mod render;

pub use render::{RenderError, render, sources};
