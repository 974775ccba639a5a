//! The sixteen barriers of a block.

use super::clock::Knowledge;
use super::trouble::{Step, Trouble};
use crate::fault::FaultKind;
use crate::isa::BarrierReduce;
use crate::lanes::WARP;

/// Barriers of a block.
pub(super) const BARRIERS: usize = 16;

/// What a split that waits at a barrier needs when it goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BarrierWait {
    pub id: usize,
    pub reduce: Option<BarrierReduce>,
}

/// Arrivals at one barrier since it last completed.
#[derive(Debug, Clone, Default)]
pub(super) struct BlockBarrier {
    /// Lanes that arrived, for each warp.
    arrived: Vec<u32>,
    /// Threads that arrived; an aligned arrival counts its whole warp.
    threads: u32,
    /// Threads that were said to take part, if any arrival said so.
    expected: Option<u32>,
    knowledge: Knowledge,
    pub popc: u32,
    pub all: bool,
    pub any: bool,
}

/// One arrival of a split.
pub(super) struct Arrival<'a> {
    pub id: usize,
    pub warp: usize,
    pub lanes: u32,
    pub aligned: bool,
    pub expected: Option<u32>,
    /// Lanes whose predicate holds, for reductions.
    pub votes: u32,
    pub knowledge: &'a Knowledge,
}

impl BlockBarrier {
    pub(super) fn reset(&mut self, warps: usize) {
        self.arrived.clear();
        self.arrived.resize(warps, 0);
        self.threads = 0;
        self.expected = None;
        self.knowledge = Knowledge::new(warps);
        self.popc = 0;
        self.all = true;
        self.any = false;
    }

    pub(super) fn arrive(&mut self, arrival: &Arrival<'_>) -> Step<()> {
        let Arrival {
            id,
            warp,
            lanes,
            expected,
            ..
        } = *arrival;
        if let Some(threads) = expected
            && (threads == 0 || !threads.is_multiple_of(WARP as u32))
        {
            return Err(Trouble::invalid(format!(
                "barrier {id} with {threads} threads: not a positive multiple of {WARP}"
            )));
        }
        if self.threads > 0 && self.expected != expected {
            let name = |threads: Option<u32>| {
                threads.map_or("every thread of the block".to_owned(), |threads| {
                    format!("{threads} threads")
                })
            };
            return Err(Trouble::invalid(format!(
                "barrier {id} used with {} and with {} at once",
                name(self.expected),
                name(expected)
            )));
        }
        if self.arrived[warp] & lanes != 0 {
            return Err(Trouble::invalid(format!(
                "warp {warp} arrives at barrier {id} again before it completed"
            )));
        }
        self.expected = expected;
        self.arrived[warp] |= lanes;
        self.threads += if arrival.aligned {
            WARP as u32
        } else {
            lanes.count_ones()
        };
        self.knowledge.join(arrival.knowledge);
        self.popc += (arrival.votes & lanes).count_ones();
        self.all &= arrival.votes & lanes == lanes;
        self.any |= arrival.votes & lanes != 0;
        Ok(())
    }

    /// Whether everyone has come. `exited` has the lanes of each warp that are gone.
    pub(super) fn complete(&self, id: usize, exited: impl Iterator<Item = u32>) -> Step<bool> {
        if self.threads == 0 {
            return Ok(false);
        }
        match self.expected {
            Some(expected) if self.threads > expected => {
                let kind = FaultKind::InvalidUse {
                    detail: format!(
                        "{} threads arrived at barrier {id}, which is for {expected}",
                        self.threads
                    ),
                };
                Err(Trouble::new(kind))
            }
            Some(expected) => Ok(self.threads == expected),
            None => Ok(self
                .arrived
                .iter()
                .zip(exited)
                .all(|(arrived, exited)| arrived | exited == u32::MAX)),
        }
    }

    pub(super) fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// What is missing, for a deadlock report.
    pub(super) fn describe(&self, id: usize) -> String {
        let warps: Vec<String> = self
            .arrived
            .iter()
            .enumerate()
            .filter(|(_, lanes)| **lanes != 0)
            .map(|(warp, _)| warp.to_string())
            .collect();
        let of = self
            .expected
            .map_or("every live thread".to_owned(), |threads| {
                format!("{threads} threads")
            });
        format!(
            "barrier {id} has {} of {of} (warps {})",
            self.threads,
            warps.join(" ")
        )
    }
}
