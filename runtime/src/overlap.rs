//! Buffers that must not share memory: for bindings, which get bare addresses.

use std::fmt;
use std::ops::Range;

/// A buffer of a step, by its place among its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operand {
    /// The gradient of this parameter.
    Gradient(usize),
    /// The weight of this parameter.
    Weight(usize),
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Gradient(index) => write!(f, "gradient {index}"),
            Operand::Weight(index) => write!(f, "weight {index}"),
        }
    }
}

/// Two buffers, given as address ranges, that overlap though one of them is a weight, which is written to: in the order of
/// their addresses. Gradients may share memory with each other. `None` where every weight is apart from all others.
///
/// ```
/// use himuon::overlap::{Operand, overlap};
///
/// assert_eq!(overlap(&[0..8, 8..16], &[Some(16..24), Some(16..24)]), None);
/// let found = overlap(&[0..8, 8..16], &[None, Some(12..20)]);
/// assert_eq!(found, Some((Operand::Weight(1), Operand::Gradient(1))));
/// ```
pub fn overlap(
    weights: &[Range<usize>],
    gradients: &[Option<Range<usize>>],
) -> Option<(Operand, Operand)> {
    let weights = weights.iter().cloned().enumerate();
    let weights = weights.map(|(index, range)| (range, Operand::Weight(index)));
    let gradients = gradients.iter().cloned().enumerate();
    let gradients = gradients.filter_map(|(index, range)| Some((range?, Operand::Gradient(index))));
    let mut ranges: Vec<_> = weights.chain(gradients).collect();
    ranges.retain(|(range, _)| range.start < range.end);
    ranges.sort_by_key(|(range, operand)| (range.start, range.end, *operand));
    // The furthest end so far, of all and of weights alone.
    let (mut furthest, mut furthest_weight) = (None::<(usize, Operand)>, None::<(usize, Operand)>);
    for (range, operand) in ranges {
        let is_weight = matches!(operand, Operand::Weight(_));
        let before = if is_weight { furthest } else { furthest_weight };
        if let Some((_, other)) = before.filter(|(end, _)| *end > range.start) {
            return Some((other, operand));
        }
        let reaches = Some((range.end, operand));
        furthest = furthest.max(reaches);
        if is_weight {
            furthest_weight = furthest_weight.max(reaches);
        }
    }
    None
}
