//! Hierarchical Muon: the optimizer step of every layer as independent tiles.

pub mod cpu;
pub mod launch;
pub mod reference;
pub mod registry;
pub mod tensor;

pub use himuon_macros::himuon;
pub use himuon_templates as templates;
pub use himuon_templates::{KernelSource, KernelSpec, Tile};
pub use registry::LayerConfig;
