//! How many instructions a warp issues: the longest way through a function.

use super::listing::{Function, operation, stem};
use std::collections::BTreeSet;
use std::ops::Range;

/// Accesses of single numbers in a row that only a ragged or unaligned tile makes.
const SINGLE_ACCESSES: usize = 4;

/// Instructions outside of `body` on the longest way from the first instruction to an end; loops other than `body`
/// count once, subroutines (of square roots and divisions of extreme numbers) not at all. With `whole_tile` no way
/// leads through code that accesses global memory number by number.
pub(super) fn longest(function: &Function<'_>, body: &Range<usize>, whole_tile: bool) -> u32 {
    let count = function.instructions.len();
    let mut closed = vec![false; count];
    if whole_tile {
        for block in blocks(function) {
            let single = function.instructions[block.clone()]
                .iter()
                .filter(|text| accesses_one_number(text));
            if single.count() >= SINGLE_ACCESSES {
                closed[block].fill(true);
            }
        }
    }
    // Only ways forward are followed, so that everything behind an instruction is known when its turn comes.
    let mut best: Vec<Option<u32>> = vec![None; count];
    for at in (0..count).rev() {
        let (branch, next) = ways(function, at);
        if closed[at] {
            continue;
        }
        let weight = u32::from(!body.contains(&at));
        best[at] = match (branch, next) {
            (None, None) => Some(weight),
            (branch, next) => [branch, next]
                .into_iter()
                .flatten()
                .filter_map(|to| best.get(to).copied().flatten())
                .max()
                .map(|rest| rest + weight),
        };
    }
    best.first().copied().flatten().unwrap_or(0)
}

/// Where a warp goes after an instruction: by a branch forward, and to the next one.
fn ways(function: &Function<'_>, at: usize) -> (Option<usize>, Option<usize>) {
    let text = function.instructions[at];
    let next = Some(at + 1);
    match stem(text) {
        "BRA" => match function.target(text) {
            Some(target) if target > at => (Some(target), is_conditional(text).then_some(at + 1)),
            // Backward: the loop ends at some time.
            _ => (None, next),
        },
        "EXIT" | "RET" if !is_conditional(text) => (None, None),
        _ => (None, next),
    }
}

/// A predicate in front, or as an operand.
fn is_conditional(text: &str) -> bool {
    let operands = text
        .split_once(operation(text))
        .map_or("", |(_, operands)| operands);
    let before_target = operands.split("`(").next().unwrap_or_default();
    text.starts_with('@') || (stem(text) == "BRA" && before_target.contains('P'))
}

fn accesses_one_number(text: &str) -> bool {
    let operation = operation(text);
    matches!(stem(text), "LDG" | "STG")
        && !operation
            .split('.')
            .any(|modifier| modifier == "64" || modifier == "128")
}

/// Stretches without a label inside and with a branch at their end only.
fn blocks(function: &Function<'_>) -> impl Iterator<Item = Range<usize>> {
    let count = function.instructions.len();
    let ends = function
        .instructions
        .iter()
        .enumerate()
        .filter(|(_, text)| matches!(stem(text), "BRA" | "EXIT" | "RET"))
        .map(|(at, _)| at + 1);
    let bounds: BTreeSet<usize> = [0, count]
        .into_iter()
        .chain(function.labels.values().copied())
        .chain(ends)
        .filter(|bound| *bound <= count)
        .collect();
    let starts: Vec<usize> = bounds.iter().copied().collect();
    starts
        .windows(2)
        .map(|pair| pair[0]..pair[1])
        .collect::<Vec<_>>()
        .into_iter()
}
