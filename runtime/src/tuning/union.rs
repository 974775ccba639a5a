//! What two tunings of one launch know, united.

use super::entry::{CandidateRecord, TuningEntry, Verdict};
use super::records::three_decimals;

impl TuningEntry {
    /// Takes over what another tuning of the same launch found. The later one's winner counts; a candidate that
    /// either found wrong stays excluded. Of two measurements of one source with the same threads and shapes the one
    /// with more samples stays, unless the other was made `anew`, to replace what was known. Times of another number of
    /// threads are given up.
    pub(super) fn merge(&mut self, other: TuningEntry, anew: bool) {
        let (mut newer, older) = if anew || other.tuned_at >= self.tuned_at {
            (other, self.clone())
        } else {
            (self.clone(), other)
        };
        let same_threads = agree(newer.threads, older.threads, 0);
        let same_shapes = agree(newer.shapes.as_slice(), older.shapes.as_slice(), &[]);
        let replaces = same_threads && same_shapes && !anew;
        let shift = shift(&newer, &older);
        for mut record in older.candidates {
            record.relative = three_decimals(record.relative * shift);
            let measured = record.verdict == Verdict::Measured;
            let same = newer
                .candidates
                .iter_mut()
                .find(|known| known.variant == record.variant);
            match same {
                None if same_threads || !measured => newer.candidates.push(record),
                Some(known)
                    if known.digest == record.digest && prefers(&record, known, replaces) =>
                {
                    *known = record;
                }
                None | Some(_) => {}
            }
        }
        newer.sort();
        newer.settle();
        newer.rebase();
        newer.sort();
        *self = newer;
    }

    /// Makes the winner's time the unit of the others.
    fn rebase(&mut self) {
        let Some(unit) = timed(self, &self.winner).filter(|unit| *unit != 1.0) else {
            return;
        };
        for record in &mut self.candidates {
            record.relative = three_decimals(record.relative / unit);
        }
    }
}

/// Whether two tunings say the same of a condition; `unknown`, as in a choice made by hand, goes with everything.
fn agree<T: PartialEq>(a: T, b: T, unknown: T) -> bool {
    a == b || a == unknown || b == unknown
}

/// Whether the record of an older tuning says more than the newer one's; `replaces`: whether its times may stand for it.
fn prefers(older: &CandidateRecord, newer: &CandidateRecord, replaces: bool) -> bool {
    match (older.verdict, newer.verdict) {
        (Verdict::Measured, Verdict::Measured) => {
            replaces && older.cold_ns.len() > newer.cold_ns.len()
        }
        (Verdict::Measured, _) => false,
        (_, Verdict::Measured) => true,
        _ => false,
    }
}

/// The time of a variant in units of the winner's; `None`: not timed.
fn timed(entry: &TuningEntry, variant: &str) -> Option<f64> {
    let record = entry.candidate(variant)?;
    let measured = record.verdict == Verdict::Measured && record.relative > 0.0;
    measured.then_some(record.relative)
}

