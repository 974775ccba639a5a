//! How the ranks of a job see that rank 0 tunes: it holds the lock of a file beside the device's table while it does.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The word of rank 0 that it tunes; it ends with the value, or with the process.
#[derive(Debug)]
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Takes the turn beside a table's file; waits where the rank 0 of another job has it.
    pub(super) fn take(table: &Path) -> io::Result<Turn> {
        let file = open(table)?;
        match file.try_lock() {
            Ok(()) => {}
            // Who only asks has the lock for a moment.
            Err(TryLockError::WouldBlock) if !Self::is_taken(table)? => {
                himuon_templates::files::lock(&file)?;
            }
            Err(TryLockError::WouldBlock) => {
                let table = table.display();
                tracing::info!("another job tunes for {table}, and is waited for");
                himuon_templates::files::lock(&file)?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Turn { _lock: file })
    }

    /// Whether somebody has it.
    pub(super) fn is_taken(table: &Path) -> io::Result<bool> {
        match open(table)?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn open(table: &Path) -> io::Result<File> {
    let path: PathBuf = table.with_extension("tuning");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::Turn;

    #[test]
    fn a_turn_is_seen_as_long_as_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("tuning").join("device.json");
        assert!(!Turn::is_taken(&table).unwrap());
        let turn = Turn::take(&table).unwrap();
        assert!(Turn::is_taken(&table).unwrap());
        drop(turn);
        assert!(!Turn::is_taken(&table).unwrap());
        assert!(!table.exists());
    }
}
