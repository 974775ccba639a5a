//! Why tuning, or reading and writing its tables, stopped.

use std::io;
use std::path::{Path, PathBuf};

/// Why tuning stopped, or a tuning table cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuningError {
    /// The platform has no cache folder for this user.
    #[error("no cache folder: the platform names none for this user; set HIMUON_CACHE_DIR to one")]
    NoFolder,
    /// Reading or writing failed. What was there before is untouched.
    #[error(
        "{path}: {source}; check that the folder exists, may be written and has room, or set HIMUON_CACHE_DIR"
    )]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The file is not a tuning table.
    #[error(
        "{path} is not a tuning table: {reason}; it is left alone, remove it or run \
         `himuon cache gc --damaged` to tune again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The table belongs to something else: another device, or another version of this library.
    #[error(
        "{path} is a table of {what} {found}, expected {expected}; it is left alone, move it away or set HIMUON_CACHE_DIR \
         to another folder to tune anew"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Which property differs.
        what: &'static str,
        /// What the file holds.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// HIMUON_CACHE_READONLY is set.
    #[error("{path} is not written: HIMUON_CACHE_READONLY is set; unset it to keep tuned choices")]
    ReadOnly {
        /// The file or folder.
        path: PathBuf,
    },
    /// No candidate of a specification passed verification.
    #[error("{spec}: no variant agrees with the f64 reference: {refusals}; please report this")]
    NoCandidate {
        /// The specification.
        spec: String,
        /// What each candidate did.
        refusals: String,
    },
    /// A candidate has taken the device with it.
    #[error(
        "{spec}: the device is lost to this process by variant {variant}: {reason}; that variant is excluded from now on, start \
         a new process to go on without it"
    )]
    Lost {
        /// The specification.
        spec: String,
        /// The candidate that ran last.
        variant: String,
        /// What the device said.
        reason: String,
    },
    /// Something that every candidate needs failed.
    #[error("{spec}: {reason}")]
    Measure {
        /// The specification.
        spec: String,
        /// What went wrong.
        reason: String,
    },
    /// A word that is none of the accepted ones.
    #[error("{what}: found `{found}`, accepted are {accepted}")]
    Word {
        /// What was read.
        what: &'static str,
        /// The word.
        found: String,
        /// What is accepted.
        accepted: &'static str,
    },
}

impl TuningError {
    /// The error of a file or folder.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> TuningError {
        let path = path.to_owned();
        move |source| TuningError::Io { path, source }
    }
}
