//! Why a specification is refused.

use super::{CoefficientSet, Element, Finite, Measure, Operand, Power, Recurrence};
use crate::coefficients::MAX_STEPS;
use std::fmt;

/// The field of a specification that an error is about, so that a front end can point at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `tile`.
    Tile,
    /// `steps`.
    Steps,
    /// `power`.
    Power,
    /// `recurrence`.
    Recurrence,
    /// `coefficients`.
    Coefficients,
    /// `weight`.
    Weight,
    /// `momentum`.
    Momentum,
    /// `master_weights`.
    MasterWeights,
    /// `operand`.
    Operand,
    /// `mode`.
    Mode,
    /// `criterion`.
    Criterion,
    /// `scope`, what a criterion decides together.
    Scope,
    /// `otherwise`, what a tile that fails the criterion gets.
    Otherwise,
    /// `coarse`.
    Coarse,
    /// `fine`, what the tiles add to a coarse part.
    Fine,
}

impl Field {
    /// The key of the field in the text form and in the attribute.
    pub const fn key(self) -> &'static str {
        match self {
            Field::Tile => "tile",
            Field::Steps => "steps",
            Field::Power => "power",
            Field::Recurrence => "recurrence",
            Field::Coefficients => "coefficients",
            Field::Weight => "weight",
            Field::Momentum => "momentum",
            Field::MasterWeights => "master_weights",
            Field::Operand => "operand",
            Field::Mode => "mode",
            Field::Criterion => "criterion",
            Field::Scope => "scope",
            Field::Otherwise => "otherwise",
            Field::Coarse => "coarse",
            Field::Fine => "fine",
        }
    }
}

/// Why a specification is refused. The text says what was found, what is accepted and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// No tile was stated.
    MissingTile,
    /// An edge of the tile is out of range.
    TileEdge {
        /// The edge.
        found: u32,
    },
    /// The number of steps is not one that the coefficients are made for.
    Steps {
        /// The iteration.
        recurrence: Recurrence,
        /// The number of steps.
        found: u32,
    },
    /// The recurrence cannot compute this power.
    Pairing {
        /// The iteration.
        recurrence: Recurrence,
        /// The power.
        power: Power,
    },
    /// Coefficients were stated together with a recurrence that has its own.
    CoefficientsWithRecurrence {
        /// The iteration.
        recurrence: Recurrence,
    },
    /// The lower bound of `minimax` is out of range.
    Lower {
        /// The bound.
        found: Finite,
    },
    /// A custom list is empty or too long.
    ListLength {
        /// Its length.
        found: usize,
    },
    /// A custom list leaves the bound |s_K| <= 2 on (0, 1.01].
    Unbounded {
        /// The first singular value where it does.
        at: Finite,
        /// s_K there; `None` if it is not a finite number.
        value: Option<Finite>,
    },
    /// The threshold of a criterion is out of range.
    Threshold {
        /// What is measured.
        measure: Measure,
        /// The threshold.
        found: Finite,
    },
    /// A criterion decides about the polar factor, which is p = 0.
    CriterionWithPower {
        /// The power.
        power: Power,
    },
    /// `scope` or `otherwise` without a criterion.
    WithoutCriterion {
        /// Which of the two.
        field: Field,
    },
    /// Momentum in f16 would overflow and underflow.
    MomentumType,
    /// An f32 master weight is kept beside a bf16 weight alone.
    MasterWeights {
        /// Type of the weight.
        weight: Element,
    },
    /// The published rounding points are defined for Newton-Schulz after the Frobenius norm alone.
    ReferenceRecurrence {
        /// The iteration.
        recurrence: Recurrence,
    },
    /// The published rounding points make every operand a bf16 number.
    ReferenceOperand {
        /// The operand type.
        found: Operand,
    },
    /// The published code keeps the momentum in the gradient's type.
    ReferenceMomentum {
        /// Type of weight and gradient.
        weight: Element,
        /// Type of the momentum.
        momentum: Element,
    },
    /// The rank of a coarse part is out of range.
    CoarseRank {
        /// The rank.
        found: u32,
    },
    /// A coarse part together with a field that leaves it nothing to do, or no meaning.
    CoarseWith {
        /// Which, and why.
        conflict: &'static str,
    },
    /// `fine` without a coarse part.
    FineWithoutCoarse,
}

