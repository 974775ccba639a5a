//! A folder for the files of an outside tool.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs `work` with an empty folder of its own, which is removed afterwards.
pub(super) fn within<T>(purpose: &str, work: impl FnOnce(&Path) -> T) -> std::io::Result<T> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("himuon-{purpose}-{}-{call}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = work(&folder);
    // What is left in the temporary folder is no reason to lose the result.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(result)
}
