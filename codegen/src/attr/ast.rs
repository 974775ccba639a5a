//! Expressions to typed values. Each reader states what it found and what it accepts, at the value.

use himuon_templates::{CoefficientSet, Finite, Power, Tile};
use quote::ToTokens;
use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, ExprUnary, Lit, UnOp};

/// The accepted forms of a tile.
const TILE_FORMS: &str = "an edge (128), (rows, columns) as in (64, 256), or \"full\"";
const LIST_FORMS: &str =
    "a set (\"polar-express\", \"minimax(1e-3)\") or a list of steps [(a, b, c), (a, b, c)]";

/// An error at `value`.
pub(super) fn refuse(value: &impl ToTokens, text: impl Display) -> syn::Error {
    syn::Error::new_spanned(value, text)
}

fn wrong_type(key: &str, value: &Expr, accepted: &str) -> syn::Error {
    refuse(
        value,
        format!("`{key}`: found {}, accepted is {accepted}", kind(value)),
    )
}

/// What an expression is, in a word.
fn kind(value: &Expr) -> &'static str {
    match value {
        Expr::Lit(ExprLit { lit, .. }) => match lit {
            Lit::Str(_) => "a string",
            Lit::Int(_) => "an integer",
            Lit::Float(_) => "a decimal number",
            Lit::Bool(_) => "a bool",
            _ => "another literal",
        },
        Expr::Tuple(_) => "a tuple",
        Expr::Array(_) => "a list",
        Expr::Unary(_) => "a negative number",
        Expr::Path(_) => "a name (the value must be a literal)",
        _ => "an expression (the value must be a literal)",
    }
}

/// A value that a fragment of a macro has brought comes in a group without brackets.
fn bare(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => bare(&group.expr),
        _ => value,
    }
}

fn literal(value: &Expr) -> Option<&Lit> {
    match bare(value) {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit),
        _ => None,
    }
}

/// A string that reads as `T`.
pub(super) fn text<T>(key: &str, value: &Expr, example: &str) -> syn::Result<T>
where
    T: FromStr<Err: Display>,
{
    match literal(value) {
        Some(Lit::Str(string)) => string
            .value()
            .parse()
            .map_err(|error| refuse(string, error)),
        _ => Err(wrong_type(
            key,
            value,
            &format!("a string, as in {key} = {example}"),
        )),
    }
}

/// A string, as it is.
pub(super) fn string(key: &str, value: &Expr, example: &str) -> syn::Result<String> {
    text::<String>(key, value, example)
}

/// A whole number.
pub(super) fn count(key: &str, value: &Expr, example: &str) -> syn::Result<u32> {
    match literal(value) {
        Some(Lit::Int(integer)) => integer.base10_parse().map_err(|_| {
            refuse(
                integer,
                format!("`{key}`: found {integer}, accepted are whole numbers below 2^32"),
            )
        }),
        _ => Err(wrong_type(
            key,
            value,
            &format!("an integer, as in {key} = {example}"),
        )),
    }
}

/// `true` or `false`.
pub(super) fn flag(key: &str, value: &Expr) -> syn::Result<bool> {
    match literal(value) {
        Some(Lit::Bool(flag)) => Ok(flag.value),
        _ => Err(wrong_type(key, value, "true or false")),
    }
}

/// A tile.
pub(super) fn tile(key: &str, value: &Expr) -> syn::Result<Tile> {
    match bare(value) {
        Expr::Tuple(tuple) => match tuple.elems.iter().collect::<Vec<_>>()[..] {
            [rows, columns] => Ok(Tile::Sized {
                rows: count(key, rows, "(64, 256)")?,
                columns: count(key, columns, "(64, 256)")?,
            }),
            _ => Err(refuse(
                value,
                format!(
                    "`{key}`: found a tuple of {}, accepted is {TILE_FORMS}",
                    tuple.elems.len()
                ),
            )),
        },
        _ => match literal(value) {
            Some(Lit::Int(_)) => count(key, value, "128").map(Tile::square),
            Some(Lit::Str(string)) => string
                .value()
                .parse()
                .map_err(|error| refuse(string, error)),
            _ => Err(wrong_type(key, value, TILE_FORMS)),
        },
    }
}