impl SpecError {
    /// The field that should be changed.
    pub fn field(&self) -> Field {
        match self {
            SpecError::MissingTile | SpecError::TileEdge { .. } => Field::Tile,
            SpecError::Steps { .. } => Field::Steps,
            SpecError::Pairing {
                recurrence: Recurrence::NewtonSchulz(_),
                ..
            } => Field::Coefficients,
            SpecError::Pairing { .. } => Field::Recurrence,
            SpecError::CoefficientsWithRecurrence { .. }
            | SpecError::Lower { .. }
            | SpecError::ListLength { .. }
            | SpecError::Unbounded { .. } => Field::Coefficients,
            SpecError::Threshold { .. } | SpecError::CriterionWithPower { .. } => Field::Criterion,
            SpecError::WithoutCriterion { field } => *field,
            SpecError::MomentumType | SpecError::ReferenceMomentum { .. } => Field::Momentum,
            SpecError::MasterWeights { .. } => Field::MasterWeights,
            SpecError::ReferenceRecurrence { .. } => Field::Mode,
            SpecError::ReferenceOperand { .. } => Field::Operand,
            SpecError::CoarseRank { .. } | SpecError::CoarseWith { .. } => Field::Coarse,
            SpecError::FineWithoutCoarse => Field::Fine,
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpecError::MissingTile => {
                f.write_str("no tile: state one, as an edge (128), (rows, columns) or \"full\"")
            }
            SpecError::TileEdge { found } => write!(
                f,
                "tile edge out of range: found {found}, accepted are 1 to {}; \"full\" takes the whole matrix",
                super::MAX_TILE_EDGE
            ),
            SpecError::Steps { recurrence, found } => write_steps(f, recurrence, *found),
            SpecError::Pairing { recurrence, power } => write_pairing(f, recurrence, *power),
            SpecError::CoefficientsWithRecurrence { recurrence } => write!(
                f,
                "the recurrence {recurrence} has its own coefficients; leave `coefficients` out, \
                 or use power 0 to choose a set"
            ),
            SpecError::Lower { found } => write!(
                f,
                "lower bound of minimax out of range: found {found}, accepted are 1e-6 to 0.9"
            ),
            SpecError::ListLength { found } => write!(
                f,
                "length of a coefficient list out of range: found {found}, accepted are 1 to {MAX_STEPS} steps (a, b, c)"
            ),
            SpecError::Unbounded { at, value } => {
                let value = value.map_or("no finite number".to_owned(), |value| value.to_string());
                write!(
                    f,
                    "custom coefficients leave the bound |s_K| <= 2 on (0, 1.01]: found {value} at {at}; \
                     divide (a, b, c) of each step but the last by (s, s^3, s^5), s = 1.01"
                )
            }
            SpecError::Threshold { measure, found } => {
                let accepted = match measure {
                    Measure::FroNorm => "at least 0",
                    _ => "0 to 1",
                };
                write!(
                    f,
                    "threshold of {measure} out of range: found {found}, accepted is {accepted}"
                )
            }
            SpecError::CriterionWithPower { power } => write!(
                f,
                "a criterion chooses between the polar factor (power 0) and the momentum: found power {power}; \
                 use power 0 or leave the criterion out"
            ),
            SpecError::WithoutCriterion { field } => write!(
                f,
                "`{}` without a criterion: state `criterion` (fro_norm(t), effective_rank(t), nuclear_rank(t) \
                 or min_gap(t)), or leave `{}` out",
                field.key(),
                field.key()
            ),
            SpecError::MomentumType => f.write_str(
                "momentum type: found f16, accepted are f32 or bf16 (f16 has too small a range)",
            ),
            SpecError::MasterWeights { weight } => write!(
                f,
                "master weights: found weight {weight}, accepted is bf16; {}",
                match weight {
                    Element::F16 =>
                        "16 more bits do not make an f32 of an f16 weight, whose exponent has fewer bits: use \
                         weight bf16, or f32 weights and gradients",
                    _ => "an f32 weight is its own master: leave `master_weights` out",
                }
            ),
            SpecError::ReferenceRecurrence { recurrence } => write!(
                f,
                "mode \"reference\" rounds as the published Newton-Schulz does and is not defined for {recurrence}; \
                 use mode \"accurate\", or power 0 with a set other than turbo"
            ),
            SpecError::ReferenceOperand { found } => write!(
                f,
                "mode \"reference\" rounds every operand to bf16: found operand {found}, accepted are f32 or bf16"
            ),
            SpecError::ReferenceMomentum { weight, momentum } => write!(
                f,
                "mode \"reference\" keeps the momentum in the gradient's type: found {momentum}, \
                 use momentum {weight} or mode \"accurate\""
            ),
            SpecError::CoarseRank { found } => write!(
                f,
                "coarse rank out of range: found {found}, accepted are 1 to {}, and 0 for tiles alone",
                super::MAX_COARSE_RANK
            ),
            SpecError::CoarseWith { conflict } => write!(
                f,
                "a coarse part does not go with this: {conflict}; leave `coarse` out"
            ),
            SpecError::FineWithoutCoarse => f.write_str(
                "`fine` without a coarse part: state `coarse`, a rank of at least 1, or leave `fine` out",
            ),
        }
    }
}

