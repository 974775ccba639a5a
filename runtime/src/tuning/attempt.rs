//! The tuning of one job: who runs, who is right, who wins, and what is written down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::entry::{CandidateRecord, TuningEntry, Verdict};
use super::error::TuningError;
use super::level::Level;
use super::race::{End, Entrant, Race, Rules, winner};
use super::records::{blank, failure, no_candidate, three_decimals, three_digits};
use super::statistics::ratio;
use super::target::{Candidate, Trouble, TuningTarget};
use super::tuner::{TuneJob, TuneOptions};
use super::verify::{Judge, Refusal};

/// Candidates that are compiled side by side, before they are judged one after the other; between them tuning can be stopped.
const COMPILED_AHEAD: usize = 16;

/// What became of an attempt.
pub(super) enum Attempted {
    /// Everything about the job was known already.
    Known(TuningEntry),
    /// Verified, timed and chosen.
    Measured(TuningEntry),
    /// Somebody asked to stop.
    Stopped,
    /// A candidate has taken the device with it: what was known before, and that it is excluded.
    Lost(TuningEntry, CandidateRecord),
}

/// The candidates after verification.
#[derive(Default)]
struct Verified {
    /// Those that are right.
    entrants: Vec<Entrant>,
    records: Vec<CandidateRecord>,
    /// The one that has taken the device with it; nothing was verified after it.
    lost: Option<CandidateRecord>,
}

/// The tuning of one job.
pub(super) struct Attempt<'a, T: ?Sized> {
    pub(super) target: &'a mut T,
    pub(super) options: TuneOptions,
    pub(super) stop: &'a AtomicBool,
    pub(super) job: &'a TuneJob,
    pub(super) timed: Vec<(usize, usize)>,
    pub(super) before: Option<TuningEntry>,
}