/// A list of tiles with their places, at least one, each once.
pub(super) fn tiles(value: &Expr) -> syn::Result<Vec<(Tile, proc_macro2::Span)>> {
    let Expr::Array(array) = bare(value) else {
        return Err(wrong_type(
            "tiles",
            value,
            "a list of tiles, as in tiles = [\"full\", 128]",
        ));
    };
    let mut tiles = Vec::with_capacity(array.elems.len());
    for element in &array.elems {
        let tile = tile("tiles", element)?;
        if tiles.iter().any(|(stated, _)| *stated == tile) {
            return Err(refuse(
                element,
                format!("tile {tile} is stated twice: keep one"),
            ));
        }
        tiles.push((tile, element.span()));
    }
    if tiles.is_empty() {
        return Err(refuse(
            value,
            "`tiles`: found an empty list, accepted are one or more tiles, as in [\"full\", 128]",
        ));
    }
    Ok(tiles)
}

/// A power: a fraction in a string, or a number.
pub(super) fn power(value: &Expr) -> syn::Result<Power> {
    let digits = match literal(value) {
        Some(Lit::Str(string)) => string.value(),
        Some(Lit::Float(float)) => float.base10_digits().to_owned(),
        Some(Lit::Int(integer)) => integer.base10_digits().to_owned(),
        _ => {
            return Err(wrong_type(
                "power",
                value,
                "a fraction from 0 to 1, as \"1/2\" or 0.5",
            ));
        }
    };
    digits.parse().map_err(|error| refuse(value, error))
}

/// A coefficient set by name, or a list of steps.
pub(super) fn coefficients(value: &Expr) -> syn::Result<CoefficientSet> {
    let Expr::Array(array) = bare(value) else {
        return match literal(value) {
            Some(Lit::Str(string)) => string
                .value()
                .parse()
                .map_err(|error| refuse(string, error)),
            _ => Err(wrong_type("coefficients", value, LIST_FORMS)),
        };
    };
    let steps = array
        .elems
        .iter()
        .map(step)
        .collect::<syn::Result<Vec<_>>>()?;
    Ok(CoefficientSet::Custom(Cow::Owned(steps)))
}

fn step(value: &Expr) -> syn::Result<[Finite; 3]> {
    let Expr::Tuple(tuple) = bare(value) else {
        return Err(wrong_type("coefficients", value, "a step (a, b, c)"));
    };
    match tuple.elems.iter().collect::<Vec<_>>()[..] {
        [a, b, c] => Ok([number(a)?, number(b)?, number(c)?]),
        _ => Err(refuse(
            value,
            format!(
                "a step of {} numbers: accepted are three, (a, b, c)",
                tuple.elems.len()
            ),
        )),
    }
}

/// A number that an `f32` holds.
fn number(value: &Expr) -> syn::Result<Finite> {
    if let Expr::Unary(ExprUnary {
        op: UnOp::Neg(_),
        expr,
        ..
    }) = bare(value)
    {
        let positive = number(expr)?;
        return Ok(Finite::new(-positive.get()).unwrap_or(positive));
    }
    let digits = match literal(value) {
        Some(Lit::Float(float)) => float.base10_digits(),
        Some(Lit::Int(integer)) => integer.base10_digits(),
        _ => return Err(wrong_type("coefficients", value, "a number, as 3.4445")),
    };
    digits.parse().map_err(|error| refuse(value, error))
}

/// A path in a string, as `crate = "my_reexport::himuon"`.
pub(super) fn text_path(value: &Expr) -> syn::Result<syn::Path> {
    match literal(value) {
        Some(Lit::Str(string)) => string.parse().map_err(|_| {
            refuse(
                string,
                format!(
                    "`crate`: found \"{}\", accepted is a path, as in \"::himuon\"",
                    string.value()
                ),
            )
        }),
        _ => Err(wrong_type(
            "crate",
            value,
            "a path in a string, as in crate = \"::himuon\"",
        )),
    }
}
