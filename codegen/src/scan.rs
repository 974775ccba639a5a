//! The specifications that a source file declares, read by the attribute's own parser without compiling anything.

use crate::attr::{Entries, layer_args};
use himuon_templates::KernelSpec;
use syn::{Attribute, File, Item, ItemStruct, Meta, Stmt, Token};

/// A struct with `#[himuon(...)]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredLayer {
    /// The struct's name.
    pub name: String,
    /// One specification for each tile, in the stated order.
    pub specs: Vec<KernelSpec>,
}

/// Why a source file was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// It is no Rust.
    #[error("no Rust source: {0}")]
    Source(String),
    /// An attribute says what the macro would refuse.
    #[error("#[himuon] on `{name}`: {reason}")]
    Attribute {
        /// The struct's name.
        name: String,
        /// The macro's words.
        reason: String,
    },
}

/// Every struct of a source file, in modules and functions too, with `#[himuon(...)]`, plain or inside `cfg_attr`.
///
/// # Errors
/// The text is no Rust, or the attribute would not compile.
///
/// ```
/// let text = "mod layers { #[himuon(tiles = [64, \"full\"], element = \"bf16\")] struct Attention; }";
/// let layers = himuon_codegen::declared_layers(text)?;
/// assert_eq!((layers[0].name.as_str(), layers[0].specs.len()), ("Attention", 2));
/// # Ok::<(), himuon_codegen::ScanError>(())
/// ```
pub fn declared_layers(text: &str) -> Result<Vec<DeclaredLayer>, ScanError> {
    let file: File = syn::parse_str(text).map_err(|error| ScanError::Source(error.to_string()))?;
    let mut layers = Vec::new();
    items(&file.items, &mut layers)?;
    Ok(layers)
}

fn items(list: &[Item], layers: &mut Vec<DeclaredLayer>) -> Result<(), ScanError> {
    for item in list {
        match item {
            Item::Struct(item) => layers.extend(layer(item)?),
            Item::Mod(module) => {
                if let Some((_, inner)) = &module.content {
                    items(inner, layers)?;
                }
            }
            Item::Fn(function) => {
                for statement in &function.block.stmts {
                    if let Stmt::Item(item) = statement {
                        items(std::slice::from_ref(item), layers)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn layer(item: &ItemStruct) -> Result<Option<DeclaredLayer>, ScanError> {
    let name = item.ident.to_string();
    let refused = |error: syn::Error| ScanError::Attribute {
        name: name.clone(),
        reason: error.to_string(),
    };
    for attribute in &item.attrs {
        if let Some(entries) = arguments(attribute) {
            let entries = entries.map_err(refused)?;
            let args = layer_args(&entries).1.map_err(refused)?;
            return Ok(Some(DeclaredLayer {
                name,
                specs: args.specs,
            }));
        }
    }
    Ok(None)
}

/// The arguments of an attribute that is ours.
fn arguments(attribute: &Attribute) -> Option<syn::Result<Entries>> {
    match &attribute.meta {
        Meta::List(list) if is_named(&attribute.meta, "cfg_attr") => {
            let parser = syn::punctuated::Punctuated::<Meta, Token![,]>::parse_terminated;
            let inner = list.parse_args_with(parser).ok()?;
            inner.iter().skip(1).find_map(of_meta)
        }
        meta => of_meta(meta),
    }
}

fn of_meta(meta: &Meta) -> Option<syn::Result<Entries>> {
    match meta {
        Meta::List(list) if is_named(meta, "himuon") => Some(list.parse_args()),
        _ => None,
    }
}

/// Whether a path ends with this name.
fn is_named(meta: &Meta, name: &str) -> bool {
    let last = meta.path().segments.last();
    last.is_some_and(|segment| segment.ident == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_where_an_attribute_may_stand() {
        let text = r#"
            use himuon::himuon;
            /// Documented.
            #[derive(Debug)]
            #[himuon(tile = 128, steps = 4)]
            struct A { width: usize }
            #[cfg_attr(feature = "muon", himuon::himuon(tile = (64, 256), power = "1/2"))]
            struct B;
            struct Plain;
            #[other(tile = 3)]
            struct Other;
            fn main() { #[himuon(tiles = [16, "full"])] struct C; }
        "#;
        let layers = declared_layers(text).unwrap();
        let found: Vec<_> = layers
            .iter()
            .map(|layer| (layer.name.as_str(), layer.specs.len()))
            .collect();
        assert_eq!(found, [("A", 1), ("B", 1), ("C", 2)]);
        assert_eq!(layers[0].specs[0].steps, 4);
        assert_eq!(layers[1].specs[0].power.to_string(), "1/2");
    }

    #[test]
    fn what_the_macro_refuses_is_refused() {
        let error = declared_layers("#[himuon(tile = 0)] struct Zero;").unwrap_err();
        assert!(
            error.to_string().starts_with("#[himuon] on `Zero`: "),
            "{error}"
        );
        assert!(matches!(
            declared_layers("not rust"),
            Err(ScanError::Source(_))
        ));
    }
}
