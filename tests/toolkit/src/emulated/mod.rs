//! The emulated CUDA driver for tests of any package: built on demand, loaded into this process or given to children.
//!
//! The driver is the package `himuon-emulator-driver`, a shared library with a name of its own. Two ways put it where
//! `dlopen("libcuda.so")` of cudarc finds it, and neither can touch a program that did not ask:
//!
//! - [`EmulatedDriver::load`] opens it by absolute path. Its soname is `libcuda.so`, so that a later `dlopen` of that
//!   name in the same process finds it loaded. Call this before anything of cudarc.
//! - [`isolated`] and [`EmulatedDriver::provide_to`] put a private folder, where the library is linked as `libcuda.so`
//!   and `libcuda.so.1`, on the loader's path of a child process. Tests that change the environment (devices, faults)
//!   or make a kernel fault need this: both last as long as the process.

mod build;
mod inspect;
mod isolate;

pub use build::EmulatedDriver;
pub use inspect::{DeviceMemory, Inspection, KernelCounters};
pub use isolate::{Isolated, isolated, isolated_on_gpu};
