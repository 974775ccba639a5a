//! One block: its warps, what they share, and the order in which they run.

use std::collections::HashMap;

use super::barrier::{BARRIERS, BlockBarrier};
use super::copies::BulkLoad;
use super::env::Env;
use super::global::block_index;
use super::mbarrier::Mbarrier;
use super::random::Random;
use super::shared::SharedMemory;
use super::splits::State;
use super::tally::Tally;
use super::trouble::{Step, Trouble};
use super::warp::Warp;
use crate::fault::{Access, Fault, FaultKind, Site, Space};
use crate::isa::BarrierReduce;
use crate::lanes::WARP;
use crate::options::Order;

/// Instructions that a warp may run before others get a turn, when the order is fixed.
const SLICE: u64 = 4096;
/// The longest slice when the order is random.
const RANDOM_SLICE: u64 = 64;

/// What the warps of a block share.
#[derive(Debug, Default)]
pub(super) struct Core {
    /// Number of the block in the grid.
    pub block: u32,
    pub shared: SharedMemory,
    pub barriers: Vec<BlockBarrier>,
    pub mbarriers: HashMap<u64, Mbarrier>,
    pub bulk_loads: Vec<BulkLoad>,
    pub tally: Tally,
    /// PTX line of the instruction under way.
    pub line: u32,
}

impl Core {
    /// The mbarrier object at an address.
    pub(super) fn mbarrier(&mut self, lane: usize, address: u64) -> Step<&mut Mbarrier> {
        self.mbarriers.get_mut(&address).ok_or_else(|| {
            let detail = "no mbarrier was initialised there".to_owned();
            Trouble::at(FaultKind::InvalidUse { detail }, lane as u32, address)
        })
    }
}

/// A block under way.
#[derive(Debug, Default)]
pub(super) struct Block {
    core: Core,
    warps: Vec<Warp>,
    /// Warp that ran last.
    last: usize,
    random: Option<Random>,
}

/// Whether a block has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Finished,
    /// It used up its turn; perhaps it waits for another block.
    Unfinished,
}

