//! Why an optimizer is not built, or a step not taken.

use himuon_templates::Element;

use crate::backend::BackendError;

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
        "parameter {name} has shape {shape:?}, which may be a stack of {stack} matrices or a convolution; \
         say which by the view of group {group}, stack or convolution"
    )]
    AmbiguousView {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Matrices if it is a stack.
        stack: usize,
        /// The group's pattern.
        group: String,
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

/// Why a step was not taken, or failed. All but [`StepError::Torn`] and [`StepError::Lost`] leave
/// every bit as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// Another number of parameters than declared.
    #[error(
        "the step got {found} parameters, {expected} are declared; pass all of them in the declared order, those without a gradient with None"
    )]
    Count {
        /// What was passed.
        found: usize,
        /// What was declared.
        expected: usize,
    },
    /// A tensor of another size than declared.
    #[error(
        "parameter {name}: the {tensor} has {found} numbers, its shape {shape:?} has {expected}; pass it contiguous and in the declared order"
    )]
    Length {
        /// The parameter.
        name: String,
        /// `weight` or `gradient`.
        tensor: &'static str,
        /// What was passed.
        found: usize,
        /// What the shape says.
        expected: usize,
        /// The declared shape.
        shape: Vec<usize>,
    },
    /// A strided tensor whose rows are not those of the parameter's matrices.
    #[error(
        "parameter {name}: the {tensor} has rows of {found} numbers that start {leading} apart, expected rows of {expected} that start at least as far apart; pass it as the matrices it is cut into, or contiguous"
    )]
    Rows {
        /// The parameter.
        name: String,
        /// `weight` or `gradient`.
        tensor: &'static str,
        /// Numbers of a row as passed.
        found: usize,
        /// Numbers from one row to the next.
        leading: usize,
        /// Columns of the parameter's matrices.
        expected: usize,
    },
    /// A tensor of another type than declared.
    #[error(
        "parameter {name}: the {tensor} is {found:?}, expected {expected:?}; {}", type_advice(tensor, *found)
    )]
    Type {
        /// The parameter.
        name: String,
        /// `weight` or `gradient`.
        tensor: &'static str,
        /// What was passed.
        found: Element,
        /// What the specification or the weight says.
        expected: Element,
    },
    /// AdamW keeps master weights beside bf16 weights alone.
    #[error(
        "parameter {name}: found {found:?} weights, master weights are kept beside Bf16 ones; put it into a group of AdamW \
         that does not ask for them (an F32 weight is its own master), or convert it"
    )]
    MasterWeights {
        /// The parameter.
        name: String,
        /// The type of its weights.
        found: Element,
    },
    /// A learning rate that is not a finite number at least 0.
    #[error(
        "group {group}: the learning rate is {found}, expected a finite number of at least 0; set another"
    )]
    LearningRate {
        /// The group's pattern.
        group: String,
        /// The rate.
        found: f64,
    },
    /// Decay by more than the whole weight.
    #[error(
        "group {group}: learning rate {learning_rate} times weight decay {weight_decay} is above 1, the step would flip the weights; lower one of them"
    )]
    Decay {
        /// The group's pattern.
        group: String,
        /// The learning rate.
        learning_rate: f64,
        /// The weight decay.
        weight_decay: f64,
    },
    /// A NaN or an infinity under [`NonFinitePolicy::Error`](super::NonFinitePolicy::Error).
    #[error(
        "parameter {name}: the {tensor} holds a NaN or an infinity; nothing was changed. Lower the learning rate or clip gradients, or choose the policy that skips the tile"
    )]
    NonFinite {
        /// The parameter.
        name: String,
        /// `gradient` or `momentum`.
        tensor: &'static str,
    },
    /// A launch failed after others had changed weights; under [`Protection::Snapshot`](super::Protection::Snapshot) it is
    /// [`StepError::Restored`] instead.
    #[error(
        "the step was torn: launch {launched} of {total} failed ({source}); load a saved state and weights"
    )]
    Torn {
        /// Launches that had been submitted.
        launched: usize,
        /// Launches of the step.
        total: usize,
        /// What the device said.
        #[source]
        source: BackendError,
    },
    /// A launch of this step or an earlier one failed while it ran, which destroys everything in the device's memory,
    /// a snapshot too.
    #[error(
        "a launch of this step or an earlier one failed while it ran ({source}); load a saved state and weights, where the device is lost in a new process"
    )]
    Lost {
        /// What the device said.
        #[source]
        source: BackendError,
    },
    /// A step that cannot be recorded, or a replay that cannot be followed.
    #[error("the step cannot be recorded or replayed: {reason}")]
    Recording {
        /// What was found and what to do.
        reason: String,
    },
    /// An earlier step was torn.
    #[error(
        "an earlier step was torn after {launched} of {total} launches; load a saved state with its weights before the next step"
    )]
    StillTorn {
        /// Launches that had been submitted.
        launched: usize,
        /// Launches of that step.
        total: usize,
    },
    /// A launch failed and the snapshot was put back.
    #[error(
        "launch {launched} of {total} failed ({source}); weights and state are as before the step"
    )]
    Restored {
        /// Launches that had been submitted.
        launched: usize,
        /// Launches of the step.
        total: usize,
        /// What the device said.
        #[source]
        source: BackendError,
    },
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

/// What to do about a tensor of another type.
fn type_advice(tensor: &str, found: Element) -> String {
    if tensor == "weight" {
        format!(
            "declare it as such, by element = \"{found}\" in an attribute or weight={found} in a specification, or convert it"
        )
    } else {
        "convert it to the weight's type".to_owned()
    }
}
