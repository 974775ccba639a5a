//! Why a step is not taken.

use himuon_templates::Element;

use crate::backend::BackendError;

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
    /// A tensor that the optimizer's kernels cannot use.
    #[error(
        "parameter {name}: the {tensor} {reason}; an optimizer takes tensors of its own device, borrowed for its own stream"
    )]
    Place {
        /// The parameter.
        name: String,
        /// `weight` or `gradient`.
        tensor: &'static str,
        /// Why not.
        reason: &'static str,
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
    /// A NaN or an infinity under [`NonFinitePolicy::Error`](crate::optimizer::NonFinitePolicy::Error).
    #[error(
        "parameter {name}: the {tensor} holds a NaN or an infinity; nothing was changed. Lower the learning rate or clip gradients, or choose the policy that skips the tile"
    )]
    NonFinite {
        /// The parameter.
        name: String,
        /// `gradient` or `momentum`.
        tensor: &'static str,
    },
    /// A launch failed after others had changed weights; under [`Protection::Snapshot`](crate::optimizer::Protection::Snapshot) it is
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
