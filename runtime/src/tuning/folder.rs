//! Where tuning tables lie, and reading and writing them there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::environment;
use super::error::TuningError;
use super::fingerprint::DeviceFingerprint;
use super::table::TuningTable;

/// Name of the file whose lock a writer holds. The lock belongs to the process and ends with it; the empty file stays.
const LOCK: &str = ".lock";

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

/// The folder of the tables inside a cache folder, locked for writing as long as the value lives.
#[derive(Debug)]
pub struct LockedFolder {
    tables: PathBuf,
    _lock: File,
}

impl LockedFolder {
    /// Makes the folder if need be and waits for its lock.
    ///
    /// # Errors
    /// It cannot be made or written, or HIMUON_CACHE_READONLY is set.
    pub fn lock(folder: &Path) -> Result<Self, TuningError> {
        if environment::read_only() {
            return Err(TuningError::ReadOnly {
                path: folder.to_owned(),
            });
        }
        let tables = folder.join("tuning");
        fs::create_dir_all(&tables).map_err(TuningError::io(&tables))?;
        let path = tables.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(TuningError::io(&path))?;
        himuon_templates::files::lock(&lock).map_err(TuningError::io(&path))?;
        Ok(LockedFolder {
            tables,
            _lock: lock,
        })
    }

    /// Removes what writers that were killed have left: with the lock held, no other writer is at work.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn sweep(&self) -> Result<Vec<PathBuf>, TuningError> {
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.tables).map_err(TuningError::io(&self.tables))? {
            let path = entry.map_err(TuningError::io(&self.tables))?.path();
            if path.extension().is_some_and(|e| e == "partial") {
                fs::remove_file(&path).map_err(TuningError::io(&path))?;
                removed.push(path);
            }
        }
        Ok(removed)
    }

    /// Writes a table in place of the device's file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written; the old file is untouched.
    pub fn replace(&self, path: &Path, table: &TuningTable) -> Result<(), TuningError> {
        let text = table.to_json()?;
        himuon_templates::files::write(path, |file| file.write_all(text.as_bytes()))
            .map_err(TuningError::io(path))
    }
}

impl TuningTable {
    /// The file of a device's table inside a cache folder.
    pub fn path_in(folder: &Path, device: &DeviceFingerprint) -> PathBuf {
        folder
            .join("tuning")
            .join(format!("{}.json", device.slug()))
    }

    /// The file of this table inside a cache folder; an emulated device's own.
    pub fn path(&self, folder: &Path) -> PathBuf {
        let path = Self::path_in(folder, &self.device);
        if self.emulated {
            path.with_extension("emulated.json")
        } else {
            path
        }
    }

    /// Reads a table's file; `None` when there is none.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is of another schema.
    pub fn read(path: &Path) -> Result<Option<Self>, TuningError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::from_json(&text, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(TuningError::Damaged {
                path: path.to_owned(),
                reason: error.to_string(),
            }),
            Err(error) => Err(TuningError::io(path)(error)),
        }
    }

    /// Reads a device's table; `None` when there is none yet.
    ///
    /// # Errors
    /// As [`TuningTable::read`], and a file of another device.
    pub fn load(folder: &Path, device: &DeviceFingerprint) -> Result<Option<Self>, TuningError> {
        TuningTable::new(device.clone()).stored(folder)
    }

    /// What the file of this table's device holds.
    pub(super) fn stored(&self, folder: &Path) -> Result<Option<Self>, TuningError> {
        let path = self.path(folder);
        let Some(table) = Self::read(&path)? else {
            return Ok(None);
        };
        if table.device != self.device {
            return Err(TuningError::Foreign {
                path,
                what: "device",
                found: table.device.slug(),
                expected: self.device.slug(),
            });
        }
        if table.emulated != self.emulated {
            let clock = |emulated: bool| if emulated { "emulated" } else { "real" };
            return Err(TuningError::Foreign {
                path,
                what: "clock",
                found: clock(table.emulated).to_owned(),
                expected: clock(self.emulated).to_owned(),
            });
        }
        Ok(Some(table))
    }

    /// The device's table in the cache folder, or an empty one: a missing table silently, a damaged or
    /// foreign one with a warning, which `explain` repeats. Tuning is an optimisation; no failure to read it stops a run.
    ///
    /// With HIMUON_DETERMINISTIC the table is empty, so that every process uses the default variants.
    pub fn load_or_empty(device: DeviceFingerprint) -> Self {
        if environment::deterministic() {
            return TuningTable {
                why_empty: Some("HIMUON_DETERMINISTIC is set"),
                ..TuningTable::new(device)
            };
        }
        let loaded = cache_folder().and_then(|folder| Self::load(&folder, &device));
        match loaded {
            Ok(Some(table)) => {
                for warning in &table.warnings {
                    tracing::warn!("{warning}");
                }
                table
            }
            Ok(None) => TuningTable::new(device),
            Err(error) => {
                tracing::warn!("{error}; default variants are used");
                TuningTable {
                    unreadable: Some(error.to_string()),
                    ..TuningTable::new(device)
                }
            }
        }
    }

    /// Adds this table's entries to the device's file, atomically and under a lock that ends with the process.
    ///
    /// Other entries stay, those that do not read among them. What is known of the same launch is united: the later
    /// tuning's winner counts, an excluded candidate stays excluded, the longer list of samples of one source on the
    /// same threads and shapes stays unless it was measured again on request, times of another number of threads go. A
    /// damaged or foreign file is never overwritten.
    ///
    /// # Errors
    /// The folder cannot be written, HIMUON_CACHE_READONLY is set, or the existing file is not such a table.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, TuningError> {
        let locked = LockedFolder::lock(folder)?;
        locked.sweep()?;
        let mut merged = self.stored(folder)?.unwrap_or_else(|| TuningTable {
            emulated: self.emulated,
            ..TuningTable::new(self.device.clone())
        });
        merged.merge(self.clone());
        let path = self.path(folder);
        locked.replace(&path, &merged)?;
        Ok(path)
    }

    /// Whether [`TuningTable::save`] has a chance, found out before time is spent on measuring.
    ///
    /// # Errors
    /// As there.
    pub fn check_savable(&self, folder: &Path) -> Result<(), TuningError> {
        let locked = LockedFolder::lock(folder)?;
        self.stored(folder)?;
        tempfile::Builder::new()
            .prefix(".himuon-")
            .suffix(".partial")
            .tempfile_in(&locked.tables)
            .map(drop)
            .map_err(TuningError::io(&locked.tables))
    }
}
