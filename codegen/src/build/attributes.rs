//! Finding `#[himuon(...)]` in the files of a crate, with the attribute's own parser.

use super::BuildError;
use crate::attr::{Entries, layer_args};
use himuon_templates::KernelSpec;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
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
    fn read(&mut self, path: &Path, text: &str) {
        // What does not read is the compiler's to report, at its place.
        match text.parse::<TokenStream>() {
            Ok(tokens) => self.search(path, tokens),
            Err(error) => self.warn(path, &error.to_string()),
        }
    }

    fn warn(&mut self, path: &Path, what: &str) {
        self.warnings.push(format!("{}: {what}", path.display()));
    }

    /// Attributes at any depth: in modules, functions and macros.
    fn search(&mut self, path: &Path, tokens: TokenStream) {
        let mut after_hash = false;
        for token in tokens {
            if let TokenTree::Group(group) = &token {
                let arguments = (after_hash && group.delimiter() == Delimiter::Bracket)
                    .then(|| himuon_arguments(group.stream()))
                    .flatten();
                match arguments {
                    Some(arguments) => self.declare(path, arguments),
                    None => self.search(path, group.stream()),
                }
            }
            after_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        }
    }

    fn declare(&mut self, path: &Path, arguments: TokenStream) {
        let parsed = syn::parse2::<Entries>(arguments).and_then(|entries| layer_args(&entries).1);
        match parsed {
            Ok(args) => {
                for spec in args.specs {
                    if !self.specs.contains(&spec) {
                        self.specs.push(spec);
                    }
                }
            }
            Err(error) => self.warn(path, &format!("#[himuon(...)] is left out: {error}")),
        }
    }
}

/// The arguments of an attribute whose path ends in `himuon`.
fn himuon_arguments(attribute: TokenStream) -> Option<TokenStream> {
    let tokens: Vec<TokenTree> = attribute.into_iter().collect();
    let [
        path @ ..,
        TokenTree::Ident(name),
        TokenTree::Group(arguments),
    ] = tokens.as_slice()
    else {
        return None;
    };
    let is_path = path.iter().all(|token| match token {
        TokenTree::Ident(_) => true,
        TokenTree::Punct(punct) => punct.as_char() == ':',
        _ => false,
    });
    let found = is_path && *name == "himuon" && arguments.delimiter() == Delimiter::Parenthesis;
    found.then(|| arguments.stream())
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
    fn attributes_are_found_at_any_depth_and_under_any_path() {
        let found = declared(
            "use himuon::himuon;\n\
             #[himuon(tile = 64, steps = 5)] struct A;\n\
             mod inner { #[derive(Debug)] #[himuon::himuon(tiles = [128, \"full\"])] struct B; }\n\
             fn f() { #[himuon(tile = 64)] struct Again; }\n\
             // #[himuon(tile = 16)]\n\
             const TEXT: &str = \"#[himuon(tile = 32)]\";\n",
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