/// The older winner's time over the newer winner's: by whichever of the two ran in both tunings, else by their medians.
fn shift(newer: &TuningEntry, older: &TuningEntry) -> f64 {
    let by_newer = || timed(older, &newer.winner).map(|relative| 1.0 / relative);
    let by_older = || timed(newer, &older.winner);
    let by_medians = || {
        let seconds = |entry: &TuningEntry| entry.candidate(&entry.winner).map(|r| r.seconds());
        let ratio = seconds(older)? / seconds(newer)?;
        (ratio.is_finite() && ratio > 0.0).then_some(ratio)
    };
    by_newer()
        .or_else(by_older)
        .or_else(by_medians)
        .unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tuned_at: u64, times: &[(&str, u64, usize)]) -> TuningEntry {
        let winner = times[0];
        let record = |&(name, time, samples): &(&str, u64, usize)| CandidateRecord {
            digest: "1".to_owned(),
            relative: time as f64 / winner.1 as f64,
            cold_ns: vec![time; samples],
            ..CandidateRecord::chosen(name)
        };
        TuningEntry {
            shapes: vec![(64, 64)],
            threads: 2,
            tuned_at,
            candidates: times.iter().map(record).collect(),
            ..TuningEntry::chosen(winner.0)
        }
    }

    fn relative(entry: &TuningEntry) -> Vec<(&str, f64)> {
        let records = entry.candidates.iter();
        records.map(|r| (r.variant.as_str(), r.relative)).collect()
    }

    fn merged(older: &TuningEntry, newer: &TuningEntry, anew: bool) -> TuningEntry {
        let mut merged = older.clone();
        merged.merge(newer.clone(), anew);
        merged
    }

    #[test]
    fn more_samples_stay_unless_they_were_taken_anew_or_otherwise() {
        let older = entry(1, &[("a", 1000, 9), ("b", 1200, 9)]);
        let newer = entry(2, &[("a", 500, 2), ("b", 700, 2)]);
        let samples = |entry: &TuningEntry| entry.candidate("a").unwrap().cold_ns.len();
        assert_eq!(samples(&merged(&older, &newer, false)), 9);
        assert_eq!(merged(&older, &newer, true), newer);
        // A clock that runs behind does not undo what was asked for.
        let behind = TuningEntry {
            tuned_at: 0,
            ..newer.clone()
        };
        assert_eq!(merged(&older, &behind, true), behind);
        let mut elsewhere = newer.clone();
        elsewhere.shapes = vec![(64, 128)];
        assert_eq!(samples(&merged(&older, &elsewhere, false)), 2);
        elsewhere = newer.clone();
        elsewhere.threads = 1;
        assert_eq!(merged(&older, &elsewhere, false), elsewhere);
    }

    #[test]
    fn times_of_other_threads_go_and_exclusions_stay() {
        let mut older = entry(1, &[("a", 1000, 9), ("b", 1200, 9), ("c", 1300, 9)]);
        older.candidates[2].verdict = Verdict::Wrong;
        let newer = TuningEntry {
            threads: 1,
            ..entry(2, &[("a", 2000, 6)])
        };
        let both = merged(&older, &newer, false);
        let names: Vec<_> = both.candidates.iter().map(|r| r.variant.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn every_time_is_in_units_of_the_winner_that_stands() {
        let older = entry(1, &[("a", 1000, 9), ("b", 1200, 9), ("c", 1500, 9)]);
        // The machine is twice as fast today, and another candidate wins against the winner of that day.
        let newer = entry(2, &[("d", 400, 6), ("a", 500, 6)]);
        let both = merged(&older, &newer, false);
        let expected = [("d", 1.0), ("a", 1.25), ("b", 1.5), ("c", 1.875)];
        assert_eq!(relative(&both), expected);
        // The winner of today ran on that day, the winner of that day did not run today.
        let newer = entry(2, &[("b", 600, 6), ("d", 900, 6)]);
        let both = merged(&older, &newer, false);
        let expected = [("b", 1.0), ("a", 0.833), ("c", 1.25), ("d", 1.5)];
        assert_eq!(relative(&both), expected);
        // None ran in both: by their medians.
        let newer = entry(2, &[("d", 500, 6)]);
        let both = merged(&older, &newer, false);
        let expected = [("d", 1.0), ("a", 2.0), ("b", 2.4), ("c", 3.0)];
        assert_eq!(relative(&both), expected);
        // The winner is excluded by the older tuning: the next one's time is the unit.
        let mut wrong = entry(1, &[("a", 1000, 9), ("d", 1000, 9)]);
        wrong.candidates[1].verdict = Verdict::Wrong;
        let newer = entry(2, &[("d", 400, 6), ("a", 500, 6), ("b", 600, 6)]);
        let both = merged(&wrong, &newer, false);
        assert_eq!(relative(&both)[..2], [("a", 1.0), ("b", 1.2)]);
    }
}