fn write_steps(f: &mut fmt::Formatter<'_>, recurrence: &Recurrence, found: u32) -> fmt::Result {
    let range = recurrence.accepted_steps();
    write!(f, "steps: found {found}, accepted for ")?;
    match recurrence {
        Recurrence::NewtonSchulz(CoefficientSet::Custom(list)) => {
            return write!(f, "this list of coefficients is its length, {}", list.len());
        }
        Recurrence::Identity => {
            return f.write_str("power 1 is 0: nothing is iterated, leave `steps` out");
        }
        Recurrence::NewtonSchulz(set) => write!(f, "coefficients {set}")?,
        named => write!(f, "the recurrence {named}")?,
    }
    if range.start() == range.end() {
        write!(f, " is {}", range.start())?;
    } else {
        write!(f, " are {} to {}", range.start(), range.end())?;
    }
    match recurrence {
        Recurrence::NewtonSchulz(_) if (1..*range.start()).contains(&found) => f.write_str(
            " (a list cut short is far from its design; minimax(1e-3) is built for any number from 1 to 10)",
        ),
        _ => Ok(()),
    }
}

fn write_pairing(f: &mut fmt::Formatter<'_>, recurrence: &Recurrence, power: Power) -> fmt::Result {
    let fitted = "1/4, 1/3, 1/2, 2/3 or 3/4";
    match recurrence {
        Recurrence::NewtonSchulz(set) => write!(
            f,
            "coefficients {set} go with power 0: found power {power}; leave `coefficients` out (0 < power < 1 \
             takes the recurrence fitted, coupled or authors, power 1 takes none)"
        ),
        Recurrence::Fitted => write!(
            f,
            "the recurrence fitted goes with power {fitted}: found power {power}; \
             the recurrence coupled goes with any power whose denominator is at most 8"
        ),
        Recurrence::Coupled => write!(
            f,
            "the recurrence coupled goes with 0 < power < 1 whose denominator is at most 8, as 2/5: found power {power}"
        ),
        Recurrence::Authors => write!(
            f,
            "the recurrence authors goes with power 1/3: found power {power}; use fitted ({fitted}) or coupled"
        ),
        Recurrence::Identity => write!(
            f,
            "the recurrence identity goes with power 1: found power {power}"
        ),
    }
}

impl std::error::Error for SpecError {}
