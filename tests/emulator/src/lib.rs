//! A PTX emulator: executes the kernels that NVRTC and Triton emit, on a CPU, with the checks of compute-sanitizer.
//!
//! The stages are folders: [`ptx`] turns text into a decoded, typed [`Module`]; [`memory`] is the device's address
//! space; `exec` runs blocks, warps and lanes and checks every access; [`Counters`] say what a kernel did.
//! It is test equipment: nothing that users receive links it.
//!
//! # Example
//! ```
//! use himuon_emulator::{Device, DeviceConfig, ExecutionOptions, Launch, Module};
//!
//! let text = "
//! .version 8.0
//! .target sm_80
//! .address_size 64
//! .visible .entry twice(.param .u64 data)
//! {
//!     .reg .b64 %rd<4>;
//!     .reg .b32 %r<3>;
//!     ld.param.u64 %rd1, [data];
//!     mov.u32 %r1, %tid.x;
//!     mul.wide.u32 %rd2, %r1, 4;
//!     add.s64 %rd3, %rd1, %rd2;
//!     ld.global.u32 %r1, [%rd3];
//!     add.u32 %r2, %r1, %r1;
//!     st.global.u32 [%rd3], %r2;
//!     ret;
//! }";
//! let device = Device::new(DeviceConfig::sm_80());
//! let module = device.load(&Module::parse(text)?)?;
//! let data = device.memory.alloc(8)?;
//! device.memory.write(data, &[1, 0, 0, 0, 21, 0, 0, 0])?;
//! let counters = device.launch(&module, &Launch {
//!     kernel: "twice",
//!     grid: [1, 1, 1],
//!     block: [2, 1, 1],
//!     dynamic_shared_bytes: 0,
//!     params: &data.to_le_bytes(),
//!     options: ExecutionOptions::default(),
//! })?;
//! let mut result = [0u8; 8];
//! device.memory.read(data, &mut result)?;
//! assert_eq!(result, [2, 0, 0, 0, 42, 0, 0, 0]);
//! assert_eq!(counters.global.bytes_written, 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod counters;
mod device;
mod exec;
mod fault;
mod isa;
mod lanes;
pub mod memory;
mod options;
pub mod ptx;

pub use config::DeviceConfig;
pub use counters::{
    BarrierCounts, Counters, GlobalTraffic, InstructionKind, MmaShape, SharedTraffic,
};
pub use device::{Device, Launch, LoadedModule};
pub use fault::{Access, Fault, FaultKind, Resource, Site, Space};
pub use memory::{GlobalMemory, MemoryError};
pub use options::{ExecutionOptions, Order, Sums};
pub use ptx::{GlobalVariable, Kernel, Module, Param, PtxError};
