//! State files: safetensors with a digest, whole or absent.

mod file;
mod record;
mod seal;

use std::path::PathBuf;

pub(crate) use file::{Content, Entry, StateFile, dtype_of};
pub use seal::seal;

pub(crate) use record::{GroupRecord, KernelRecord, Metadata, ParameterRecord, ScheduleRecord};

/// The version of the file's layout.
pub const SCHEMA: u32 = 1;

/// Why a state is not written or not accepted. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Reading or writing failed.
    #[error("{path}: {source}; check that the file exists and the folder may be written")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The file is no safetensors file, or its header is damaged.
    #[error("{path} is not a state file: {reason}; give a file that save_state wrote")]
    NotState {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file has another length than its header says.
    #[error("{path} is damaged: {found} bytes, its header says {expected}; restore it from a copy")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes of the file.
        found: u64,
        /// Bytes by its header.
        expected: u64,
    },
    /// The content does not match its digest.
    #[error(
        "{path} is damaged: its digest is {found}, recorded is {expected}; restore it from a copy"
    )]
    Digest {
        /// The file.
        path: PathBuf,
        /// Digest of the content.
        found: String,
        /// Digest in the metadata.
        expected: String,
    },
    /// Written by another version.
    #[error(
        "{path} has state schema {found}, this version reads {SCHEMA}; use the version that wrote it"
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: String,
    },
    /// The state of other parameters.
    #[error(
        "{path} does not fit this optimizer: {reason}; declare the parameters and groups that it was saved with"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The first difference.
        reason: String,
    },
    /// The state could not be described.
    #[error("the state cannot be described: {reason}")]
    Describe {
        /// What went wrong.
        reason: String,
    },
}
