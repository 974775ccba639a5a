//! The expansion of `#[himuon(...)]`: the item unchanged, and an implementation of `LayerConfig` beside it.

use crate::attr::{Entries, LayerArgs, LayerItem, layer_args};
use crate::render::sources;
use himuon_templates::{
    Coarse, CoefficientSet, Criterion, Finite, KernelSource, KernelSpec, Power, Recurrence, Tile,
};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::Path;

/// Expands the attribute with arguments `args` on `item`.
///
/// Never fails: an error becomes a `compile_error!` at the offending token, beside the unchanged item and an
/// empty implementation, so that the user sees that error and none that follow from it.
pub fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let layer = LayerItem::of(&item);
    let (krate, parsed) = match syn::parse2::<Entries>(args) {
        Ok(entries) => layer_args(&entries),
        Err(error) => (crate::attr::default_crate(), Err(error)),
    };
    let implementation = match (layer.error, parsed) {
        (Some(error), _) | (None, Err(error)) => Err(error),
        (None, Ok(args)) => layer.implementable.as_ref().map_or_else(
            || Ok(TokenStream::new()),
            |ident| implementation(ident, &args),
        ),
    };
    let beside = implementation.unwrap_or_else(|error| {
        let error = error.into_compile_error();
        let empty = layer
            .implementable
            .map(|ident| layer_config(&krate, &ident, &[], &[]));
        quote!(#error #empty)
    });
    quote!(#item #beside)
}

fn implementation(ident: &Ident, args: &LayerArgs) -> syn::Result<TokenStream> {
    let sources = sources(&args.specs).map_err(|error| syn::Error::new(ident.span(), error))?;
    let krate = &args.krate;
    let templates = quote!(#krate::templates);
    let specs: Vec<_> = args
        .specs
        .iter()
        .map(|spec| spec_tokens(&templates, spec))
        .collect();
    let sources: Vec<_> = sources
        .iter()
        .map(|source| source_tokens(&templates, source))
        .collect();
    Ok(layer_config(krate, ident, &specs, &sources))
}

fn layer_config(
    krate: &Path,
    ident: &Ident,
    specs: &[TokenStream],
    sources: &[TokenStream],
) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #krate::LayerConfig for #ident {
            const SPECS: &'static [#krate::templates::KernelSpec] = &[#(#specs),*];
            const SOURCES: &'static [#krate::templates::KernelSource] = &[#(#sources),*];
        }
    }
}

fn source_tokens(templates: &TokenStream, source: &KernelSource) -> TokenStream {
    let KernelSource {
        id,
        spec,
        architecture,
        text,
    } = source;
    quote! {
        #templates::KernelSource {
            id: ::std::borrow::Cow::Borrowed(#id),
            spec: #spec,
            architecture: #architecture,
            text: ::std::borrow::Cow::Borrowed(#text),
        }
    }
}

fn spec_tokens(templates: &TokenStream, spec: &KernelSpec) -> TokenStream {
    let KernelSpec {
        tile,
        steps,
        power,
        recurrence,
        storage,
        operand,
        mode,
        criterion,
        coarse,
    } = spec;
    let tile = tile_tokens(templates, *tile);
    let power = power_tokens(templates, *power);
    let recurrence = recurrence_tokens(templates, recurrence);
    let weight = variant(templates, "Element", storage.weight);
    let momentum = variant(templates, "Element", storage.momentum);
    let master_weights = storage.master_weights;
    let operand = variant(templates, "Operand", *operand);
    let mode = variant(templates, "Mode", *mode);
    let criterion = criterion_tokens(templates, criterion);
    let coarse = coarse_tokens(templates, *coarse);
    quote! {
        #templates::KernelSpec {
            tile: #tile,
            steps: #steps,
            power: #power,
            recurrence: #recurrence,
            storage: #templates::Storage {
                weight: #weight,
                momentum: #momentum,
                master_weights: #master_weights,
            },
            operand: #operand,
            mode: #mode,
            criterion: #criterion,
            coarse: #coarse,
        }
    }
}

/// `Type::Variant` of an enumeration without data, whose `Debug` is the variant's name.
fn variant(templates: &TokenStream, name: &str, value: impl std::fmt::Debug) -> TokenStream {
    let name = quote::format_ident!("{name}");
    let value = quote::format_ident!("{value:?}");
    quote!(#templates::#name::#value)
}

fn tile_tokens(templates: &TokenStream, tile: Tile) -> TokenStream {
    match tile {
        Tile::Full => quote!(#templates::Tile::Full),
        Tile::Sized { rows, columns } => {
            quote!(#templates::Tile::Sized { rows: #rows, columns: #columns })
        }
    }
}

/// Constructors that check return options; both arms are constants, and the second is never taken.
fn power_tokens(templates: &TokenStream, power: Power) -> TokenStream {
    let (numerator, denominator) = (power.numerator(), power.denominator());
    quote! {
        match #templates::Power::new(#numerator, #denominator) {
            ::core::option::Option::Some(power) => power,
            ::core::option::Option::None => #templates::Power::ZERO,
        }
    }
}

fn finite_tokens(templates: &TokenStream, value: Finite) -> TokenStream {
    let bits = value.get().to_bits();
    quote! {
        match #templates::Finite::from_bits(#bits) {
            ::core::option::Option::Some(value) => value,
            ::core::option::Option::None => #templates::Finite::ZERO,
        }
    }
}

fn recurrence_tokens(templates: &TokenStream, recurrence: &Recurrence) -> TokenStream {
    match recurrence {
        Recurrence::NewtonSchulz(set) => {
            let set = set_tokens(templates, set);
            quote!(#templates::Recurrence::NewtonSchulz(#set))
        }
        plain => variant(templates, "Recurrence", plain),
    }
}

fn set_tokens(templates: &TokenStream, set: &CoefficientSet) -> TokenStream {
    match set {
        CoefficientSet::Minimax { lower } => {
            let lower = finite_tokens(templates, *lower);
            quote!(#templates::CoefficientSet::Minimax { lower: #lower })
        }
        CoefficientSet::Custom(list) => {
            let steps = list.iter().map(|step| {
                let numbers = step.map(|value| finite_tokens(templates, value));
                quote!([#(#numbers),*])
            });
            quote! {
                #templates::CoefficientSet::Custom({
                    const STEPS: &[[#templates::Finite; 3]] = &[#(#steps),*];
                    ::std::borrow::Cow::Borrowed(STEPS)
                })
            }
        }
        named => variant(templates, "CoefficientSet", named),
    }
}

fn coarse_tokens(templates: &TokenStream, coarse: Coarse) -> TokenStream {
    match coarse {
        Coarse::Off => quote!(#templates::Coarse::Off),
        Coarse::Polar { rank, fine } => {
            let fine = variant(templates, "Fine", fine);
            quote!(#templates::Coarse::Polar { rank: #rank, fine: #fine })
        }
    }
}

fn criterion_tokens(templates: &TokenStream, criterion: &Criterion) -> TokenStream {
    match criterion {
        Criterion::Always => quote!(#templates::Criterion::Always),
        Criterion::Tested {
            measure,
            threshold,
            scope,
            otherwise,
        } => {
            let measure = variant(templates, "Measure", measure);
            let threshold = finite_tokens(templates, *threshold);
            let scope = variant(templates, "Scope", scope);
            let otherwise = variant(templates, "Otherwise", otherwise);
            quote! {
                #templates::Criterion::Tested {
                    measure: #measure,
                    threshold: #threshold,
                    scope: #scope,
                    otherwise: #otherwise,
                }
            }
        }
    }
}
