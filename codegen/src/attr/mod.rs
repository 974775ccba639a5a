//! The grammar of `#[himuon(...)]`: tokens to entries ([`parse`]), entries to typed values with their places
//! ([`ast`]), values to specifications ([`valid`]).

mod ast;
mod item;
mod parse;
mod valid;

pub(crate) use item::LayerItem;
pub(crate) use parse::Entries;
pub(crate) use valid::{LayerArgs, default_crate, layer_args};
