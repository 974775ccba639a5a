//! Puts library files in place of `#include "..."` lines, each once, so that a kernel's text needs no other file.

use super::RenderError;
use himuon_templates::sources::LIBRARY;
use std::collections::BTreeSet;

/// `text` with every quoted include replaced by the file it names. Paths in a template are below `cuda/`,
/// those in a library file are relative to its folder.
pub(super) fn resolved(text: &str) -> Result<String, RenderError> {
    let mut out = String::with_capacity(4 * text.len());
    append(text, "", &mut BTreeSet::new(), &mut out)?;
    Ok(out)
}

fn append(
    text: &str,
    folder: &str,
    seen: &mut BTreeSet<&'static str>,
    out: &mut String,
) -> Result<(), RenderError> {
    for line in text.lines() {
        match included(line) {
            Some(name) => {
                let path = joined(folder, name);
                let file = LIBRARY
                    .iter()
                    .find(|file| file.path == path)
                    .ok_or(RenderError::Include { path })?;
                if seen.insert(file.path) {
                    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    out.push_str("// ---- ");
                    out.push_str(file.path);
                    out.push('\n');
                    append(file.text, folder, seen, out)?;
                }
            }
            None if line.trim() == "#pragma once" => {}
            None => {
                out.push_str(line.trim_end());
                out.push('\n');
            }
        }
    }
    Ok(())
}

/// `name` seen from `folder`; leading `../` go up.
fn joined(mut folder: &str, mut name: &str) -> String {
    while let Some(above) = name.strip_prefix("../") {
        name = above;
        folder = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

fn included(line: &str) -> Option<&str> {
    line.strip_prefix("#include \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::resolved;

    #[test]
    fn each_file_once_and_nothing_else_left() {
        let text = resolved("#include \"plain/odd.cuh\"\n#include \"plain/powers.cuh\"\nint x;\n")
            .unwrap();
        assert_eq!(text.matches("---- plain/tile.cuh").count(), 1);
        assert!(!text.contains("#include") && !text.contains("#pragma once"));
        assert_eq!(text.matches("---- lib/instruction.cuh").count(), 1);
        assert!(text.ends_with("int x;\n"));
    }

    #[test]
    fn an_unknown_file_is_named() {
        let error = resolved("#include \"plain/none.cuh\"").unwrap_err();
        assert!(error.to_string().contains("plain/none.cuh"));
    }
}
