//! The tuning table: which variant of each specification is fastest on one device.

use std::collections::BTreeMap;

use himuon_templates::KernelSpec;
use serde_json::Value;

use super::entry::{TuningEntry, Verdict};
use super::fingerprint::DeviceFingerprint;
use super::level::Clock;
use super::shape_class::ShapeClass;

/// The version of the file's layout.
pub const SCHEMA: u32 = 2;

/// What is known of one device, by specification and shape class.
#[derive(Clone, Debug, PartialEq)]
pub struct TuningTable {
    /// The device.
    pub device: DeviceFingerprint,
    /// Whether the times are those of an emulated device; such a table is kept apart and chooses nothing.
    pub emulated: bool,
    /// By the specification's text form, then by class.
    pub entries: BTreeMap<(String, ShapeClass), TuningEntry>,
    /// Entries of the file that this version cannot read or whose checksum is wrong: written back as they are.
    pub(super) unread: Vec<Value>,
    /// Why, one for each of them.
    pub(super) warnings: Vec<String>,
    /// By specification: a variant to use whatever was measured; `None`: the default.
    pub(super) pinned: BTreeMap<String, Option<String>>,
    /// Variants (specification, name) that failed in this process.
    pub(super) dropped: Vec<(String, String)>,
    /// Why the table is empty on purpose.
    pub(super) why_empty: Option<&'static str>,
    /// Why the device's file, which is there, could not be read.
    pub(super) unreadable: Option<String>,
    /// Whether the model's choice is taken however small its lead.
    pub(super) trusts_model: bool,
    /// Whether its entries were measured to replace what is known, however many samples that has.
    pub(super) anew: bool,
}

/// A variant that nobody has measured takes the default's place if a model predicts it this many times as fast: models
/// err by less between variants of a family.
const LEAST_PREDICTED_SPEEDUP: f64 = 1.25;

/// A variant that the table offers for a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The variant's name.
    pub variant: String,
    /// Digest of the source that was measured; empty: any.
    pub digest: String,
    /// Where it comes from, for people.
    pub reason: String,
}

/// A variant is a way to compute tiles: with and without a coarse part they share it.
fn key(spec: &KernelSpec) -> String {
    spec.tiles_alone().to_string()
}

impl TuningTable {
    /// An empty table for a device.
    pub fn new(device: DeviceFingerprint) -> Self {
        TuningTable {
            device,
            emulated: false,
            entries: BTreeMap::new(),
            unread: Vec::new(),
            warnings: Vec::new(),
            pinned: BTreeMap::new(),
            dropped: Vec::new(),
            why_empty: None,
            unreadable: None,
            trusts_model: false,
            anew: false,
        }
    }

    /// An empty table for an emulated device.
    pub fn emulated(device: DeviceFingerprint) -> Self {
        TuningTable {
            emulated: true,
            ..TuningTable::new(device)
        }
    }

    /// What is known of a specification for launches of a class.
    pub fn entry(&self, spec: &KernelSpec, class: ShapeClass) -> Option<&TuningEntry> {
        self.entries.get(&(key(spec), class))
    }

    /// Whether any way to compute a specification is known to be right and how fast it is.
    pub fn knows(&self, spec: &KernelSpec) -> bool {
        let text = key(spec);
        let mut entries = self.entries.iter();
        entries.any(|((known, _), entry)| *known == text && entry.has_choice())
    }

    /// The name of the winning variant for a launch of these shapes (rows, columns); `None`: not tuned.
    pub fn variant_for(&self, spec: &KernelSpec, shapes: &[(usize, usize)]) -> Option<String> {
        let class = ShapeClass::of(spec.tile, shapes.iter().copied());
        self.choices(spec, class)
            .into_iter()
            .next()
            .map(|choice| choice.variant)
    }

    /// The variants to try for a launch of a class, in order; of the nearest class that was measured.
    ///
    /// Empty: the default. Times of an emulated device choose nothing.
    pub fn choices(&self, spec: &KernelSpec, class: ShapeClass) -> Vec<Choice> {
        let text = key(spec);
        if let Some(pinned) = self.pinned.get(&text) {
            let choice = |variant: &String| Choice {
                variant: variant.clone(),
                digest: String::new(),
                reason: "as in the saved run".to_owned(),
            };
            let kept = pinned
                .iter()
                .filter(|variant| !self.is_dropped(spec, variant));
            return kept.map(choice).collect();
        }
        let of_spec = self.entries.iter().filter(|((known, _), entry)| {
            *known == text && entry.clock != Clock::Emulated && !self.emulated && entry.has_choice()
        });
        let near = of_spec
            .filter_map(|((_, known), entry)| Some((known.distance(&class)?, *known, entry)));
        let Some((distance, known, entry)) = near.min_by_key(|(distance, ..)| *distance) else {
            return Vec::new();
        };
        entry
            .ranked()
            .filter(|record| !self.is_dropped(spec, &record.variant))
            .map(|record| Choice {
                variant: record.variant.clone(),
                digest: record.digest.clone(),
                reason: match distance {
                    0 => "from the tuning table".to_owned(),
                    _ => format!("from the tuning table, measured with {known}"),
                },
            })
            .collect()
    }

