//! Where tuning tables lie, and reading and writing them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::table::{DeviceFingerprint, SCHEMA, TuningTable};

/// Why a tuning table cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuningError {
    /// The platform has no cache folder for this user.
    #[error("no cache folder: the platform names none for this user; set HIMUON_CACHE_DIR to one")]
    NoFolder,
    /// Reading or writing failed.
    #[error(
        "{path}: {source}; check that the folder exists and may be written, or set HIMUON_CACHE_DIR"
    )]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The file is not a tuning table.
    #[error("{path} is not a tuning table: {reason}; it is left alone, remove it to tune again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The table belongs to something else.
    #[error("{path} is a table of {what} {found}, expected {expected}; tune on this device")]
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
        /// The file.
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
    /// A kernel failed while it was timed.
    #[error("{spec}: {reason}")]
    Measure {
        /// The specification.
        spec: String,
        /// What went wrong.
        reason: String,
    },
}

impl TuningError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> TuningError {
        let path = path.to_owned();
        move |source| TuningError::Io { path, source }
    }
}

/// `$HIMUON_CACHE_DIR`, else the platform's cache folder for himuon.
///
/// # Errors
/// Neither is known.
pub fn cache_folder() -> Result<PathBuf, TuningError> {
    match std::env::var_os("HIMUON_CACHE_DIR") {
        Some(folder) if !folder.is_empty() => Ok(PathBuf::from(folder)),
        _ => directories::ProjectDirs::from("", "", "himuon")
            .map(|folders| folders.cache_dir().to_owned())
            .ok_or(TuningError::NoFolder),
    }
}

impl TuningTable {
    /// The file of a device's table inside a cache folder.
    pub fn path_in(folder: &Path, device: &DeviceFingerprint) -> PathBuf {
        folder
            .join("tuning")
            .join(format!("{}.json", device.slug()))
    }

    /// Reads a device's table; `None` when there is none yet.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or belongs to another device or schema.
    pub fn load(folder: &Path, device: &DeviceFingerprint) -> Result<Option<Self>, TuningError> {
        let path = Self::path_in(folder, device);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let reason = error.to_string();
                return Err(TuningError::Damaged { path, reason });
            }
            Err(error) => return Err(TuningError::io(&path)(error)),
        };
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| TuningError::Damaged {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        let schema = value.get("schema").and_then(serde_json::Value::as_u64);
        if schema != Some(u64::from(SCHEMA)) {
            let found = schema.map_or_else(|| "none".to_owned(), |schema| schema.to_string());
            return Err(TuningError::Foreign {
                path,
                what: "schema",
                found,
                expected: SCHEMA.to_string(),
            });
        }
        let table: TuningTable =
            serde_json::from_value(value).map_err(|error| TuningError::Damaged {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        if table.device != *device {
            return Err(TuningError::Foreign {
                path,
                what: "device",
                found: table.device.slug(),
                expected: device.slug(),
            });
        }
        Ok(Some(table))
    }

    /// The device's table in the cache folder, or an empty one: a missing table silently, a damaged or
    /// foreign one with a warning. Tuning is an optimisation; no failure to read it stops a run.
    pub fn load_or_empty(device: DeviceFingerprint) -> Self {
        let loaded = cache_folder().and_then(|folder| Self::load(&folder, &device));
        match loaded {
            Ok(Some(table)) => table,
            Ok(None) => TuningTable::new(device),
            Err(error) => {
                tracing::warn!("{error}; default variants are used");
                TuningTable::new(device)
            }
        }
    }

    /// Adds this table's entries to the device's file, atomically and under a lock that ends with the process.
    ///
    /// Entries of other specifications stay. A damaged or foreign file is never overwritten.
    ///
    /// # Errors
    /// The folder cannot be written, HIMUON_CACHE_READONLY is set, or the existing file is not such a table.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, TuningError> {
        let path = Self::path_in(folder, &self.device);
        if std::env::var_os("HIMUON_CACHE_READONLY")
            .is_some_and(|value| !value.is_empty() && value != "0")
        {
            return Err(TuningError::ReadOnly { path });
        }
        let parent = folder.join("tuning");
        fs::create_dir_all(&parent).map_err(TuningError::io(&parent))?;
        let lock_path = parent.join("lock");
        let lock = File::create(&lock_path).map_err(TuningError::io(&lock_path))?;
        lock.lock().map_err(TuningError::io(&lock_path))?;
        let mut merged = Self::load(folder, &self.device)?
            .unwrap_or_else(|| TuningTable::new(self.device.clone()));
        merged.entries.extend(self.entries.clone());
        let mut text =
            serde_json::to_string_pretty(&merged).map_err(|error| TuningError::Damaged {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        text.push('\n');
        crate::atomic_file::write(&path, |file| file.write_all(text.as_bytes()))
            .map_err(TuningError::io(&path))?;
        Ok(path)
    }
}

impl DeviceFingerprint {
    /// A name for people and files.
    pub fn slug(&self) -> String {
        let words = [self.kind.as_str(), &self.name, &self.architecture];
        let mut slug: String = words
            .join("-")
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        while slug.contains("--") {
            slug = slug.replace("--", "-");
        }
        let digest = xxhash_rust::xxh3::xxh3_64(self.features.join(",").as_bytes()) as u32;
        format!("{}-{digest:08x}", slug.trim_matches('-'))
    }
}
