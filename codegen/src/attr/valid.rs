//! Entries to specifications. Which values go together is decided by [`SpecFields::resolve`]; here its errors
//! find the token that they are about.

use super::ast;
use super::parse::{Entries, Entry};
use himuon_templates::{Field, KernelSpec, SpecError, SpecFields, Tile};
use proc_macro2::Span;
use std::collections::BTreeMap;
use syn::Path;
use syn::spanned::Spanned;

/// What the attribute says.
pub(crate) struct LayerArgs {
    /// The path of the crate `himuon`.
    pub(crate) krate: Path,
    /// One specification per tile, in the stated order.
    pub(crate) specs: Vec<KernelSpec>,
}

/// The path of the crate when nothing else is stated.
pub(crate) fn default_crate() -> Path {
    syn::parse_quote!(::himuon)
}

/// The accepted keys, for errors.
const KEYS: &str = "tile, tiles, steps, power, recurrence, coefficients, element, weight, momentum, \
                    master_weights, operand, mode, criterion, scope, otherwise, coarse, fine or crate";

/// The values with the places where they were written.
struct Stated {
    fields: SpecFields,
    tiles: Vec<(Tile, Span)>,
    krate: Option<Path>,
    /// Key to place of its value.
    places: BTreeMap<String, Span>,
}

/// Reads the entries. The path of the crate is returned even if the rest is wrong.
pub(crate) fn layer_args(entries: &Entries) -> (Path, syn::Result<LayerArgs>) {
    let mut stated = Stated {
        fields: SpecFields::default(),
        tiles: Vec::new(),
        krate: None,
        places: BTreeMap::new(),
    };
    let mut errors: Option<syn::Error> = None;
    for entry in &entries.0 {
        if let Err(error) = stated.take(entry) {
            match &mut errors {
                None => errors = Some(error),
                Some(first) => first.combine(error),
            }
        }
    }
    let krate = stated.krate.clone().unwrap_or_else(default_crate);
    let args = match errors {
        Some(errors) => Err(errors),
        None => stated.specs(entries.place()).map(|specs| LayerArgs {
            krate: krate.clone(),
            specs,
        }),
    };
    (krate, args)
}

impl Stated {
    fn take(&mut self, Entry { key, value }: &Entry) -> syn::Result<()> {
        let name = key.to_string();
        if self.places.contains_key(&name) {
            return Err(syn::Error::new(
                key.span(),
                format!("`{name}` is stated twice: keep one"),
            ));
        }
        let fields = &mut self.fields;
        match name.as_str() {
            "tile" => self.tiles = vec![(ast::tile(&name, value)?, value.span())],
            "tiles" => self.tiles = ast::tiles(value)?,
            "steps" => fields.steps = Some(ast::count(&name, value, "5")?),
            "power" => fields.power = Some(ast::power(value)?),
            "recurrence" => fields.recurrence = Some(ast::text(&name, value, "\"coupled\"")?),
            "coefficients" => fields.coefficients = Some(ast::coefficients(value)?),
            "element" => fields.element = Some(ast::text(&name, value, "\"bf16\"")?),
            "weight" => fields.weight = Some(ast::text(&name, value, "\"bf16\"")?),
            "momentum" => fields.momentum = Some(ast::text(&name, value, "\"f32\"")?),
            "master_weights" => fields.master_weights = Some(ast::flag(&name, value)?),
            "operand" => fields.operand = Some(ast::text(&name, value, "\"tf32\"")?),
            "mode" => fields.mode = Some(ast::text(&name, value, "\"reference\"")?),
            "criterion" => {
                let text = ast::string(&name, value, "\"effective_rank(0.1)\"")?;
                let read = SpecFields::read_criterion(&text);
                fields.criterion = Some(read.map_err(|error| ast::refuse(value, error))?);
            }
            "scope" => fields.scope = Some(ast::text(&name, value, "\"matrix\"")?),
            "otherwise" => fields.otherwise = Some(ast::text(&name, value, "\"rms-matched\"")?),
            "coarse" => fields.coarse = Some(ast::count(&name, value, "32")?),
            "fine" => fields.fine = Some(ast::text(&name, value, "\"fused\"")?),
            "crate" => self.krate = Some(ast::text_path(value)?),
            _ => {
                return Err(syn::Error::new(
                    key.span(),
                    format!("unknown key `{name}`, accepted are {KEYS}"),
                ));
            }
        }
        self.places.insert(name, value.span());
        self.one_of_tile_and_tiles(key)
    }

    fn one_of_tile_and_tiles(&self, key: &syn::Ident) -> syn::Result<()> {
        let both = self.places.contains_key("tile") && self.places.contains_key("tiles");
        if both && (key == "tile" || key == "tiles") {
            return Err(syn::Error::new(
                key.span(),
                "`tile` and `tiles` are both stated: keep `tiles`, with every tile that a schedule may use",
            ));
        }
        Ok(())
    }

    fn specs(&self, attribute: Span) -> syn::Result<Vec<KernelSpec>> {
        if self.tiles.is_empty() {
            return Err(syn::Error::new(attribute, SpecError::MissingTile));
        }
        self.tiles
            .iter()
            .map(|(tile, place)| {
                // Among tiles of a schedule the whole matrix needs no coupling.
                let couples = *tile != Tile::Full || self.tiles.len() == 1;
                let fields = SpecFields {
                    tile: Some(*tile),
                    coarse: self.fields.coarse.filter(|_| couples),
                    fine: self.fields.fine.filter(|_| couples),
                    ..self.fields.clone()
                };
                fields.resolve().map_err(|error| {
                    let place = match error.field() {
                        Field::Tile => *place,
                        field => self.place_of(field).unwrap_or(attribute),
                    };
                    syn::Error::new(place, error)
                })
            })
            .collect()
    }

    /// The place of the value that an error about `field` points at: the field's own, else that of the field
    /// from which its value was derived.
    fn place_of(&self, field: Field) -> Option<Span> {
        let derived_from: &[&str] = match field {
            Field::Steps => &["steps", "coefficients", "recurrence", "power"],
            Field::Recurrence | Field::Coefficients => &["power", "coefficients", "recurrence"],
            Field::Weight | Field::Momentum | Field::Operand => &["element", "mode"],
            Field::Criterion | Field::Scope | Field::Otherwise => &["criterion"],
            Field::Fine => &["coarse"],
            _ => &[],
        };
        std::iter::once(&field.key())
            .chain(derived_from)
            .find_map(|key| self.places.get(*key))
            .copied()
    }
}