impl<T: TuningTarget + ?Sized> Attempt<'_, T> {
    /// Verifies, times and chooses.
    pub(super) fn run(
        mut self,
        stage: &mut dyn FnMut(&str, f64),
    ) -> Result<Attempted, TuningError> {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(Attempted::Stopped);
        }
        let job = self.job;
        let failed = |reason: String| TuningError::Measure {
            spec: job.spec.to_string(),
            reason,
        };
        let ranked = self
            .target
            .candidates(&job.spec, &self.timed)
            .map_err(failed)?;
        let wanted = self.wanted(&ranked);
        let unknown: Vec<&Candidate> = wanted
            .iter()
            .copied()
            .filter(|candidate| self.options.again || self.known(candidate).is_none())
            .collect();
        if self.is_complete(&ranked, &wanted, &unknown)
            && let Some(entry) = self.before.take_if(|e| e.level >= self.options.level)
        {
            return Ok(Attempted::Known(entry));
        }
        let excluded: Vec<CandidateRecord> = wanted
            .iter()
            .filter_map(|candidate| self.known(candidate))
            .filter(|record| record.verdict != Verdict::Measured)
            .cloned()
            .collect();
        let contest = self.contest(&ranked, &wanted, &unknown);
        let verified = self.verify(&ranked, &contest, excluded, stage)?;
        if let Some(guilty) = verified.lost {
            return Ok(self.lost(guilty));
        }
        if self.stop.load(Ordering::Relaxed) {
            return Ok(Attempted::Stopped);
        }
        let (mut entrants, mut records) = (verified.entrants, verified.records);
        if entrants.is_empty() {
            return Err(no_candidate(&job.spec, &records));
        }
        match self.race(&mut entrants, stage).map_err(failed)? {
            End::Stopped => return Ok(Attempted::Stopped),
            End::Lost(index) => return Ok(self.lost(failure(&ranked, &entrants[index]))),
            End::Settled | End::Spent => {}
        }
        let Some(index) = winner(&entrants, self.options.least_speedup) else {
            records.extend(entrants.iter().map(|entrant| failure(&ranked, entrant)));
            return Err(no_candidate(&job.spec, &records));
        };
        self.record(&ranked, &entrants, index, &mut records);
        let entry = self.entry(&entrants[index].variant, records);
        Ok(Attempted::Measured(entry))
    }

    /// What is kept when a candidate has taken the device with it, so that the next process goes on without it.
    fn lost(&self, guilty: CandidateRecord) -> Attempted {
        let nothing = || TuningEntry {
            level: Level::Estimate,
            ..self.entry("", Vec::new())
        };
        let mut entry = self.before.clone().unwrap_or_else(nothing);
        entry.exclude(guilty.clone());
        Attempted::Lost(entry, guilty)
    }

    /// Times the entrants.
    fn race(
        &mut self,
        entrants: &mut [Entrant],
        stage: &mut dyn FnMut(&str, f64),
    ) -> Result<End, String> {
        self.target.load(&self.job.spec, &self.timed)?;
        let mut race = Race {
            target: &mut *self.target,
            spec: &self.job.spec,
            rules: Rules {
                level: self.options.level,
                budget: self.options.budget,
                least_speedup: self.options.least_speedup,
            },
            stop: self.stop,
        };
        Ok(race.run(entrants, &mut |round, part| {
            stage(&format!("timing, round {}", round + 1), part);
        }))
    }

    /// The candidates that the level asks for: the default, the winner so far, and the model's best.
    fn wanted<'c>(&self, ranked: &'c [Candidate]) -> Vec<&'c Candidate> {
        let winner = self.before.as_ref().map(|entry| entry.winner.as_str());
        let options = &self.options;
        let most = options.candidates.unwrap_or(options.level.candidates());
        ranked
            .iter()
            .enumerate()
            .filter(|(place, candidate)| *place < most.max(1) || winner == Some(&candidate.variant))
            .map(|(_, candidate)| candidate)
            .collect()
    }

    /// Whether as many candidates are known as the level asks for, the default among them. Which of them the model ranks
    /// first may differ from one probe of the machine to the next; that alone is no reason to measure again. That a source
    /// has changed is one.
    fn is_complete(
        &self,
        ranked: &[Candidate],
        wanted: &[&Candidate],
        unknown: &[&Candidate],
    ) -> bool {
        let Some(before) = self.before.as_ref().filter(|_| !self.options.again) else {
            return unknown.is_empty();
        };
        let is_default = |candidate: &Candidate| ranked.first().is_some_and(|c| c == candidate);
        let only_ranked = unknown
            .iter()
            .all(|c| before.candidate(&c.variant).is_none() && !is_default(c));
        let known = ranked.iter().filter(|c| self.known(c).is_some()).count();
        only_ranked && known >= wanted.len()
    }

    /// The record of a candidate with the same source; times of another number of threads are those of another
    /// launch, a candidate that is wrong is wrong on any number.
    fn known(&self, candidate: &Candidate) -> Option<&CandidateRecord> {
        let before = self.before.as_ref()?;
        let same_threads = before.threads == self.target.threads();
        before.candidate(&candidate.variant).filter(|record| {
            record.digest == candidate.digest
                && (same_threads || record.verdict != Verdict::Measured)
        })
    }

    /// Who runs, the incumbent first: what is unknown, and beside it the incumbent and the default.
    fn contest<'c>(
        &self,
        ranked: &'c [Candidate],
        wanted: &[&'c Candidate],
        unknown: &[&'c Candidate],
    ) -> Vec<&'c Candidate> {
        let usable = |candidate: &&&Candidate| {
            self.known(candidate)
                .is_none_or(|record| record.verdict == Verdict::Measured)
        };
        let more_time = self
            .before
            .as_ref()
            .is_none_or(|e| e.level < self.options.level);
        let mut contest: Vec<&Candidate> = if more_time || self.options.again {
            wanted.to_vec()
        } else {
            unknown.to_vec()
        };
        let incumbent = self
            .before
            .as_ref()
            .and_then(|entry| ranked.iter().find(|c| c.variant == entry.winner));
        // Once each: the first entrant is whom the others must beat, so that a default that is the incumbent itself
        // must not be moved to the second place.
        let default = ranked
            .first()
            .filter(|default| incumbent.is_none_or(|c| c.variant != default.variant));
        let anchors = incumbent.into_iter().chain(default);
        for (place, anchor) in anchors.enumerate() {
            contest.retain(|candidate| candidate.variant != anchor.variant);
            contest.insert(place.min(contest.len()), anchor);
        }
        contest.iter().filter(usable).copied().collect()
    }

    /// Who is right, and the records of those that are and of those that are excluded.
    fn verify(
        &mut self,
        ranked: &[Candidate],
        contest: &[&Candidate],
        records: Vec<CandidateRecord>,
        stage: &mut dyn FnMut(&str, f64),
    ) -> Result<Verified, TuningError> {
        let spec = &self.job.spec;
        let mut judge = Judge::new(spec, &*self.target, &self.timed).map_err(|reason| {
            TuningError::Measure {
                spec: spec.to_string(),
                reason,
            }
        })?;
        let mut verified = Verified {
            records,
            ..Verified::default()
        };
        for (place, candidate) in contest.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(verified);
            }
            stage(
                &format!("verifying {} of {}", place + 1, contest.len()),
                0.0,
            );
            if place % COMPILED_AHEAD == 0 {
                let next = contest[place..].iter().take(COMPILED_AHEAD);
                let next: Vec<&str> = next.map(|candidate| candidate.variant.as_str()).collect();
                self.target.compile_ahead(spec, &next);
            }
            let mut record = blank(ranked, candidate);
            match judge.judge(&mut *self.target, &candidate.variant) {
                Ok(error) => {
                    record.error = Some(three_digits(error));
                    let entrant = Entrant::new(candidate.variant.clone());
                    verified.entrants.push(entrant);
                    verified.records.push(record);
                    continue;
                }
                Err(Refusal::Wrong(reason, error)) => {
                    record.verdict = Verdict::Wrong;
                    record.reason = reason;
                    record.error = error.is_finite().then(|| three_digits(error));
                }
                Err(Refusal::Failed(reason)) => {
                    record.verdict = Verdict::Failed;
                    record.reason = reason;
                }
            }
            let (variant, reason) = (&record.variant, &record.reason);
            let failed = record.verdict == Verdict::Failed;
            match self.target.trouble().filter(|_| failed) {
                Some(Trouble::OutOfMemory) => {
                    tracing::warn!("{spec}: variant {variant} is passed over this time: {reason}");
                    continue;
                }
                Some(Trouble::Lost) => {
                    verified.lost = Some(record);
                    return Ok(verified);
                }
                None => tracing::warn!("{spec}: variant {variant} excluded: {reason}"),
            }
            verified.records.push(record);
        }
        Ok(verified)
    }

    /// Puts what was timed into the records, and takes over what was not timed again.
    fn record(
        &self,
        ranked: &[Candidate],
        entrants: &[Entrant],
        winner: usize,
        records: &mut Vec<CandidateRecord>,
    ) {
        for entrant in entrants {
            let Some(record) = records.iter_mut().find(|r| r.variant == entrant.variant) else {
                continue;
            };
            if entrant.trouble == Some(Trouble::OutOfMemory) {
                records.retain(|record| record.variant != entrant.variant);
                continue;
            }
            if let Some(reason) = &entrant.failure {
                let error = record.error;
                *record = failure(ranked, entrant);
                record.error = error;
                record.reason.clone_from(reason);
                continue;
            }
            let relative = ratio(&entrant.cold, &entrants[winner].cold).middle;
            record.relative = three_decimals(relative);
            record.cold_ns.clone_from(&entrant.cold);
            record.warm_ns.clone_from(&entrant.warm);
        }
        // Times of another day, in proportion to the winner of that day, which ran today too.
        let Some(before) = &self.before else {
            return;
        };
        let shift = records
            .iter()
            .find(|record| record.variant == before.winner && record.relative > 0.0)
            .map_or(1.0, |record| record.relative);
        let same_threads = before.threads == self.target.threads();
        for old in &before.candidates {
            let current = ranked
                .iter()
                .any(|c| c.variant == old.variant && c.digest == old.digest);
            let speaks = same_threads || old.verdict != Verdict::Measured;
            let measured = records.iter().any(|record| record.variant == old.variant);
            if current && speaks && !measured {
                let mut old = old.clone();
                old.relative = three_decimals(old.relative * shift);
                records.push(old);
            }
        }
    }

    fn entry(&self, winner: &str, candidates: Vec<CandidateRecord>) -> TuningEntry {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mut entry = TuningEntry {
            winner: winner.to_owned(),
            shapes: self.timed.clone(),
            threads: self.target.threads(),
            level: self.options.level,
            clock: self.target.clock(),
            tuned_at: now.map_or(0, |time| time.as_secs()),
            candidates,
        };
        entry.sort();
        entry
    }
}
