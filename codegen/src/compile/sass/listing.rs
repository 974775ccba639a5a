//! Functions as `nvdisasm` lists them.

use std::collections::BTreeMap;
use std::ops::Range;

/// A function: its instructions in order, and where its labels stand.
#[derive(Default)]
pub(super) struct Function<'a> {
    pub(super) instructions: Vec<&'a str>,
    /// Labels with the number of the instruction that they stand before.
    pub(super) labels: BTreeMap<&'a str, usize>,
}

/// Reads a listing: `.section .text.NAME` opens a function, `NAME:` is a label, `/*ADDRESS*/ ... ;` an instruction.
pub(super) fn functions(listing: &str) -> BTreeMap<String, Function<'_>> {
    let mut functions: BTreeMap<String, Function<'_>> = BTreeMap::new();
    let mut current = None;
    for line in listing.lines().map(str::trim) {
        if let Some(section) = directive(line, ".section") {
            current = section
                .strip_prefix(".text.")
                .map(|name| name.split(',').next().unwrap_or(name).to_owned());
        } else if let Some(name) = &current {
            functions.entry(name.clone()).or_default().read(line);
        }
    }
    functions.values_mut().for_each(Function::drop_padding);
    functions
}

fn directive<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?;
    rest.starts_with(char::is_whitespace).then(|| rest.trim())
}

impl<'a> Function<'a> {
    fn read(&mut self, line: &'a str) {
        if let Some(label) = line.strip_suffix(':') {
            self.labels.insert(label, self.instructions.len());
        } else if let Some((_, text)) = line
            .strip_prefix("/*")
            .and_then(|rest| rest.split_once("*/"))
        {
            let text = text.split(';').next().unwrap_or(text).trim();
            if !text.is_empty() {
                self.instructions.push(text);
            }
        }
    }

    /// A function ends in idle instructions.
    fn drop_padding(&mut self) {
        while self
            .instructions
            .last()
            .is_some_and(|text| operation(text) == "NOP")
        {
            self.instructions.pop();
        }
    }

    /// Where a branch goes.
    pub(super) fn target(&self, text: &str) -> Option<usize> {
        let label = text.split("`(").nth(1)?.split(')').next()?;
        self.labels.get(label).copied()
    }

    /// The loop over the steps, from the target of a backward branch to the branch: the shortest of those with the most
    /// tensor instructions, since code that is moved out of the way also branches back over much that is no loop. Without
    /// tensor instructions the longest.
    pub(super) fn main_loop(&self) -> Range<usize> {
        let loops = self
            .instructions
            .iter()
            .enumerate()
            .filter_map(|(at, text)| {
                let first = self.target(text)?;
                (stem(text) == "BRA" && first < at).then_some(first..at + 1)
            });
        let rank = |body: &Range<usize>| {
            let instructions = &self.instructions[body.clone()];
            let tensor = instructions
                .iter()
                .filter(|text| super::kind(text) == "tensor")
                .count();
            let length = instructions.len() as i64;
            (tensor, if tensor > 0 { -length } else { length })
        };
        loops.max_by_key(rank).unwrap_or(0..0)
    }
}

/// The operation of an instruction with its modifiers, without its predicate.
pub(super) fn operation(text: &str) -> &str {
    text.split_whitespace()
        .find(|word| !word.starts_with('@'))
        .unwrap_or_default()
}

/// The operation without modifiers.
pub(super) fn stem(text: &str) -> &str {
    let operation = operation(text);
    operation.split('.').next().unwrap_or(operation)
}
