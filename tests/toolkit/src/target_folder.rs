//! The folder that cargo builds into: the place for everything that tests install or build.

use std::env;
use std::path::{Path, PathBuf};

/// The target folder of the running build.
///
/// An absolute `CARGO_TARGET_DIR` wins; then the nearest folder above the running executable that
/// cargo has marked with `CACHEDIR.TAG`; then `target` in the workspace.
pub fn target_folder() -> PathBuf {
    if let Some(folder) = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from)
        && folder.is_absolute()
    {
        return folder;
    }
    let marked = env::current_exe().ok().and_then(|executable| {
        executable
            .ancestors()
            .find(|folder| folder.join("CACHEDIR.TAG").is_file())
            .map(Path::to_path_buf)
    });
    marked.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"))
}
