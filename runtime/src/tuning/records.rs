//! What is written down of candidates: of those that failed, and what the model had said.

use himuon_templates::KernelSpec;

use super::entry::{CandidateRecord, Verdict};
use super::error::TuningError;
use super::race::Entrant;
use super::target::Candidate;

/// A record with what the model says of a candidate.
pub(super) fn blank(ranked: &[Candidate], candidate: &Candidate) -> CandidateRecord {
    let mut by_time: Vec<&Candidate> = ranked.iter().filter(|c| c.predicted.is_some()).collect();
    by_time.sort_by(|a, b| {
        let time = |candidate: &Candidate| candidate.predicted.unwrap_or(f64::INFINITY);
        time(a).total_cmp(&time(b))
    });
    let place = by_time.iter().position(|c| c.variant == candidate.variant);
    CandidateRecord {
        digest: candidate.digest.clone(),
        relative: 0.0,
        predicted_rank: place.map_or(0, |place| place + 1),
        predicted_ns: candidate
            .predicted
            .map_or(0, |seconds| (1e9 * seconds) as u64),
        ..CandidateRecord::chosen(candidate.variant.clone())
    }
}

pub(super) fn failure(ranked: &[Candidate], entrant: &Entrant) -> CandidateRecord {
    let candidate = ranked.iter().find(|c| c.variant == entrant.variant);
    let record = candidate.map_or_else(
        || CandidateRecord::chosen(entrant.variant.clone()),
        |candidate| blank(ranked, candidate),
    );
    CandidateRecord {
        verdict: Verdict::Failed,
        reason: entrant.failure.clone().unwrap_or_default(),
        ..record
    }
}

pub(super) fn no_candidate(spec: &KernelSpec, records: &[CandidateRecord]) -> TuningError {
    let refusals: Vec<String> = records
        .iter()
        .map(|record| format!("{}: {}", record.variant, record.reason))
        .collect();
    TuningError::NoCandidate {
        spec: spec.to_string(),
        refusals: refusals.join("; "),
    }
}

/// Three significant digits: enough for people, and they read back exactly.
pub(super) fn three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

pub(super) fn three_decimals(value: f64) -> f64 {
    format!("{value:.3}").parse().unwrap_or(value)
}
