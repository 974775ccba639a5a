//! Files that the command writes: never over what it reads, whole or not at all.

use super::error::CommandError;
use himuon::templates::files;
use std::io::Write;
use std::path::Path;

/// Refuses an output that is the input, by whatever path, before any work is done.
pub(super) fn refuse_input(input: &Path, output: &Path) -> Result<(), CommandError> {
    match files::same(input, output) {
        false => Ok(()),
        true => Err(CommandError::Request(format!(
            "{} is both input and output: give another output file",
            output.display()
        ))),
    }
}

/// Writes a file, whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    files::write(path, |file| file.write_all(text.as_bytes()))
        .map_err(|source| CommandError::file(path, source))
}

/// A path in a JSON object, which holds Unicode alone: other bytes are replaced.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
