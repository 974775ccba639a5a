//! Reading of single values.

use super::print::Named;
use super::read::ParseError;
use crate::spec::{
    CoefficientSet, Element, Fine, Finite, Measure, Mode, Operand, Otherwise, Power,
    RecurrenceName, Scope, Tile,
};
use std::borrow::Cow;
use std::str::FromStr;

fn refuse(what: &'static str, found: &str, accepted: impl Into<String>) -> ParseError {
    ParseError::Value {
        what,
        found: found.to_owned(),
        accepted: accepted.into(),
    }
}

/// `a, b or c`.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn by_name<T: Named>(text: &str) -> Result<T, ParseError> {
    T::NAMES
        .iter()
        .find(|(_, name)| *name == text)
        .map(|(value, _)| *value)
        .ok_or_else(|| {
            refuse(
                T::WHAT,
                text,
                listed(T::NAMES.iter().map(|(_, name)| *name)),
            )
        })
}

macro_rules! read_by_name {
    ($($type:ident),+) => {$(
        impl FromStr for $type {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                by_name(text)
            }
        }
    )+};
}
read_by_name!(
    Element,
    Operand,
    Mode,
    Measure,
    Scope,
    Otherwise,
    Fine,
    RecurrenceName
);

impl FromStr for Tile {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refused = || {
            refuse(
                "tile",
                text,
                "an edge (128), rows x columns (64x256) or full",
            )
        };
        if text == "full" {
            return Ok(Tile::Full);
        }
        let edge = |text: &str| text.parse::<u32>().map_err(|_| refused());
        match text.split_once('x') {
            Some((rows, columns)) => Ok(Tile::Sized {
                rows: edge(rows)?,
                columns: edge(columns)?,
            }),
            None => edge(text).map(Tile::square),
        }
    }
}

impl FromStr for Power {
    type Err = ParseError;

    /// A fraction (`1/2`) or a decimal, taken exactly (`0.5` is 1/2, `0.33` is 33/100).
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (numerator, denominator) = match text.split_once('/') {
            Some((numerator, denominator)) => (numerator.parse().ok(), denominator.parse().ok()),
            None => decimal(text),
        };
        numerator
            .zip(denominator)
            .and_then(|(numerator, denominator)| Power::new(numerator, denominator))
            .ok_or_else(|| refuse("power", text, "a fraction from 0 to 1, as 1/2 or 0.5"))
    }
}

/// A decimal of at most nine places as a fraction.
fn decimal(text: &str) -> (Option<u32>, Option<u32>) {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    if places.len() > 9 || !places.bytes().all(|byte| byte.is_ascii_digit()) {
        return (None, None);
    }
    let scale = 10_u32.pow(places.len() as u32);
    let whole = whole
        .parse::<u32>()
        .ok()
        .and_then(|whole| whole.checked_mul(scale));
    let places = if places.is_empty() {
        Some(0)
    } else {
        places.parse::<u32>().ok()
    };
    let numerator = whole
        .zip(places)
        .and_then(|(whole, places)| whole.checked_add(places));
    (numerator, Some(scale))
}

impl FromStr for Finite {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.trim()
            .parse()
            .ok()
            .and_then(Finite::new)
            .ok_or_else(|| refuse("number", text, "a finite decimal that an f32 can hold"))
    }
}

/// `name(argument)` or `name`.
fn call(text: &str) -> (&str, Option<&str>) {
    match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    }
}

impl FromStr for CoefficientSet {
    type Err = ParseError;

    /// A name, `minimax`, `minimax(1e-3)`, or a list `[(a,b,c),(a,b,c)]`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        if let Some(list) = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
        {
            return read_list(list);
        }
        let named = Self::NAMES.iter().find(|(name, _)| *name == text);
        match (named, call(text)) {
            (Some((_, set)), _) => Ok(set.clone()),
            (None, ("minimax", argument)) => Ok(CoefficientSet::Minimax {
                lower: match argument {
                    Some(argument) => argument.parse()?,
                    None => Finite::new(Self::DEFAULT_LOWER).unwrap_or(Finite::ZERO),
                },
            }),
            _ => Err(refuse(
                "coefficients",
                text,
                format!(
                    "{}, minimax(lower) or a list [(a,b,c),(a,b,c)]",
                    Self::NAMES.map(|(name, _)| name).join(", ")
                ),
            )),
        }
    }
}

fn read_list(text: &str) -> Result<CoefficientSet, ParseError> {
    let refused = |found: &str| {
        refuse(
            "coefficient list",
            found,
            "steps of three, as [(a,b,c),(a,b,c)]",
        )
    };
    let mut list = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (step, after) = rest
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .ok_or_else(|| refused(rest))?;
        let numbers = step
            .split(',')
            .map(str::parse::<Finite>)
            .collect::<Result<Vec<_>, _>>()?;
        list.push(<[Finite; 3]>::try_from(numbers).map_err(|_| refused(step))?);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return Err(refused(after)),
        };
    }
    Ok(CoefficientSet::Custom(Cow::Owned(list)))
}

/// `always`, or a measure with its threshold.
pub(super) fn criterion(text: &str) -> Result<Option<(Measure, Finite)>, ParseError> {
    match call(text) {
        ("always", None) => Ok(None),
        (name, Some(threshold)) if !threshold.is_empty() => {
            Ok(Some((name.parse()?, threshold.parse()?)))
        }
        _ => Err(refuse(
            "criterion",
            text,
            "always, fro_norm(t), effective_rank(t), nuclear_rank(t) or min_gap(t)",
        )),
    }
}
