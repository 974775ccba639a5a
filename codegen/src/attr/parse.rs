//! Tokens to `key = value` entries. Nothing is known here about which keys there are.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, Token};

/// `key = value`.
pub(crate) struct Entry {
    /// The key; keywords are allowed (`crate`).
    pub(crate) key: Ident,
    /// The value, any expression.
    pub(crate) value: Expr,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any).map_err(|error| {
            syn::Error::new(error.span(), "expected key = value, as in tile = 128")
        })?;
        if !input.peek(Token![=]) {
            return Err(syn::Error::new(
                key.span(),
                format!("`{key}` has no value: write {key} = value, as in tile = 128"),
            ));
        }
        input.parse::<Token![=]>()?;
        let value = input.parse()?;
        Ok(Entry { key, value })
    }
}

/// The arguments of the attribute.
pub(crate) struct Entries(pub(crate) Vec<Entry>);

impl Parse for Entries {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let entries = Punctuated::<Entry, Token![,]>::parse_terminated(input)?;
        Ok(Entries(entries.into_iter().collect()))
    }
}

impl Entries {
    /// Where an error about something that was not written belongs: the attribute itself.
    pub(crate) fn place(&self) -> Span {
        Span::call_site()
    }
}
