//! What tuning found, for people.

use super::super::super::console::Outcome;
use super::super::super::error::CommandError;
use super::super::super::table::table;
use himuon::tuning::{CandidateRecord, TuneJob, Tuned, TuningEntry, TuningTarget, Verdict};
use serde_json::json;

/// Every candidate of one job; of several jobs one line each.
pub(super) fn found(jobs: &[TuneJob], tuned: &Tuned) -> String {
    let entries: Vec<(&TuneJob, &TuningEntry)> = jobs
        .iter()
        .filter_map(|job| Some((job, tuned.table.entry(&job.spec, job.class())?)))
        .collect();
    match entries.as_slice() {
        [(job, entry)] => format!(
            "{}\n{}: {} ({} threads, {})",
            candidates(entry),
            job.spec,
            entry.winner,
            entry.threads,
            job.class(),
        ),
        _ => winners(&entries),
    }
}

fn candidates(entry: &TuningEntry) -> String {
    let rows: Vec<Vec<String>> = entry
        .candidates
        .iter()
        .map(|record| {
            let (cold, warm, ratio) = match record.verdict {
                Verdict::Measured => (
                    milliseconds(record.seconds()),
                    milliseconds(record.warm_seconds()),
                    format!("{:.3}", record.relative),
                ),
                _ => (record.reason.clone(), String::new(), String::new()),
            };
            vec![
                record.variant.clone(),
                cold,
                warm,
                ratio,
                record.predicted_rank.to_string(),
                record
                    .error
                    .map_or_else(String::new, |error| format!("{error:.1e}")),
            ]
        })
        .collect();
    table(
        &[
            "variant",
            "cold",
            "warm",
            "ratio",
            "predicted rank",
            "error against f64",
        ],
        &rows,
    )
}

fn winners(entries: &[(&TuneJob, &TuningEntry)]) -> String {
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|(job, entry)| {
            let winner = entry.candidate(&entry.winner);
            let timed = |record: &&CandidateRecord| !record.cold_ns.is_empty();
            vec![
                entry.winner.clone(),
                milliseconds(winner.map_or(f64::INFINITY, CandidateRecord::seconds)),
                entry.candidates.iter().filter(timed).count().to_string(),
                rank_of_fastest(entry).to_string(),
                job.class().to_string(),
                job.spec.to_string(),
            ]
        })
        .collect();
    table(
        &[
            "winner",
            "cold",
            "candidates",
            "predicted rank of the fastest",
            "class",
            "specification",
        ],
        &rows,
    )
}

/// Where the model had put the candidate with the lowest median.
fn rank_of_fastest(entry: &TuningEntry) -> usize {
    entry
        .ranked()
        .min_by(|a, b| a.seconds().total_cmp(&b.seconds()))
        .map_or(0, |record| record.predicted_rank)
}

fn milliseconds(seconds: f64) -> String {
    match seconds.is_finite() {
        true => format!("{:.3} ms", 1e3 * seconds),
        false => "-".to_owned(),
    }
}

/// The model's order; nothing has run and nothing is kept.
pub(super) fn estimates(
    target: &dyn TuningTarget,
    jobs: &[TuneJob],
) -> Result<Outcome, CommandError> {
    let mut parts = Vec::new();
    let mut values = Vec::new();
    for job in jobs {
        let mut candidates = target
            .candidates(&job.spec, &job.shapes)
            .map_err(CommandError::Request)?;
        candidates.sort_by(|a, b| {
            let time = |candidate: &himuon::tuning::Candidate| {
                candidate.predicted.unwrap_or(f64::INFINITY)
            };
            time(a).total_cmp(&time(b))
        });
        let rows: Vec<Vec<String>> = candidates
            .iter()
            .map(|candidate| {
                let seconds = candidate.predicted.unwrap_or(f64::INFINITY);
                vec![candidate.variant.clone(), milliseconds(seconds)]
            })
            .collect();
        parts.push(format!(
            "{}\n{}: estimated, not measured, not kept",
            table(&["variant", "predicted"], &rows),
            job.spec
        ));
        values.push(json!({
            "spec": job.spec.to_string(),
            "class": job.class().to_string(),
            "candidates": candidates.iter().map(|candidate| json!({
                "variant": candidate.variant,
                "digest": candidate.digest,
                "predicted_seconds": candidate.predicted,
            })).collect::<Vec<_>>(),
        }));
    }
    Ok(Outcome {
        text: parts.join("\n\n"),
        json: json!({ "measured": false, "estimates": values }),
    })
}
