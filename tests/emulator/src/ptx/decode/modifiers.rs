//! The suffixes of an opcode. Each family takes those that it knows; what is left over is an error, so that no
//! modifier is ever ignored by accident.

use crate::lanes::rounding::Mode;
use crate::ptx::types::Type;

/// An opcode taken apart: `ld`, then `global`, `v4`, `b32`.
#[derive(Debug, Clone)]
pub(super) struct Modifiers<'a> {
    name: &'a str,
    rest: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    pub(super) fn new(opcode: &'a str) -> Self {
        let mut parts = opcode.split('.');
        let name = parts.next().unwrap_or("");
        Self {
            name,
            rest: parts.collect(),
        }
    }

    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Removes a suffix and says whether it was there.
    pub(super) fn take(&mut self, suffix: &str) -> bool {
        let found = self.rest.iter().position(|part| *part == suffix);
        if let Some(index) = found {
            self.rest.remove(index);
        }
        found.is_some()
    }

    /// Whether a suffix is there.
    pub(super) fn has(&self, suffix: &str) -> bool {
        self.rest.contains(&suffix)
    }

    /// Removes the first suffix that `known` maps to something.
    pub(super) fn take_map<T>(&mut self, known: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (index, value) = self
            .rest
            .iter()
            .enumerate()
            .find_map(|(index, part)| known(part).map(|value| (index, value)))?;
        self.rest.remove(index);
        Some(value)
    }

    /// Removes every suffix for which `known` holds.
    pub(super) fn drop_all(&mut self, known: impl Fn(&str) -> bool) {
        self.rest.retain(|part| !known(part));
    }

    /// Removes the next type suffix.
    pub(super) fn take_type(&mut self) -> Option<Type> {
        self.take_map(Type::from_suffix)
    }

    /// Removes a rounding mode to floating point.
    pub(super) fn take_rounding(&mut self) -> Option<Mode> {
        self.take_map(|suffix| {
            Some(match suffix {
                "rn" => Mode::NearestEven,
                "rna" => Mode::NearestAway,
                "rz" => Mode::Zero,
                "rm" => Mode::Down,
                "rp" => Mode::Up,
                _ => return None,
            })
        })
    }

    /// Removes a rounding mode to an integer.
    pub(super) fn take_integral_rounding(&mut self) -> Option<Mode> {
        self.take_map(|suffix| {
            Some(match suffix {
                "rni" => Mode::NearestEven,
                "rzi" => Mode::Zero,
                "rmi" => Mode::Down,
                "rpi" => Mode::Up,
                _ => return None,
            })
        })
    }

    /// Removes cache and eviction hints, which change no result.
    pub(super) fn drop_cache_hints(&mut self) {
        self.drop_all(|suffix| {
            matches!(
                suffix,
                "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "nc" | "unified"
            ) || ((suffix.starts_with("L1::") || suffix.starts_with("L2::"))
                && suffix != "L2::cache_hint")
        });
    }

    /// What nobody took.
    pub(super) fn left(&self) -> &[&'a str] {
        &self.rest
    }
}
