//! Finding `#[himuon(...)]` in the files of a crate, with the attribute's own parser.

use super::BuildError;
use crate::scan::declared_layers;
use himuon_templates::KernelSpec;
use std::path::{Path, PathBuf};

/// What a crate declares.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// Each once, in the order of files and places.
    pub(super) specs: Vec<KernelSpec>,
    pub(super) warnings: Vec<String>,
    pub(super) searched: Vec<PathBuf>,
}

/// Searches every `.rs` file below `folder`, in the order of their paths.
pub(super) fn declared_in(folder: &Path) -> Result<Declared, BuildError> {
    let mut declared = Declared::default();
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(|source| BuildError::File {
            path: path.clone(),
            source,
        })?;
        // Most files have none, and need not be read as tokens.
        if text.contains("himuon") {
            declared.read(&path, &text);
        }
        declared.searched.push(path);
    }
    Ok(declared)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), BuildError> {
    let failed = |source| BuildError::File {
        path: folder.to_owned(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

impl Declared {
    /// What does not read is the compiler's to report, at its place.
    fn read(&mut self, path: &Path, text: &str) {
        let found = match declared_layers(text) {
            Ok(found) => found,
            Err(error) => return self.warn(path, &error.to_string()),
        };
        for layer in found {
            match layer {
                Ok(layer) => {
                    for spec in layer.specs {
                        if !self.specs.contains(&spec) {
                            self.specs.push(spec);
                        }
                    }
                }
                Err(error) => self.warn(path, &format!("left out: {error}")),
            }
        }
    }

    fn warn(&mut self, path: &Path, what: &str) {
        self.warnings.push(format!("{}: {what}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Declared {
        let mut declared = Declared::default();
        declared.read(Path::new("lib.rs"), text);
        declared
    }

    #[test]
    fn each_specification_counts_once() {
        let found = declared(
            "#[himuon(tile = 64, steps = 5)] struct A;\n\
             mod inner { #[derive(Debug)] #[himuon::himuon(tiles = [128, \"full\"])] struct B; }\n\
             fn f() { #[cfg_attr(all(), himuon(tile = 64))] struct Again; }\n",
        );
        let specs: Vec<String> = found.specs.iter().map(ToString::to_string).collect();
        assert_eq!(specs.len(), 3, "{specs:?}");
        assert!(specs[0].starts_with("tile=64"), "{specs:?}");
        assert!(found.warnings.is_empty());
    }

    #[test]
    fn what_the_attribute_would_refuse_is_named_and_left_out() {
        let found = declared("#[himuon(tile = 0)] struct A;");
        assert!(found.specs.is_empty());
        assert!(found.warnings[0].contains("lib.rs"), "{:?}", found.warnings);
    }
}