    /// Records what is known of a specification for launches of these shapes; what was known before is replaced.
    pub fn insert(&mut self, spec: &KernelSpec, class: ShapeClass, entry: TuningEntry) {
        self.entries.insert((key(spec), class), entry);
    }

    /// Takes over the entries of another table of the device; see the rules at [`TuningTable::save`].
    pub fn merge(&mut self, other: TuningTable) {
        for (key, entry) in other.entries {
            match self.entries.get_mut(&key) {
                Some(known) => known.merge(entry, other.anew),
                None => {
                    self.entries.insert(key, entry);
                }
            }
        }
        for value in other.unread {
            if !self.unread.contains(&value) {
                self.unread.push(value);
            }
        }
    }

    /// What was skipped when the table was read, and why.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether the file holds entries that this version cannot read.
    pub fn holds_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Gives up the entries that this version cannot read, so that the next write leaves them out. Returns how many.
    pub fn forget_unread(&mut self) -> usize {
        self.warnings.clear();
        std::mem::take(&mut self.unread).len()
    }

    /// Removes the candidates for which `stale` holds, given specification and record, and the entries that are
    /// left without one. Returns how many candidates went.
    pub fn retain_current(
        &mut self,
        mut stale: impl FnMut(&str, &super::entry::CandidateRecord) -> bool,
    ) -> usize {
        let mut removed = 0;
        for ((spec, _), entry) in &mut self.entries {
            let before = entry.candidates.len();
            entry.candidates.retain(|record| !stale(spec, record));
            removed += before - entry.candidates.len();
            entry.settle();
        }
        self.entries.retain(|_, entry| {
            let measured =
                |record: &super::entry::CandidateRecord| record.verdict == Verdict::Measured;
            entry.candidates.iter().any(measured)
        });
        removed
    }

    /// Why the table offers nothing for a specification, for people.
    pub(crate) fn why_default(&self, spec: &KernelSpec) -> String {
        if let Some(why) = self.why_empty {
            return why.to_owned();
        }
        if self.pinned.contains_key(&key(spec)) {
            return "as in the saved run".to_owned();
        }
        if let Some(why) = &self.unreadable {
            return format!("what was tuned cannot be read: {why}");
        }
        let unread = match self.unread.len() {
            0 => String::new(),
            count => {
                format!(" ({count} entries of its table do not read: `himuon cache ls` says why)")
            }
        };
        format!(
            "not tuned{unread}; run `{}`",
            self.device.tune_command(spec)
        )
    }

    /// Whether launches of a specification would be faster for being tuned, as far as anyone knows.
    pub(crate) fn lacks(&self, spec: &KernelSpec) -> bool {
        self.why_empty.is_none() && !self.pinned.contains_key(&key(spec)) && !self.knows(spec)
    }

    /// How many times as fast as the default a variant must be predicted to be before it is used unmeasured;
    /// `None`: the default is used whatever a model says.
    pub(crate) fn least_predicted_speedup(&self, spec: &KernelSpec) -> Option<f64> {
        let asked = self.why_empty.is_none() && !self.pinned.contains_key(&key(spec));
        asked.then_some(match self.trusts_model {
            true => 1.0,
            false => LEAST_PREDICTED_SPEEDUP,
        })
    }

    /// Takes the model's choice however small its lead.
    pub(crate) fn trust_model(&mut self) {
        self.trusts_model = true;
    }

    /// Whether a variant failed in this process.
    pub(crate) fn is_dropped(&self, spec: &KernelSpec, variant: &str) -> bool {
        let text = key(spec);
        let mut dropped = self.dropped.iter();
        dropped.any(|(spec, name)| *spec == text && name == variant)
    }

    /// A variant failed to load or launch: it is not offered again by this table.
    pub(crate) fn drop_variant(&mut self, spec: &KernelSpec, variant: &str) {
        self.dropped.push((key(spec), variant.to_owned()));
    }

    /// Chooses by what was measured again, whatever was pinned.
    pub(crate) fn unpin_all(&mut self) {
        self.pinned.clear();
    }

    /// Uses a variant of a specification's text form whatever was measured; `None`: the default.
    pub(crate) fn pin(&mut self, spec: &str, variant: Option<&str>) {
        let spec = spec
            .parse()
            .map_or_else(|_| spec.to_owned(), |spec| key(&spec));
        self.pinned.insert(spec, variant.map(str::to_owned));
    }
}
