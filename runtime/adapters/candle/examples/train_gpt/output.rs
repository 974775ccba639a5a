//! Files that the program writes.

use anyhow::{Context, Result};
use himuon::templates::files;
use std::io::Write;
use std::path::Path;

/// Writes a file, whole or not at all: what an earlier call has left under the name stays until then.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    files::write(path, |file| file.write_all(contents.as_ref()))
        .with_context(|| format!("{} cannot be written", path.display()))
}
