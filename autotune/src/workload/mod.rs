//! What is to be tuned: specifications and the matrices that they meet.

mod declared;
mod models;
mod room;
mod shapes;

pub use declared::{DeclaredSpecs, declared_specs};
pub use models::{MODELS, model};
pub use room::check_room;
pub use shapes::{Matrices, elements, optimizer_of, read_shapes};

use std::path::PathBuf;

/// Why specifications or shapes cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// A file or folder cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A source file that declares layers does not read.
    #[error("{path}: {source}")]
    Source {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        source: himuon_codegen::ScanError,
    },
    /// No `#[himuon(...)]` below a folder.
    #[error(
        "{path}: found no #[himuon(...)] in {files} Rust files; name the folder of a crate that declares layers"
    )]
    NothingDeclared {
        /// The folder.
        path: PathBuf,
        /// Files that were read.
        files: usize,
    },
    /// A model's name that is no file either.
    #[error(
        "shapes {found}: neither a file nor a known model; accepted are {known}, a .json or a .safetensors file"
    )]
    UnknownModel {
        /// What was asked for.
        found: String,
        /// The known ones.
        known: String,
    },
    /// A shapes file is no list of matrices.
    #[error(
        "{path}: {reason}; expected [{{\"rows\": R, \"columns\": C, \"count\": N}}, ...] or {{\"name\": [R, C], ...}}"
    )]
    Shapes {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A safetensors file without a matrix for the optimizer.
    #[error("{path}: no parameter of it is a matrix that the tiled optimizer takes")]
    NoMatrices {
        /// The file.
        path: PathBuf,
    },
    /// A safetensors file without a parameter.
    #[error(
        "{path}: none of its tensors can be a parameter, which is f32, bf16 or f16 and not empty; name a file of weights"
    )]
    NoParameters {
        /// The file.
        path: PathBuf,
    },
    /// A safetensors file cannot be read.
    #[error(transparent)]
    Tensors(#[from] crate::apply::ApplyError),
    /// The optimizer refuses the parameters of a file.
    #[error(transparent)]
    Optimizer(#[from] himuon::Error),
}