impl Block {
    pub(super) fn start(&mut self, env: &Env<'_>, number: u32) {
        let index = block_index(number, env.grid);
        let warps = env.warps();
        self.core.block = number;
        self.core.shared.reset(
            env.shared_bytes as usize,
            warps,
            env.options.checks,
            env.kernel.cells.shared,
        );
        self.core
            .barriers
            .resize_with(BARRIERS, BlockBarrier::default);
        self.core
            .barriers
            .iter_mut()
            .for_each(|barrier| barrier.reset(warps));
        self.core.mbarriers.clear();
        self.core.bulk_loads.clear();
        self.core.tally.blocks += 1;
        self.warps.resize_with(warps, Warp::default);
        for (warp, state) in self.warps.iter_mut().enumerate() {
            state.reset(warp, env, index);
        }
        self.last = warps - 1;
        self.random = match env.options.order {
            Order::Lockstep => None,
            Order::Random(seed) => Some(Random::new(seed, u64::from(number))),
        };
    }

    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.core.tally)
    }

    /// Runs for about `turn` instructions.
    pub(super) fn run(&mut self, env: &Env<'_>, turn: u64) -> Result<Progress, Fault> {
        let mut executed = 0;
        while executed < turn {
            let Some(warp) = self.next_warp() else {
                if self.warps.iter().all(|warp| warp.splits.finished()) {
                    return self.finish(env);
                }
                return Err(self.deadlock(env));
            };
            let slice = self
                .random
                .as_mut()
                .map_or(SLICE, |random| 1 + random.below(RANDOM_SLICE));
            let before = self.warps[warp].executed;
            let ran = self.warps[warp].run(env, &mut self.core, slice);
            ran.map_err(|trouble| self.explain(env, warp, *trouble))?;
            executed += self.warps[warp].executed - before;
            self.last = warp;
            // An endless loop need not end a slice: it may wait at a barrier in each turn.
            self.check_limit(env)?;
            self.release()
                .map_err(|trouble| self.fault(env, warp, *trouble))?;
        }
        Ok(Progress::Unfinished)
    }

    /// Completes a fault. A read of shared memory that nobody wrote is a race if another warp is about to write it:
    /// the others run on to find out.
    fn explain(&mut self, env: &Env<'_>, warp: usize, mut trouble: Trouble) -> Fault {
        let line = self.core.line;
        let unwritten = matches!(
            trouble.kind,
            FaultKind::UninitialisedMemory {
                space: Space::Shared,
                ..
            }
        );
        if let (true, Some(address)) = (unwritten, trouble.address) {
            for other in (0..self.warps.len()).filter(|other| *other != warp) {
                // Whatever goes wrong there comes after the fault at hand.
                let _later = self.warps[other].run(env, &mut self.core, SLICE);
            }
            if let Some(other) = self.core.shared.writer(address as usize) {
                let (access, other_access) = (Access::Read, Access::Write);
                trouble.kind = FaultKind::SharedRace {
                    access,
                    other_access,
                    other_warp: other as u32,
                };
            }
        }
        self.core.line = line;
        self.fault(env, warp, trouble)
    }

    fn finish(&mut self, env: &Env<'_>) -> Result<Progress, Fault> {
        let early = self
            .warps
            .iter()
            .position(|warp| warp.copies.has_bulk_stores());
        match early {
            None => Ok(Progress::Finished),
            Some(warp) => {
                let detail = "the block ends while a bulk copy may still read its shared memory; cp.async.bulk.wait_group is missing".to_owned();
                let kind = FaultKind::AsyncNotWaited {
                    access: Access::Read,
                    detail,
                };
                Err(self.fault(
                    env,
                    warp,
                    Trouble {
                        kind,
                        lane: None,
                        address: None,
                    },
                ))
            }
        }
    }

    /// The next warp that can run: in turn, or any.
    fn next_warp(&mut self) -> Option<usize> {
        let count = self.warps.len();
        let start = match &mut self.random {
            Some(random) => random.below(count as u64) as usize,
            None => self.last,
        };
        (0..count)
            .map(|step| (start + step + usize::from(self.random.is_none())) % count)
            .find(|warp| self.warps[*warp].splits.any_ready())
    }

    fn check_limit(&self, env: &Env<'_>) -> Result<(), Fault> {
        let total: u64 = self.warps.iter().map(|warp| warp.executed).sum();
        let limit = env.options.max_instructions_per_block;
        if total <= limit {
            return Ok(());
        }
        Err(self.fault(
            env,
            self.last,
            Trouble {
                kind: FaultKind::InstructionLimit { limit },
                lane: None,
                address: None,
            },
        ))
    }

    /// Lets go on whoever waits for a barrier or mbarrier that is now complete.
    fn release(&mut self) -> Step<()> {
        for id in 0..BARRIERS {
            let exited = self.warps.iter().map(|warp| warp.splits.exited);
            if self.core.barriers[id].complete(id, exited)? {
                self.release_barrier(id);
            }
        }
        let mbarriers = &self.core.mbarriers;
        for warp in &mut self.warps {
            for split in warp.splits.parts_mut() {
                if let State::Mbarrier {
                    address,
                    token,
                    parity,
                } = split.state
                    && mbarriers
                        .get(&address)
                        .is_none_or(|object| object.is_complete(token, parity))
                {
                    split.state = State::Ready;
                }
            }
        }
        Ok(())
    }

    fn release_barrier(&mut self, id: usize) {
        let barrier = &mut self.core.barriers[id];
        for warp in &mut self.warps {
            let mut waited = false;
            let mut results = Vec::new();
            for split in warp.splits.parts_mut() {
                if let State::Barrier(wait) = split.state
                    && wait.id == id
                {
                    split.state = State::Ready;
                    waited = true;
                    results.extend(wait.reduce.map(|reduce| (reduce, split.mask)));
                }
            }
            if waited {
                warp.knowledge.join(barrier.knowledge());
            }
            for (reduce, lanes) in results {
                let truth = |holds: bool| if holds { u32::MAX } else { 0 };
                match reduce {
                    BarrierReduce::Popc(dst) => {
                        warp.registers
                            .write(dst, &[u64::from(barrier.popc); WARP], lanes)
                    }
                    BarrierReduce::And(dst) => {
                        warp.registers
                            .write_predicate(dst, truth(barrier.all), lanes)
                    }
                    BarrierReduce::Or(dst) => {
                        warp.registers
                            .write_predicate(dst, truth(barrier.any), lanes)
                    }
                }
            }
        }
        barrier.reset(self.warps.len());
        self.core.tally.barriers.completed += 1;
    }

    fn deadlock(&self, env: &Env<'_>) -> Fault {
        let mut waits = Vec::new();
        let mut first = None;
        for warp in &self.warps {
            for split in warp.splits.parts() {
                let line = env
                    .kernel
                    .code
                    .get(split.pc.saturating_sub(1) as usize)
                    .map_or(0, |inst| inst.line);
                let reason = match split.state {
                    State::Barrier(wait) => format!(
                        "waits at line {line}: {}",
                        self.core.barriers[wait.id].describe(wait.id)
                    ),
                    State::Mbarrier { address, .. } => {
                        let state = self
                            .core
                            .mbarriers
                            .get(&address)
                            .map_or_else(|| "gone".to_owned(), Mbarrier::describe);
                        format!("waits after line {line} for the mbarrier at {address:#x}: {state}")
                    }
                    State::Join | State::Held | State::Ready => continue,
                };
                first.get_or_insert((warp.index, line));
                waits.push(format!("warp {} {reason}", warp.index));
            }
        }
        let (warp, line) = first.unwrap_or((self.last, self.core.line));
        let detail = waits.join("; ");
        let mut fault = self.fault(
            env,
            warp,
            Trouble {
                kind: FaultKind::Deadlock { detail },
                lane: None,
                address: None,
            },
        );
        fault.site.line = Some(line);
        fault.site.text = env.kernel.source_line(line).map(str::to_owned);
        fault
    }

    fn fault(&self, env: &Env<'_>, warp: usize, trouble: Trouble) -> Fault {
        let line = self.core.line;
        let site = Site {
            kernel: env.kernel.name().to_owned(),
            line: Some(line),
            text: env.kernel.source_line(line).map(str::to_owned),
            block: Some(block_index(self.core.block, env.grid)),
            warp: Some(warp as u32),
            lane: trouble.lane,
            address: trouble.address,
        };
        Fault {
            kind: trouble.kind,
            site: Box::new(site),
        }
    }
}
