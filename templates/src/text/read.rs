//! Reading of a whole specification.

use super::values::{criterion, listed};
use crate::spec::Finite;
use crate::spec::{KernelSpec, Measure, SpecError, SpecFields};
use std::fmt;
use std::str::FromStr;

/// Why a text is not a specification.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// A value that does not read as what it stands for.
    Value {
        /// What was expected, in a word.
        what: &'static str,
        /// The text.
        found: String,
        /// The accepted values.
        accepted: String,
    },
    /// A word without `=`.
    NoValue {
        /// The word.
        found: String,
    },
    /// A key that no field has.
    UnknownKey {
        /// The key.
        found: String,
    },
    /// A key stated twice.
    RepeatedKey {
        /// The key.
        found: String,
    },
    /// The fields read well and do not go together.
    Spec(SpecError),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Value {
                what,
                found,
                accepted,
            } => write!(f, "{what}: found `{found}`, accepted: {accepted}"),
            ParseError::NoValue { found } => {
                write!(f, "found `{found}`, expected key=value, as in tile=128")
            }
            ParseError::UnknownKey { found } => {
                write!(
                    f,
                    "unknown key `{found}`, accepted are {}",
                    listed(SpecFields::KEYS)
                )
            }
            ParseError::RepeatedKey { found } => write!(f, "key `{found}` stated twice: keep one"),
            ParseError::Spec(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ParseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ParseError::Spec(error) => Some(error),
            _ => None,
        }
    }
}

impl From<SpecError> for ParseError {
    fn from(error: SpecError) -> Self {
        ParseError::Spec(error)
    }
}

impl SpecFields {
    /// Every key of the text form.
    pub const KEYS: [&'static str; 16] = [
        "tile",
        "steps",
        "power",
        "recurrence",
        "coefficients",
        "element",
        "weight",
        "momentum",
        "master_weights",
        "operand",
        "mode",
        "criterion",
        "scope",
        "otherwise",
        "coarse",
        "fine",
    ];

    /// Sets the field `key` from its text.
    ///
    /// # Errors
    /// An unknown or repeated key, or a value that does not read.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ParseError> {
        match key {
            "tile" => fill(&mut self.tile, key, value.parse()?),
            "steps" => fill(&mut self.steps, key, number("steps", value)?),
            "power" => fill(&mut self.power, key, value.parse()?),
            "recurrence" => fill(&mut self.recurrence, key, value.parse()?),
            "coefficients" => fill(&mut self.coefficients, key, value.parse()?),
            "element" => fill(&mut self.element, key, value.parse()?),
            "weight" => fill(&mut self.weight, key, value.parse()?),
            "momentum" => fill(&mut self.momentum, key, value.parse()?),
            "master_weights" => fill(
                &mut self.master_weights,
                key,
                flag("master weights", value)?,
            ),
            "operand" => fill(&mut self.operand, key, value.parse()?),
            "mode" => fill(&mut self.mode, key, value.parse()?),
            "criterion" => fill(&mut self.criterion, key, criterion(value)?),
            "scope" => fill(&mut self.scope, key, value.parse()?),
            "otherwise" => fill(&mut self.otherwise, key, value.parse()?),
            "coarse" => fill(&mut self.coarse, key, number("coarse", value)?),
            "fine" => fill(&mut self.fine, key, value.parse()?),
            _ => Err(ParseError::UnknownKey {
                found: key.to_owned(),
            }),
        }
    }

    /// The measure and threshold that the text of a criterion stands for: `always` is `None`.
    ///
    /// # Errors
    /// A name or a threshold that does not read.
    pub fn read_criterion(text: &str) -> Result<Option<(Measure, Finite)>, ParseError> {
        criterion(text)
    }
}

fn fill<T>(field: &mut Option<T>, key: &str, value: T) -> Result<(), ParseError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(ParseError::RepeatedKey {
            found: key.to_owned(),
        }),
    }
}

fn number(what: &'static str, text: &str) -> Result<u32, ParseError> {
    text.parse().map_err(|_| ParseError::Value {
        what,
        found: text.to_owned(),
        accepted: "whole numbers".to_owned(),
    })
}

fn flag(what: &'static str, text: &str) -> Result<bool, ParseError> {
    text.parse().map_err(|_| ParseError::Value {
        what,
        found: text.to_owned(),
        accepted: "true or false".to_owned(),
    })
}

/// The parts between spaces that are in no brackets.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let ends = move |character: char| {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && character.is_whitespace()
    };
    text.split(ends).filter(|word| !word.is_empty())
}

impl FromStr for KernelSpec {
    type Err = ParseError;

    /// Reads the text form; fields that are left out have their defaults, `tile` is required. Between brackets there may be spaces.
    ///
    /// ```
    /// use himuon_templates::KernelSpec;
    /// let spec: KernelSpec = "tile=64x256 coefficients=polar-express element=bf16".parse().unwrap();
    /// assert_eq!(spec, spec.to_string().parse().unwrap());
    ///
    /// let listed: KernelSpec = "tile=32 coefficients=[(3.4445, -4.775, 2.0315), (2, -1.5, 0.5)]".parse().unwrap();
    /// assert_eq!(listed.steps, 2);
    /// ```
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut fields = SpecFields::default();
        for word in words(text) {
            let (key, value) = word.split_once('=').ok_or_else(|| ParseError::NoValue {
                found: word.to_owned(),
            })?;
            fields.set(key, value)?;
        }
        Ok(fields.resolve()?)
    }
}
