//! What is known of one specification: every candidate, every sample.

use serde::{Deserialize, Serialize};

use super::level::{Clock, Level};
use super::statistics::median;

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Right, and timed.
    Measured,
    /// Its result disagrees with the f64 reference. Excluded as long as its source is the same.
    Wrong,
    /// It did not load or launch. Excluded as long as its source is the same.
    Failed,
}

/// One candidate of a specification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateRecord {
    /// The variant's name.
    pub variant: String,
    /// Digest of the source that was measured; a changed source is another candidate.
    pub digest: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it is excluded; empty for one that was timed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Largest relative Frobenius error of a tile against the same map in f64, to three digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Median time over the winner's in the same rounds, to three decimals; 0: not timed.
    #[serde(default)]
    pub relative: f64,
    /// The model's place for it among all candidates, from 1; 0: the model did not rank it.
    #[serde(default)]
    pub predicted_rank: usize,
    /// The model's time in nanoseconds; 0: none.
    #[serde(default)]
    pub predicted_ns: u64,
    /// Nanoseconds of each run after the caches were emptied, in the order of the rounds: what the choice is made by.
    #[serde(default)]
    pub cold_ns: Vec<u64>,
    /// Nanoseconds of each run right after another of the same candidate.
    #[serde(default)]
    pub warm_ns: Vec<u64>,
}

impl CandidateRecord {
    /// A candidate that never ran: a choice made by hand.
    pub fn chosen(variant: impl Into<String>) -> Self {
        CandidateRecord {
            variant: variant.into(),
            digest: String::new(),
            verdict: Verdict::Measured,
            reason: String::new(),
            error: None,
            relative: 1.0,
            predicted_rank: 0,
            predicted_ns: 0,
            cold_ns: Vec::new(),
            warm_ns: Vec::new(),
        }
    }

    /// Median of the cold runs in seconds; infinite for one that was not timed.
    pub fn seconds(&self) -> f64 {
        1e-9 * median(&self.cold_ns)
    }

    /// Median of the warm runs in seconds; infinite for none.
    pub fn warm_seconds(&self) -> f64 {
        1e-9 * median(&self.warm_ns)
    }
}

/// What is known of one specification and shape class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuningEntry {
    /// The winner's name; empty where no candidate may be used.
    pub winner: String,
    /// Shapes (rows, columns) that were timed.
    pub shapes: Vec<(usize, usize)>,
    /// Threads that were used; 1 for a GPU.
    pub threads: usize,
    /// How much was done.
    pub level: Level,
    /// What the times were read from.
    pub clock: Clock,
    /// When, in seconds since 1970.
    #[serde(default)]
    pub tuned_at: u64,
    /// Every candidate, the fastest first, the excluded ones last.
    pub candidates: Vec<CandidateRecord>,
}

impl TuningEntry {
    /// A choice made by hand.
    pub fn chosen(variant: impl Into<String>) -> Self {
        let record = CandidateRecord::chosen(variant);
        TuningEntry {
            winner: record.variant.clone(),
            shapes: Vec::new(),
            threads: 0,
            level: Level::Measure,
            clock: Clock::Monotonic,
            tuned_at: 0,
            candidates: vec![record],
        }
    }

    /// The record of a variant.
    pub fn candidate(&self, variant: &str) -> Option<&CandidateRecord> {
        self.candidates
            .iter()
            .find(|record| record.variant == variant)
    }

    /// The candidates that may be used: the winner, then the others by their time.
    pub fn ranked(&self) -> impl Iterator<Item = &CandidateRecord> {
        let usable = |record: &&CandidateRecord| record.verdict == Verdict::Measured;
        let winner = self.candidate(&self.winner).filter(usable);
        let others = self.candidates.iter().filter(usable);
        winner
            .into_iter()
            .chain(others.filter(|record| record.variant != self.winner))
    }

    /// Whether any candidate may be used; an entry may hold nothing but exclusions.
    pub fn has_choice(&self) -> bool {
        self.ranked().next().is_some()
    }

    /// Excludes a candidate, whatever was known of it.
    pub(super) fn exclude(&mut self, record: CandidateRecord) {
        self.candidates
            .retain(|known| known.variant != record.variant);
        self.candidates.push(record);
        self.settle();
        self.sort();
    }

    /// Makes the next candidate the winner if the winner may not be used.
    pub(super) fn settle(&mut self) {
        let first = self.ranked().next().map(|record| record.variant.clone());
        self.winner = first.unwrap_or_default();
    }

    /// The fastest first, the excluded ones last.
    pub(super) fn sort(&mut self) {
        let winner = self.winner.clone();
        self.candidates.sort_by(|a, b| {
            let key = |record: &CandidateRecord| (record.verdict, record.variant != winner);
            key(a)
                .cmp(&key(b))
                .then(a.relative.total_cmp(&b.relative))
                .then_with(|| a.variant.cmp(&b.variant))
        });
    }
}
