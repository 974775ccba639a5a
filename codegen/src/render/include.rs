//! Puts library files in place of `#include "..."` lines, each once, so that a kernel's text needs no other file, and
//! leaves out the lines that a kernel has no use for.
//!
//! A line that ends with `//: master weights` is one of kernels with master weights alone, one that ends with
//! `//: no master weights` is left out of those; the mark itself never stays.

use super::RenderError;
use himuon_templates::sources::LIBRARY;
use std::collections::BTreeSet;

/// The mark of lines for master weights.
const WITH: &str = "//: master weights";
/// The mark of lines in whose place others stand with master weights.
const WITHOUT: &str = "//: no master weights";

/// `text` with every quoted include replaced by the file it names. Paths in a template are below `cuda/`,
/// those in a library file are relative to its folder.
pub(super) fn resolved(text: &str, master_weights: bool) -> Result<String, RenderError> {
    let mut resolver = Resolver {
        master_weights,
        seen: BTreeSet::new(),
        out: String::with_capacity(4 * text.len()),
    };
    resolver.append(text, "")?;
    Ok(resolver.out)
}

struct Resolver {
    master_weights: bool,
    seen: BTreeSet<&'static str>,
    out: String,
}

impl Resolver {
    /// The line without its mark, unless it is left out.
    fn wanted<'t>(&self, line: &'t str) -> Option<&'t str> {
        let line = line.trim_end();
        for (mark, kept) in [(WITH, self.master_weights), (WITHOUT, !self.master_weights)] {
            if let Some(line) = line.strip_suffix(mark) {
                return kept.then(|| line.trim_end());
            }
        }
        Some(line)
    }

    fn append(&mut self, text: &str, folder: &str) -> Result<(), RenderError> {
        for line in text.lines() {
            let Some(line) = self.wanted(line) else {
                continue;
            };
            match included(line) {
                Some(name) => {
                    let path = joined(folder, name);
                    let file = LIBRARY
                        .iter()
                        .find(|file| file.path == path)
                        .ok_or(RenderError::Include { path })?;
                    if self.seen.insert(file.path) {
                        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                        self.out.push_str("// ---- ");
                        self.out.push_str(file.path);
                        self.out.push('\n');
                        self.append(file.text, folder)?;
                    }
                }
                None if line.trim() == "#pragma once" => {}
                None => {
                    self.out.push_str(line);
                    self.out.push('\n');
                }
            }
        }
        Ok(())
    }
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
        let text = resolved(
            "#include \"plain/odd.cuh\"\n#include \"plain/powers.cuh\"\nint x;\n",
            false,
        )
        .unwrap();
        assert_eq!(text.matches("---- plain/tile.cuh").count(), 1);
        assert!(!text.contains("#include") && !text.contains("#pragma once"));
        assert_eq!(text.matches("---- lib/instruction.cuh").count(), 1);
        assert!(text.ends_with("int x;\n"));
    }

    #[test]
    fn an_unknown_file_is_named() {
        let error = resolved("#include \"plain/none.cuh\"", false).unwrap_err();
        assert!(error.to_string().contains("plain/none.cuh"));
    }

    #[test]
    fn marked_lines_are_those_of_master_weights() {
        let text = "a;\nb;  //: master weights\n\nc;  //: no master weights\n";
        assert_eq!(resolved(text, false).unwrap(), "a;\n\nc;\n");
        assert_eq!(resolved(text, true).unwrap(), "a;\nb;\n\n");
        let marked = "#include \"lib/master_quad.cuh\"  //: master weights\n";
        assert_eq!(resolved(marked, false).unwrap(), "");
        assert!(resolved(marked, true).unwrap().contains("join_masters"));
    }
}
