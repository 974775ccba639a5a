//! Why an optimizer is not built.

/// Why an optimizer cannot be built as declared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Two parameters of one name.
    #[error("two parameters are named {name}; give each its own name")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A parameter without elements.
    #[error("parameter {name} has shape {shape:?} and so no element; leave it out")]
    EmptyShape {
        /// The name.
        name: String,
        /// The shape.
        shape: Vec<usize>,
    },
    /// A parameter with more elements than an address space holds bytes for.
    #[error(
        "parameter {name} has shape {shape:?}, more elements than memory can hold; check its sizes"
    )]
    LargeShape {
        /// The name.
        name: String,
        /// The shape.
        shape: Vec<usize>,
    },
    /// A pattern that is not a glob.
    #[error(
        "{pattern} is not a name pattern: {reason}; write * for any part of a name, as in blocks.*.attn.*"
    )]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// A name in a group's list that no parameter has.
    #[error(
        "group {group} names {name}, which no parameter is called; declare the parameter or correct the name"
    )]
    UnknownParameter {
        /// The group.
        group: String,
        /// The name.
        name: String,
    },
    /// A list of names under a name that another group has.
    #[error(
        "there is another group {group}; give each list of names, and each group but the rest, a name of its own"
    )]
    DuplicateGroup {
        /// The name.
        group: String,
    },
    /// A list without names.
    #[error("group {group} names no parameter; name one or remove the group")]
    EmptyGroup {
        /// The group.
        group: String,
    },
    /// A pattern that matches no parameter.
    #[error(
        "pattern {pattern} matches none of the {count} parameters (the first is {first}); correct it or remove the group{}",
        pattern_advice(pattern)
    )]
    Unmatched {
        /// The pattern.
        pattern: String,
        /// Number of parameters.
        count: usize,
        /// Name of the first.
        first: String,
    },
    /// A group of AdamW where one of tiles is needed.
    #[error(
        "group {group} is updated by AdamW, which has no momentum to set; name a group of tiles"
    )]
    NoTiles {
        /// The group's pattern.
        group: String,
    },
    /// Betas for a group of tiles.
    #[error(
        "group {group} is mapped tile by tile and has no moments, whose betas could be set; name a group of AdamW"
    )]
    NoMoments {
        /// The group's pattern.
        group: String,
    },
    /// A group without specifications.
    #[error("group {group} has no specification; declare at least one tile")]
    NoSpec {
        /// The group's pattern.
        group: String,
    },
    /// Two specifications of one tile: a schedule could not tell them apart.
    #[error("group {group} declares tile {tile} twice; keep one specification per tile")]
    DuplicateTile {
        /// The group's pattern.
        group: String,
        /// The tile.
        tile: String,
    },
    /// Specifications of one group that differ in their types.
    #[error(
        "group {group}: tile {tile} has other types ({found}) than the first ({expected}); \
         all tiles of a schedule share one weight and one momentum"
    )]
    MixedStorage {
        /// The group's pattern.
        group: String,
        /// The tile that differs.
        tile: String,
        /// Its types.
        found: String,
        /// The first specification's.
        expected: String,
    },
    /// A specification that no kernel computes.
    #[error("group {group}: {reason}")]
    Spec {
        /// The group's pattern.
        group: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Three dimensions may be a stack of matrices or a convolution.
    #[error(
        "parameter {name} has shape {shape:?}, which may be a stack of {stack} matrices or a convolution{}; \
         say which by the view of group {group}, stack or convolution",
        as_well(others)
    )]
    AmbiguousView {
        /// The first such parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Matrices if it is a stack.
        stack: usize,
        /// The group's pattern.
        group: String,
        /// The names of all others of which the same holds, in the declared order.
        others: Vec<String>,
    },
    /// Row normalisation needs rows that are outputs.
    #[error(
        "parameter {name}: row normalisation needs rows that are outputs, the layout of group {group} says that they are \
         inputs; store the weight as [out, in] or leave the normalisation out"
    )]
    RowNormalisationLayout {
        /// The parameter.
        name: String,
        /// The group's pattern.
        group: String,
    },
    /// A basis that never moves.
    #[error(
        "group {group}: the basis of a coarse part is refreshed every 0 steps, expected at least 1; for tiles alone leave \
         `coarse` out of the specification"
    )]
    CoarseRefresh {
        /// The group's pattern.
        group: String,
    },
    /// Ranks over time that do not ascend in their steps.
    #[error(
        "group {group}: the ranks of a coarse part change at ascending steps, found {found:?}; give one (step, rank) pair \
         per change"
    )]
    CoarseRanks {
        /// The group's pattern.
        group: String,
        /// The steps of the list.
        found: Vec<u64>,
    },
    /// The learning rate that groups follow.
    #[error("the learning rate is {found}, expected a finite number of at least 0")]
    LearningRate {
        /// What was given.
        found: f64,
    },
    /// An option out of its range.
    #[error("group {group}: {option} is {found}, expected {expected}")]
    Option {
        /// The group's pattern.
        group: String,
        /// Name of the option.
        option: &'static str,
        /// What was given.
        found: f64,
        /// The accepted values.
        expected: &'static str,
    },
    /// A name that no group was declared with.
    #[error("no group was declared as {found}; the groups are {groups}")]
    UnknownGroup {
        /// What was asked for.
        found: String,
        /// The patterns that were declared.
        groups: String,
    },
    /// No parameter at all.
    #[error(
        "no parameters; declare each by its name and shape, in the order in which steps pass them"
    )]
    NoParameters,
}

/// What to do about a pattern that matches nothing because of what it says beside its letters.
fn pattern_advice(pattern: &str) -> &'static str {
    match pattern.contains(['?', '[', '{']) {
        true => {
            ". In a pattern ?, [ ] and { } stand for others; write \\ before one that is part of the name"
        }
        false => "",
    }
}

/// How many others are meant, by their names where they are few.
fn as_well(others: &[String]) -> String {
    match others {
        [] => String::new(),
        _ if others.len() <= 3 => format!(", and so may {}", others.join(", ")),
        _ => format!(", and so may {} and {} others", others[0], others.len() - 1),
    }
}
