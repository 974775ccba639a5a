//! What the program writes: files, and lines on the standard output.

use anyhow::{Context, Result};
use himuon::templates::files;
use std::io::Write;
use std::path::Path;

/// A line on the standard output. One that is closed (`train_gpt | head`) is no reason to stop a run, as it is to
/// `println!`: the files are written all the same.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::line(format_args!($($text)*))
    };
}
pub(crate) use say;

/// See [`say`].
pub(crate) fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes a file, whole or not at all: what an earlier call has left under the name stays until then.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    files::write(path, |file| file.write_all(contents.as_ref()))
        .with_context(|| format!("{} cannot be written", path.display()))
}
