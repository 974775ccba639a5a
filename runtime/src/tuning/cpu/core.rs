//! What the model knows of a core: nominal figures, or what a quick probe finds.

use std::sync::OnceLock;

use crate::cpu::{InstructionSet, first_level_bytes, measure_latency, measure_loads, measure_peak};

/// Cycles until a sum can be added to again: what the clock is derived from. 4 from Skylake and Zen 3 on.
pub(super) const LATENCY: f64 = 4.0;
/// Numbers of a line.
const LINE: f64 = 16.0;
const LINE_BYTES: f64 = 64.0;
/// Samples of each figure; the best counts. All together take about 20 ms.
const SAMPLES: usize = 9;
/// Bytes that a level of cache surely holds, and beyond the last level.
const FIRST_LEVEL: usize = 16 << 10;
const SECOND_LEVEL: usize = 256 << 10;
const MEMORY: usize = 64 << 20;

/// A core, with one instruction set. Lines are of sixteen numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Core {
    /// Cycles a second.
    pub(super) clock: f64,
    /// Lines of fused multiply-adds a cycle.
    pub(super) fused: f64,
    /// Lines a cycle from the first level of cache.
    pub(super) first_level: f64,
    /// Bytes of the first level.
    pub(super) first_level_bytes: usize,
    /// Lines a cycle from the second level.
    pub(super) second_level: f64,
    /// Bytes a second from memory.
    pub(super) memory: f64,
}

impl Core {
    /// A core of a server or desktop of recent years. Without a probe, which an optimizer that is built does not wait for.
    pub(super) fn nominal(set: InstructionSet) -> Core {
        let lines = match set {
            InstructionSet::Avx512 => 2.0,
            InstructionSet::Avx2 => 1.0,
            InstructionSet::Portable => 0.05,
        };
        Core {
            clock: 3e9,
            fused: lines,
            first_level: lines,
            first_level_bytes: first_level_bytes(),
            second_level: lines / 2.0,
            memory: 10e9,
        }
    }

    /// This machine's, measured once in a process.
    pub(super) fn measured(set: InstructionSet) -> Core {
        static FOUND: OnceLock<Vec<(InstructionSet, Core)>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let available = InstructionSet::ALL.into_iter();
            let available = available.filter(|set| set.is_available());
            // The slow one has no rivals among its like: nothing is decided by its figures.
            let probed = available.filter(|set| *set != InstructionSet::Portable);
            probed.map(|set| (set, Core::probe(set))).collect()
        });
        let core = found.iter().find(|(known, _)| *known == set);
        core.map_or_else(|| Core::nominal(set), |(_, core)| *core)
    }

    fn probe(set: InstructionSet) -> Core {
        let clock = LATENCY / measure_latency(set, SAMPLES);
        let lines = |bytes: usize| measure_loads(set, bytes, SAMPLES) / LINE_BYTES / clock;
        Core {
            clock,
            fused: measure_peak(set, SAMPLES) / (2.0 * LINE) / clock,
            first_level: lines(FIRST_LEVEL),
            first_level_bytes: first_level_bytes(),
            second_level: lines(SECOND_LEVEL),
            memory: measure_loads(set, MEMORY, 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_finds_a_core() {
        let set = InstructionSet::best();
        let core = Core::measured(set);
        println!("measured: {set:?}: {core:.2?}");
        if set == InstructionSet::Portable {
            return;
        }
        // Wide bounds: other work shares the machine, and a build with checked arithmetic reads at a tenth of the rate.
        assert!((0.2e9..8e9).contains(&core.clock), "{core:?}");
        assert!((0.1..5.0).contains(&core.fused), "{core:?}");
        assert!(
            core.first_level > 0.02 && core.second_level > 0.01,
            "{core:?}"
        );
        assert!((1e8..2e12).contains(&core.memory), "{core:?}");
        assert_eq!(Core::measured(set), core);
    }
}
