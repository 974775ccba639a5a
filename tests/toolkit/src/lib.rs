//! The CUDA compiler for tests, on a machine with or without a GPU (test equipment).
//!
//! [`Toolkit::locate_or_install`] finds NVRTC, `ptxas` and `nvdisasm` where people have them, and
//! otherwise installs the pinned PyPI wheels below the target folder, once, with a message.
//! Neither a driver nor a GPU is needed to compile and assemble:
//!
//! ```no_run
//! use himuon_toolkit::Toolkit;
//!
//! let toolkit = Toolkit::locate_or_install()?;
//! let source = "extern \"C\" __global__ void fill(float *out) { out[threadIdx.x] = 1.0f; }";
//! let ptx = toolkit.compile_ptx(source, "sm_80", &[])?;
//! let assembled = toolkit.assemble(&ptx, "sm_80")?;
//! assert!(assembled.entry("fill").is_some_and(|entry| entry.registers < 32));
//! # Ok::<(), himuon_toolkit::ToolkitError>(())
//! ```
//!
//! # Where the tools come from
//!
//! 1. `HIMUON_NVRTC_PATH`, `HIMUON_PTXAS_PATH`, `HIMUON_NVDISASM_PATH`: each names one file and
//!    overrides what is found elsewhere. A variable that names a missing file is an error.
//! 2. The first root that holds all three, with NVRTC 12.8 or later (the first one that knows
//!    `sm_120`): `CUDA_HOME`, `CUDA_PATH`, `/usr/local/cuda`, then the site-packages of `python3`
//!    (`nvidia/cu13`, `nvidia/cu12` and the older one-folder-per-package layout).
//! 3. The private folder `cuda-toolkit-VERSION` below the target folder. If it is not there, `pip`
//!    (or `uv`) fills it with the wheels named in [`PINNED_WHEELS`].
//!
//! `HIMUON_TOOLKIT_OFFLINE=1` forbids the installation.
//!
//! [`python_packages`] does the same for what tests in Python import.
//!
//! [`emulated`] is the other half: the emulated CUDA driver, for tests that launch kernels.

mod assemble;
#[cfg(unix)]
pub mod emulated;
mod error;
mod install;
mod locate;
mod nvrtc;
mod python;
mod target_folder;

pub use assemble::{Assembled, EntryResources};
pub use error::ToolkitError;
pub use install::{MEASURED_NVRTC, PINNED_WHEELS};
pub use locate::Toolkit;
pub use python::python_packages;
pub use target_folder::target_folder;
