//! The generated CUDA kernels under judgement, on the emulated driver or a GPU.
//!
//! Nothing here knows how a kernel is launched but from the bundle that the code generator writes: [`bundle`] reads
//! `manifest.json`, [`record`] lays out table entries by the offsets stated there, [`device`] is the driver's side
//! (cudarc), [`kernels`] compiles and loads, [`backend`] puts the matrices of a launch into tables (`step`: those of the host, there and back), and
//! [`figures`] counts what a tile costs.

pub mod backend;
pub mod bundle;
pub mod device;
pub mod figures;
pub mod kernels;
pub mod range;
pub mod record;
mod session;
mod step;
mod tables;

pub use backend::CudaBackend;
pub use bundle::Bundle;
pub use device::Device;
