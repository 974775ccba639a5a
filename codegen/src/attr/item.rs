//! What the attribute stands on.

use proc_macro2::{Ident, Span, TokenStream};
use syn::spanned::Spanned;
use syn::{Attribute, Item, ItemStruct};

/// The annotated item, as far as the expansion needs it.
pub(crate) struct LayerItem {
    /// The type to implement the trait for, if the item is one without generics.
    pub(crate) implementable: Option<Ident>,
    /// Why the attribute may not stand here.
    pub(crate) error: Option<syn::Error>,
}

impl LayerItem {
    /// Looks at an item.
    pub(crate) fn of(tokens: &TokenStream) -> LayerItem {
        match syn::parse2::<Item>(tokens.clone()) {
            Ok(item) => Self::of_item(&item),
            Err(error) => LayerItem {
                implementable: None,
                error: Some(error),
            },
        }
    }

    fn of_item(item: &Item) -> LayerItem {
        let (found, place, named) = match item {
            Item::Struct(item) => return Self::of_struct(item),
            Item::Enum(item) => (
                "an enum",
                item.enum_token.span(),
                Some((&item.ident, &item.generics)),
            ),
            Item::Union(item) => (
                "a union",
                item.union_token.span(),
                Some((&item.ident, &item.generics)),
            ),
            Item::Fn(item) => ("a function", item.sig.fn_token.span(), None),
            other => ("another item", other.span(), None),
        };
        LayerItem {
            implementable: named
                .filter(|(_, generics)| generics.params.is_empty())
                .map(|(ident, _)| ident.clone()),
            error: Some(wrong_item(place, found)),
        }
    }

    fn of_struct(item: &ItemStruct) -> LayerItem {
        let refused = |error| LayerItem {
            implementable: None,
            error: Some(error),
        };
        if let Some(second) = item.attrs.iter().find(|attribute| is_himuon(attribute)) {
            return refused(syn::Error::new_spanned(
                second,
                "#[himuon] is stated twice: keep one; several tiles go into one list, as in tiles = [\"full\", 128]",
            ));
        }
        if !item.generics.params.is_empty() {
            return refused(syn::Error::new_spanned(
                &item.generics,
                format!(
                    "#[himuon] goes on a struct without generics: a kernel is specified once, for `{}`; \
                     remove the parameters, or put the attribute on a struct of its own",
                    item.ident
                ),
            ));
        }
        LayerItem {
            implementable: Some(item.ident.clone()),
            error: None,
        }
    }
}

/// Whether an attribute is another one of ours, by its last name.
fn is_himuon(attribute: &Attribute) -> bool {
    let last = attribute.path().segments.last();
    last.is_some_and(|segment| segment.ident == "himuon")
}

fn wrong_item(place: Span, found: &str) -> syn::Error {
    syn::Error::new(
        place,
        format!(
            "#[himuon] goes on a struct: found {found}; put it on the config struct of a layer"
        ),
    )
}
