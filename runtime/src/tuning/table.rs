//! The tuning table: which variant of each specification is fastest on one device.

use std::collections::BTreeMap;

use himuon_templates::KernelSpec;
use serde::{Deserialize, Serialize};

/// The version of the file's layout.
pub const SCHEMA: u32 = 1;

/// The device that a table was measured on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceFingerprint {
    /// `cpu` or `cuda`.
    pub kind: String,
    /// The device's own name.
    pub name: String,
    /// Instruction set or compute capability.
    pub architecture: String,
    /// What else a measurement depends on: vector extensions, driver, toolkit.
    pub features: Vec<String>,
}

/// One candidate's measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The variant's name.
    pub variant: String,
    /// Median time of one run over the shapes of the entry, in seconds; `None`: refused before timing.
    pub seconds: Option<f64>,
    /// Largest relative Frobenius error against the same map in f64 over the verification input.
    pub error: f64,
    /// Why the candidate was refused; empty for one that was timed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused: String,
}

/// What is known of one specification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningEntry {
    /// The winner's name.
    pub variant: String,
    /// Shapes (rows, columns) that were timed.
    pub shapes: Vec<(usize, usize)>,
    /// Threads that were used.
    pub threads: usize,
    /// Every measurement, the winner's too.
    pub measurements: Vec<Measurement>,
}

/// The winners of one device, by specification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningTable {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The device.
    pub device: DeviceFingerprint,
    /// By the specification's text form.
    pub entries: BTreeMap<String, TuningEntry>,
}

impl TuningTable {
    /// An empty table for a device.
    pub fn new(device: DeviceFingerprint) -> Self {
        TuningTable {
            schema: SCHEMA,
            device,
            entries: BTreeMap::new(),
        }
    }

    /// What is known of a specification.
    pub fn entry(&self, spec: &KernelSpec) -> Option<&TuningEntry> {
        self.entries.get(&spec.to_string())
    }

    /// The name of the winning variant; `None`: not tuned.
    pub fn variant_for(&self, spec: &KernelSpec) -> Option<&str> {
        self.entry(spec).map(|entry| entry.variant.as_str())
    }

    /// Records what is known of a specification; what was known before is replaced.
    pub fn insert(&mut self, spec: &KernelSpec, entry: TuningEntry) {
        self.entries.insert(spec.to_string(), entry);
    }

    /// Uses a variant of a specification's text form whatever was measured; `None`: the default.
    pub(crate) fn pin(&mut self, spec: &str, variant: Option<&str>) {
        match variant {
            None => {
                self.entries.remove(spec);
            }
            Some(variant) => {
                let entry = self
                    .entries
                    .entry(spec.to_owned())
                    .or_insert_with(|| TuningEntry {
                        variant: String::new(),
                        shapes: Vec::new(),
                        threads: 0,
                        measurements: Vec::new(),
                    });
                entry.variant = variant.to_owned();
            }
        }
    }
}
