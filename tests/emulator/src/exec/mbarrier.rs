//! mbarrier objects: phases, pending arrivals, and bytes that asynchronous copies still owe.

use super::clock::Knowledge;
use super::trouble::{Step, Trouble};

/// Largest count of an mbarrier: 2^20 - 1.
const MAX_COUNT: u32 = (1 << 20) - 1;

/// One object in shared memory.
#[derive(Debug, Clone)]
pub(super) struct Mbarrier {
    /// Arrivals of a phase.
    expected: u32,
    /// Arrivals that the current phase still needs.
    pending: u32,
    /// Bytes owed in the current phase; negative while copies are ahead of their announcement.
    owed: i64,
    /// Number of the current phase.
    phase: u64,
    /// What the arrivals of the current phase know, and what is known to those who saw the last one complete.
    gathering: Knowledge,
    complete: Knowledge,
}

impl Mbarrier {
    pub(super) fn new(count: u32, warps: usize) -> Step<Self> {
        if count == 0 || count > MAX_COUNT {
            return Err(Trouble::invalid(format!(
                "an mbarrier of {count} arrivals: 1 to {MAX_COUNT}"
            )));
        }
        let knowledge = Knowledge::new(warps);
        Ok(Self {
            expected: count,
            pending: count,
            owed: 0,
            phase: 0,
            gathering: knowledge.clone(),
            complete: knowledge,
        })
    }

    /// The opaque state that an arrival returns: the phase and the count still pending.
    pub(super) fn state(&self) -> u64 {
        (self.phase << 20) | u64::from(self.pending)
    }

    pub(super) fn pending_of_state(state: u64) -> u32 {
        (state & u64::from(MAX_COUNT)) as u32
    }

    pub(super) fn phase_of_state(state: u64) -> u64 {
        state >> 20
    }

    pub(super) fn arrive(&mut self, count: u32, knowledge: &Knowledge) -> Step<()> {
        if count == 0 || count > self.pending {
            return Err(Trouble::invalid(format!(
                "{count} arrivals at an mbarrier whose phase needs {} more",
                self.pending
            )));
        }
        self.gathering.join(knowledge);
        self.pending -= count;
        self.advance();
        Ok(())
    }

    /// Removes one participant from this and later phases.
    pub(super) fn drop_participant(&mut self) {
        self.expected = self.expected.saturating_sub(1);
    }

    /// One more arrival in the current phase only, as `cp.async.mbarrier.arrive` without `.noinc` announces.
    pub(super) fn add_pending(&mut self) {
        self.pending += 1;
    }

    pub(super) fn expect(&mut self, bytes: u32) {
        self.owed += i64::from(bytes);
    }

    /// Makes a finished copy known to whoever sees the current phase complete.
    pub(super) fn learn_copy(&mut self, copy: u32) {
        self.gathering.learn_copy(copy);
    }

    /// Bytes that arrived, by a copy that was numbered if checks are on.
    pub(super) fn deliver(&mut self, bytes: u32, copy: Option<u32>) {
        self.owed -= i64::from(bytes);
        if let Some(copy) = copy {
            self.gathering.learn_copy(copy);
        }
        self.advance();
    }

    fn advance(&mut self) {
        if self.pending == 0 && self.owed == 0 {
            self.phase += 1;
            self.pending = self.expected;
            self.complete.join(&self.gathering);
        }
    }

    /// Whether the phase of that number, or with `parity` the last one of that parity, is complete.
    pub(super) fn is_complete(&self, phase: u64, parity: bool) -> bool {
        if parity {
            self.phase % 2 != phase % 2
        } else {
            self.phase > phase
        }
    }

    pub(super) fn knowledge(&self) -> &Knowledge {
        &self.complete
    }

    /// What is missing, for a deadlock report.
    pub(super) fn describe(&self) -> String {
        format!(
            "phase {} needs {} of {} arrivals and {} bytes",
            self.phase, self.pending, self.expected, self.owed
        )
    }
}
