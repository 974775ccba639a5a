//! Which parameters a group is declared for.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::error::BuildError;

/// A pattern of names, or a list of them.
#[derive(Clone, Debug)]
pub(super) enum Selection {
    /// Names that match a pattern, which is also the group's name.
    Pattern(String),
    /// Names one by one, and the group's own.
    Names {
        group: String,
        names: BTreeSet<String>,
    },
}

impl Selection {
    /// The name of the group.
    pub(super) fn group(&self) -> &str {
        match self {
            Selection::Pattern(pattern) => pattern,
            Selection::Names { group, .. } => group,
        }
    }

    /// Refuses a pattern that is none, one that no parameter matches, and a name that no parameter has.
    pub(super) fn matcher(
        &self,
        parameters: &[(String, Vec<usize>)],
    ) -> Result<Matcher, BuildError> {
        let declared = || parameters.iter().map(|(name, _)| name);
        match self {
            // Names have brackets too, as in `layers[0].weight`.
            Selection::Pattern(pattern) if declared().any(|name| name == pattern) => {
                Ok(Matcher::Name(pattern.clone()))
            }
            Selection::Pattern(pattern) => {
                // A set of one: compiling it has an error where a matcher of its own would panic.
                let glob = GlobBuilder::new(pattern)
                    .backslash_escape(true)
                    .build()
                    .and_then(|glob| GlobSetBuilder::new().add(glob).build())
                    .map_err(|error| BuildError::Pattern {
                        pattern: pattern.clone(),
                        reason: error.kind().to_string(),
                    })?;
                match declared().any(|name| glob.is_match(name)) {
                    true => Ok(Matcher::Pattern(glob)),
                    false => Err(BuildError::Unmatched {
                        pattern: pattern.clone(),
                        count: parameters.len(),
                        first: parameters[0].0.clone(),
                    }),
                }
            }
            Selection::Names { group, names } => {
                let known: BTreeSet<_> = declared().collect();
                if let Some(name) = names.iter().find(|name| !known.contains(name)) {
                    return Err(BuildError::UnknownParameter {
                        group: group.clone(),
                        name: name.clone(),
                    });
                }
                match names.is_empty() {
                    true => Err(BuildError::EmptyGroup {
                        group: group.clone(),
                    }),
                    false => Ok(Matcher::Names(names.clone())),
                }
            }
        }
    }
}

/// A selection that is known to select.
pub(super) enum Matcher {
    Name(String),
    Pattern(GlobSet),
    Names(BTreeSet<String>),
}

impl Matcher {
    pub(super) fn is_match(&self, name: &str) -> bool {
        match self {
            Matcher::Name(own) => own == name,
            Matcher::Pattern(glob) => glob.is_match(name),
            Matcher::Names(names) => names.contains(name),
        }
    }

    /// Whether it was declared for more than one parameter, so that what a name says of its parameter counts.
    pub(super) fn selects_many(&self) -> bool {
        !matches!(self, Matcher::Name(_))
    }
}
