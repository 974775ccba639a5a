//! CUDA text to PTX by NVRTC, PTX to a cubin with its resources by `ptxas`, and its instructions by `nvdisasm`, where
//! those two are found.
//!
//! All are looked up at run time; nothing of CUDA is needed to build this crate.

mod locate;
mod nvrtc;
mod ptxas;
mod sass;
mod scratch;

pub use locate::{Compiler, look_below};
pub use sass::Instructions;

use himuon_templates::Variant;
use std::path::PathBuf;

/// Options of NVRTC besides the architecture.
pub const OPTIONS: [&str; 1] = ["--std=c++17"];

/// Which kernels of a text are compiled. Texts of resident and plain tiles hold those of a step and that of the map alone; who
/// launches one need not wait for the other. Of other texts everything is compiled, whatever is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// All.
    All,
    /// Those that make a step.
    Step,
    /// The map alone.
    Map,
}

impl Part {
    /// What `purpose`, `step` or `map`, launches of the kernels of `variant`.
    pub fn of(variant: &Variant, purpose: &str) -> Part {
        match (variant, purpose) {
            // Step and map are made of the same kernels.
            (Variant::Streamed(_), _) => Part::All,
            (_, "map") => Part::Map,
            _ => Part::Step,
        }
    }

    /// What tells NVRTC: the name that the text asks for.
    const fn option(self) -> Option<&'static str> {
        match self {
            Part::All => None,
            Part::Step => Some("--define-macro=HIMUON_STEP_ALONE"),
            Part::Map => Some("--define-macro=HIMUON_MAP_ALONE"),
        }
    }
}

/// Why a kernel was not compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// No NVRTC, by any of the ways.
    #[error(
        "no CUDA compiler: found no libnvrtc in {looked_at}; name it by HIMUON_NVRTC_PATH, set CUDA_HOME, or \
         `pip install nvidia-cuda-nvrtc`"
    )]
    NotFound {
        /// Where it was looked for.
        looked_at: String,
    },
    /// The library exists and cannot be used.
    #[error("{}: {source}; it must be the NVRTC library of a CUDA toolkit from 12.0 on, no newer than the driver", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader says.
        source: libloading::Error,
    },
    /// NVRTC refuses the text, which is a fault of this crate if the text is its own.
    #[error("NVRTC refuses the kernel for {architecture}, {status}:\n{log}")]
    Refused {
        /// The architecture, as in `sm_80`.
        architecture: String,
        /// The failed call and its status.
        status: String,
        /// NVRTC's messages.
        log: String,
    },
    /// `ptxas` cannot be run, or refuses the PTX.
    #[error("{}: {message}", tool.display())]
    Tool {
        /// The program.
        tool: PathBuf,
        /// What it says.
        message: String,
    },
}

/// What `ptxas` says of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Resources {
    /// The entry's name.
    pub entry: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of stack of a thread.
    pub stack_bytes: u32,
    /// Bytes a thread stores because registers ran out.
    pub spill_store_bytes: u32,
    /// Bytes it loads back.
    pub spill_load_bytes: u32,
    /// Static shared memory of a block, in bytes.
    pub static_shared_bytes: u32,
    /// Hardware barriers of a block.
    pub barriers: u32,
    /// Instructions of the machine code; `None` without `nvdisasm`.
    pub instructions: Option<Instructions>,
}

/// A compiled kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// PTX, which any driver of NVRTC's age or newer takes.
    pub ptx: String,
    /// The machine code of exactly one architecture, and its resources; `None` without `ptxas`.
    pub cubin: Option<(Vec<u8>, Vec<Resources>)>,
}
