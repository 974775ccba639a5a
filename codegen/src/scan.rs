//! The specifications that a source file declares, read by the attribute's own parser without compiling anything.

use crate::attr::{Entries, layer_args};
use himuon_templates::KernelSpec;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

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
    /// An attribute in a macro, with parts that the macro's callers say.
    #[error(
        "#[himuon] on `{name}`: a macro fills in its arguments, which only a compiler can read; declare the layer outside of it"
    )]
    InMacro {
        /// The struct's name.
        name: String,
    },
}

/// Every struct of a source file with `#[himuon(...)]`, at any depth (in modules, functions and macros), plain or inside
/// `cfg_attr`, whatever its condition; for an attribute that says no specifications, why not.
///
/// # Errors
/// The text is no Rust.
///
/// ```
/// let text = "mod layers { #[himuon(tiles = [64, \"full\"], element = \"bf16\")] struct Attention; }";
/// let layers = himuon_codegen::declared_layers(text)?;
/// let attention = layers[0].as_ref().unwrap();
/// assert_eq!((attention.name.as_str(), attention.specs.len()), ("Attention", 2));
/// # Ok::<(), himuon_codegen::ScanError>(())
/// ```
pub fn declared_layers(text: &str) -> Result<Vec<Result<DeclaredLayer, ScanError>>, ScanError> {
    let tokens: TokenStream = text
        .parse()
        .map_err(|error: proc_macro2::LexError| ScanError::Source(error.to_string()))?;
    let mut attributes = Vec::new();
    search(tokens, &mut attributes);
    Ok(attributes.into_iter().map(Attribute::read).collect())
}

/// Whether anything in it is filled in later, as macros by example and `quote!` mark it.
fn is_filled_in(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Punct(punct) => ['$', '#'].contains(&punct.as_char()),
        TokenTree::Group(group) => is_filled_in(group.stream()),
        _ => false,
    })
}

/// An attribute as it was found.
struct Attribute {
    /// The struct that it stands on; empty where none follows.
    name: String,
    arguments: TokenStream,
}

impl Attribute {
    fn read(self) -> Result<DeclaredLayer, ScanError> {
        if is_filled_in(self.arguments.clone()) {
            return Err(ScanError::InMacro { name: self.name });
        }
        let parsed = syn::parse2::<Entries>(self.arguments);
        match parsed.and_then(|entries| layer_args(&entries).1) {
            Ok(args) => Ok(DeclaredLayer {
                name: self.name,
                specs: args.specs,
            }),
            Err(error) => Err(ScanError::Attribute {
                name: self.name,
                reason: error.to_string(),
            }),
        }
    }
}

fn search(tokens: TokenStream, found: &mut Vec<Attribute>) {
    // Places of those that stand before the next struct.
    let mut pending = Vec::new();
    let (mut after_hash, mut after_struct) = (false, false);
    for token in tokens {
        match &token {
            TokenTree::Group(group) => {
                let is_attribute = after_hash && group.delimiter() == Delimiter::Bracket;
                let arguments = is_attribute.then(|| arguments(group.stream())).flatten();
                match arguments {
                    Some(arguments) => {
                        pending.push(found.len());
                        found.push(Attribute {
                            name: String::new(),
                            arguments,
                        });
                    }
                    None => search(group.stream(), found),
                }
            }
            name if after_struct => {
                for place in pending.drain(..) {
                    found[place].name = name.to_string();
                }
            }
            _ => {}
        }
        after_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        after_struct = matches!(&token, TokenTree::Ident(word) if *word == "struct");
    }
}

/// The arguments of an attribute whose path ends in `himuon`, or that `cfg_attr` puts there.
fn arguments(attribute: TokenStream) -> Option<TokenStream> {
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
    if !is_path || arguments.delimiter() != Delimiter::Parenthesis {
        return None;
    }
    if *name == "himuon" {
        return Some(arguments.stream());
    }
    if *name != "cfg_attr" {
        return None;
    }
    let inner: Vec<TokenTree> = arguments.stream().into_iter().collect();
    let is_comma =
        |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let mut attributes = inner.split(is_comma).skip(1);
    attributes.find_map(|tokens| self::arguments(tokens.iter().cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_where_an_attribute_may_stand() {
        let text = r##"
            use himuon::himuon;
            /// Documented: #[himuon(tile = 8)]
            #[derive(Debug)]
            #[himuon(tile = 128, steps = 4)]
            pub struct A { width: usize }
            #[cfg_attr(all(feature = "muon", unix), derive(Debug), himuon::himuon(tile = (64, 256), power = "1/2"))]
            pub(crate) struct B;
            struct Plain;
            #[other(tile = 3)]
            struct Other;
            // #[himuon(tile = 16)]
            const TEXT: &str = "#[himuon(tile = 32)] struct Text;";
            impl Plain {
                fn main() { if true { #[himuon(tiles = [16, "full"])] struct C; } }
            }
            made! { #[himuon(tile = 24)] struct D<T>(T); }
        "##;
        let layers = declared_layers(text).unwrap();
        let layers: Vec<_> = layers.into_iter().map(Result::unwrap).collect();
        let found: Vec<_> = layers
            .iter()
            .map(|layer| (layer.name.as_str(), layer.specs.len()))
            .collect();
        assert_eq!(found, [("A", 1), ("B", 1), ("C", 2), ("D", 1)]);
        assert_eq!(layers[0].specs[0].steps, 4);
        assert_eq!(layers[1].specs[0].power.to_string(), "1/2");
    }

    #[test]
    fn what_the_macro_refuses_is_refused() {
        let refused = |text: &str| declared_layers(text).unwrap().remove(0).unwrap_err();
        let error = refused("#[himuon(tile = 0)] struct Zero;");
        assert!(
            error.to_string().starts_with("#[himuon] on `Zero`: "),
            "{error}"
        );
        let filled_in = "macro_rules! m { ($t:expr) => { #[himuon(tile = $t)] struct Filled; } }";
        assert!(matches!(
            refused(filled_in),
            ScanError::InMacro { name } if name == "Filled"
        ));
        let within =
            "macro_rules! m { ($t:expr) => { #[himuon(tiles = [8, $t])] struct Within; } }";
        assert!(matches!(refused(within), ScanError::InMacro { .. }));
        let quoted = "quote! { #[himuon(tile = #tile)] struct Quoted; }";
        assert!(matches!(refused(quoted), ScanError::InMacro { .. }));
        // The name of one that a macro names is not that of the next.
        let named = "m! { #[himuon(tile = 8)] struct $name; struct Next; } struct Outer;";
        assert_eq!(declared_layers(named).unwrap().remove(0).unwrap().name, "$");
        assert!(matches!(
            declared_layers("no { rust"),
            Err(ScanError::Source(_))
        ));
    }
}
