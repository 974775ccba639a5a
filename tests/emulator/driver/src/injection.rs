//! Faults on demand: the n-th allocation, copy, launch or module load fails.

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A device allocation: out of memory.
    Allocation,
    /// A copy or fill: refused when it is called.
    Copy,
    /// A kernel: faults while it executes, which destroys the context as on hardware.
    Launch,
    /// The call that launches a kernel or a graph: refused, the context stays usable.
    Submission,
    /// A module load: refused.
    Module,
}

impl Target {
    const NAMES: [(&str, Self); 5] = [
        ("allocation", Self::Allocation),
        ("copy", Self::Copy),
        ("launch", Self::Launch),
        ("submission", Self::Submission),
        ("module", Self::Module),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, target)| *target)
    }

    fn index(self) -> usize {
        Self::NAMES
            .iter()
            .position(|(_, target)| *target == self)
            .unwrap_or_default()
    }
}

/// The planned faults, and how often each target was used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Injection {
    planned: Vec<(Target, u64)>,
    used: [u64; Target::NAMES.len()],
}

impl Injection {
    /// Plans a fault of the `count`-th use, from 1.
    pub(crate) fn add(&mut self, target: Target, count: u64) {
        self.planned.push((target, count));
    }

    /// How often a target was used.
    pub(crate) fn uses(&self, target: Target) -> u64 {
        self.used[target.index()]
    }

    /// Counts one use; the number of the use if it is to fail.
    pub(crate) fn strikes(&mut self, target: Target) -> Option<u64> {
        let used = &mut self.used[target.index()];
        *used += 1;
        let count = *used;
        self.planned.contains(&(target, count)).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_planned_use_fails() {
        let mut injection = Injection::default();
        injection.add(Target::Launch, 2);
        assert_eq!(injection.strikes(Target::Allocation), None);
        assert_eq!(injection.strikes(Target::Launch), None);
        assert_eq!(injection.strikes(Target::Allocation), None);
        assert_eq!(injection.strikes(Target::Launch), Some(2));
        assert_eq!(injection.strikes(Target::Launch), None);
    }
}
