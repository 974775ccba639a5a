//! The specifications that a crate declares.

use super::WorkloadError;
use himuon::KernelSpec;
use himuon_codegen::{ScanError, declared_layers};
use std::path::Path;
use walkdir::{DirEntry, WalkDir};

/// What a crate's source declares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeclaredSpecs {
    /// Each specification once, in the order of the files, with the names of the structs that declare it.
    pub specs: Vec<(KernelSpec, Vec<String>)>,
    /// What was left out, and why: files that name the attribute and do not parse, and attributes that a macro fills in.
    pub warnings: Vec<String>,
}

/// Reads every `#[himuon(...)]` below a crate's folder, or in one file, by the macro's own parser.
///
/// # Errors
/// The folder cannot be read, an attribute would not compile, or there is none.
pub fn declared_specs(path: &Path) -> Result<DeclaredSpecs, WorkloadError> {
    let mut found = DeclaredSpecs::default();
    let mut files = 0;
    let walk = WalkDir::new(path).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(is_source) {
        let entry = entry.map_err(|error| WorkloadError::Read {
            path: error.path().unwrap_or(path).to_owned(),
            source: error.into(),
        })?;
        let is_rust = entry.path().extension().is_some_and(|e| e == "rs");
        if !entry.file_type().is_file() || !is_rust {
            continue;
        }
        files += 1;
        let read = |source| WorkloadError::Read {
            path: entry.path().to_owned(),
            source,
        };
        let text = std::fs::read_to_string(entry.path()).map_err(read)?;
        if text.contains("himuon") {
            add(entry.path(), &text, &mut found)?;
        }
    }
    if found.specs.is_empty() {
        return Err(WorkloadError::NothingDeclared {
            path: path.to_owned(),
            files,
        });
    }
    Ok(found)
}

fn add(path: &Path, text: &str, found: &mut DeclaredSpecs) -> Result<(), WorkloadError> {
    let warning = |error: ScanError| format!("{}: {error}", path.display());
    let layers = match declared_layers(text) {
        Ok(layers) => layers,
        Err(error) => {
            found.warnings.push(warning(error));
            return Ok(());
        }
    };
    for layer in layers {
        let layer = match layer {
            Ok(layer) => layer,
            Err(error @ ScanError::InMacro { .. }) => {
                found.warnings.push(warning(error));
                continue;
            }
            Err(source) => {
                return Err(WorkloadError::Source {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        for spec in layer.specs {
            match found.specs.iter_mut().find(|(known, _)| *known == spec) {
                Some((_, names)) => names.push(layer.name.clone()),
                None => found.specs.push((spec, vec![layer.name.clone()])),
            }
        }
    }
    Ok(())
}

/// Not what was built, and nothing hidden.
fn is_source(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    entry.depth() == 0 || (name != "target" && !name.starts_with('.'))
}
