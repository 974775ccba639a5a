//! The optimizer on CUDA: the step of a whole model on the caller's stream, over the caller's device pointers.
//!
//! Nothing of CUDA is needed to build this. The driver is looked up when a device is asked for, and NVRTC when a
//! kernel is neither carried by the program ([`CudaBackend::kernels`]) nor in the cache; whatever is missing is an error
//! that says what was looked for, and what to do.
//!
//! ```no_run
//! use himuon::cuda::{self, CudaBackend, DeviceMut, DeviceRef};
//! use himuon::{HiMuon, ParameterStep, himuon};
//!
//! #[himuon(tile = 128, element = "bf16")]
//! struct Attention;
//!
//! let stream = cuda::open(0)?.default_stream();
//! let mut optimizer = HiMuon::builder()
//!     .parameter("blocks.0.attn.q.weight", &[768, 768])
//!     .group::<Attention>("blocks.*")
//!     .build_on(Box::new(CudaBackend::new(&stream)?))?;
//! let mut weight = stream.alloc_zeros::<half::bf16>(768 * 768)?;
//! let gradient = stream.alloc_zeros::<half::bf16>(768 * 768)?;
//! let report = optimizer.step(&mut [ParameterStep {
//!     weight: DeviceMut::of(&mut weight, &stream),
//!     gradient: Some(DeviceRef::of(&gradient, &stream)),
//! }])?;
//! assert_eq!(report.launches, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A step is one launch for each specification whose tiles fit on chip (three for powers above 0), a sequence for each of
//! larger tiles, and one launch for AdamW; a coarse part adds 16 to 23, row normalisation 3 to 5. All of them are asynchronous.
//! See `docs/cuda-runtime.md`.

mod address;
mod arguments;
mod backend;
mod capture;
mod chunk;
mod companion;
mod coupling;
mod current;
mod device;
mod driver;
mod error;
mod groups;
mod kernel;
mod map;
mod memory;
pub mod model;
mod module;
mod per_thread;
mod ranges;
mod recorded;
mod scratch;
mod table;
mod tensor;
mod tile_report;
mod tuning;

pub use address::check_address;
pub use backend::CudaBackend;
pub use capture::CapturedStep;
pub use cudarc::driver::{CudaContext, CudaSlice, CudaStream};
pub use current::CurrentContext;
pub use device::{DeviceInfo, devices, open};
pub use error::CudaError;
#[cfg(feature = "jit")]
pub use himuon_codegen::compile::look_below as look_for_compiler_below;
pub use map::CudaMap;
pub use memory::{Device, DeviceAllocator, DeviceBuffer};
pub use module::read_bundles;
pub use tensor::{DeviceMut, DeviceRef, Number};
pub use tuning::CudaTarget;
