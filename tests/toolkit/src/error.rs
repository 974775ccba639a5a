//! What can go wrong between a CUDA source and a checked cubin.

use std::path::PathBuf;

/// An error of the test toolkit; its text says what was looked for and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolkitError {
    /// An environment variable names a file that does not exist.
    #[error("{variable} is set to `{}`, which is not a file; correct or unset it", path.display())]
    OverrideMissing {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },

    /// The tools were found nowhere and could not be installed.
    #[error(
        "NVRTC, ptxas and nvdisasm were not found and could not be installed.\n\
         looked at:\n{looked_at}\n\
         installation: {reason}\n\
         do one of these:\n  \
         - python3 -m pip install --no-deps {wheels}\n  \
         - install the CUDA toolkit 12.8 or later and set CUDA_HOME\n  \
         - set HIMUON_NVRTC_PATH, HIMUON_PTXAS_PATH and HIMUON_NVDISASM_PATH to the three files"
    )]
    NotFound {
        /// One line per place, with what was missing there.
        looked_at: String,
        /// Why the installation did not happen.
        reason: String,
        /// The wheels that would serve.
        wheels: String,
    },

    /// A file or folder of the toolkit could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },

    /// The shared library is there but cannot be loaded.
    #[error("cannot load `{}`", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// The loader's answer.
        source: libloading::Error,
    },

    /// NVRTC refused the source.
    #[error("NVRTC refused the source for {arch} ({status}):\n{log}")]
    Compile {
        /// The architecture asked for.
        arch: String,
        /// NVRTC's status by number and call.
        status: String,
        /// NVRTC's log.
        log: String,
    },

    /// A string handed to NVRTC holds a NUL byte.
    #[error("{what} holds a NUL byte at position {position}; remove it")]
    NulByte {
        /// Which string.
        what: &'static str,
        /// Byte offset.
        position: usize,
    },

    /// `ptxas` or `nvdisasm` refused its input.
    #[error("`{tool}` failed ({status}):\n{output}")]
    Tool {
        /// The command.
        tool: String,
        /// Its exit status.
        status: String,
        /// What it printed.
        output: String,
    },

    /// The emulated driver could not be built.
    #[error("the emulated driver cannot be built:\n{output}")]
    DriverBuild {
        /// What cargo printed.
        output: String,
    },

    /// `libcuda.so` of this process is not the emulated driver.
    #[error(
        "`libcuda.so` of this process is not the emulated driver ({reason}); load the emulated one before anything \
         that opens a driver, or run the test in a child process"
    )]
    ForeignDriver {
        /// What was found.
        reason: String,
    },

    /// A test in a process of its own failed.
    #[error("the test `{test}` failed in a process of its own ({status}):\n{output}")]
    Isolated {
        /// Full name of the test.
        test: String,
        /// Exit status.
        status: String,
        /// Both outputs.
        output: String,
    },

    /// The resource lines of `ptxas -v` do not read as expected.
    #[error("ptxas printed a resource line that this reader does not know: `{line}`")]
    ResourceLine {
        /// The line.
        line: String,
    },
}

impl ToolkitError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
