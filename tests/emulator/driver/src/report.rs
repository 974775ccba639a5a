//! What happened: messages to stderr, the last fault, and counters by kernel.

use std::collections::BTreeMap;
use std::io::Write as _;

use himuon_emulator::Counters;
use serde_json::{Value, json};

/// Counters of all launches of one kernel.
#[derive(Debug, Default)]
struct KernelReport {
    launches: u64,
    counters: Counters,
}

/// Kept for the program to ask.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    kernels: BTreeMap<String, KernelReport>,
    pub(crate) last_message: Option<String>,
}

impl Reports {
    pub(crate) fn count(&mut self, kernel: &str, counters: &Counters) {
        let report = self.kernels.entry(kernel.to_owned()).or_default();
        report.launches += 1;
        report.counters.merge(counters);
    }

    pub(crate) fn forget_kernels(&mut self) {
        self.kernels.clear();
    }

    /// Prints a message and keeps it.
    pub(crate) fn tell(&mut self, message: String) {
        announce(&message);
        self.last_message = Some(message);
    }

    /// `{"kernel name": {"launches": 2, "warp_instructions": ...}}`.
    pub(crate) fn to_json(&self) -> String {
        let kernels = self
            .kernels
            .iter()
            .map(|(name, report)| (name.clone(), report.to_json()));
        Value::Object(kernels.collect()).to_string()
    }
}

impl KernelReport {
    fn to_json(&self) -> Value {
        let counters = &self.counters;
        let by_kind: serde_json::Map<String, Value> = counters
            .by_kind
            .iter()
            .map(|(kind, count)| (format!("{kind:?}"), json!(count)))
            .collect();
        let mma: serde_json::Map<String, Value> = counters
            .mma
            .iter()
            .map(|(shape, count)| (shape.to_string(), json!(count)))
            .collect();
        json!({
            "launches": self.launches,
            "blocks": counters.blocks,
            "warp_instructions": counters.warp_instructions,
            "by_kind": by_kind,
            "mma": mma,
            "shared_wavefronts": counters.shared.wavefronts,
            "shared_ideal_wavefronts": counters.shared.ideal_wavefronts,
            "shared_bytes_read": counters.shared.bytes_read,
            "shared_bytes_written": counters.shared.bytes_written,
            "global_sectors_read": counters.global.sectors_read,
            "global_sectors_written": counters.global.sectors_written,
            "global_bytes_read": counters.global.bytes_read,
            "global_bytes_written": counters.global.bytes_written,
            "barriers_completed": counters.barriers.completed,
            "divergent_branches": counters.divergent_branches,
        })
    }
}

/// Writes a line to stderr.
pub(crate) fn announce(message: &str) {
    // A closed stderr must not change what the program sees.
    let _ = writeln!(std::io::stderr(), "himuon emulated driver: {message}");
}
