//! Barriers and mbarriers as a warp executes them.

use super::barrier::{Arrival, BARRIERS, BarrierWait};
use super::block::Core;
use super::env::Env;
use super::execute::space_of;
use super::mbarrier::Mbarrier;
use super::splits::State;
use super::trouble::{Step, Trouble, lanes_of};
use super::warp::{Next, Warp};
use crate::fault::{Access, FaultKind};
use crate::isa::{Address, Barrier, BarrierMode, MbarrierOp, MemSpace, Pred, Src};
use crate::lanes::WARP;

/// Bytes of an mbarrier object.
const OBJECT: u32 = 8;

impl Warp {
    pub(super) fn barrier(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        barrier: &Barrier,
        active: u32,
    ) -> Step<Next> {
        let live = self.splits.live();
        if barrier.aligned && active != live {
            return Err(Trouble::new(FaultKind::DivergentBarrier { active, live }));
        }
        let split = self.splits.current();
        if active != split.mask {
            // A guard holds back some lanes: they go on without the others, up to the next instruction.
            let (pc, rest) = (split.pc, split.mask & !active);
            self.splits.diverge(&[(pc, active), (pc + 1, rest)], pc + 1);
            return Ok(Next::Moved);
        }
        let id = self.uniform(env, barrier.id, active, "barrier number")? as usize;
        if id >= BARRIERS {
            return Err(Trouble::invalid(format!("barrier {id} of {BARRIERS}")));
        }
        let expected = match barrier.threads {
            Some(threads) => Some(self.uniform(env, threads, active, "thread count")? as u32),
            None => None,
        };
        let (votes, reduce) = match barrier.mode {
            BarrierMode::Reduce { op, pred } => (self.registers.pred_src(pred), Some(op)),
            _ => (0, None),
        };
        self.end_interval();
        let arrival = Arrival {
            id,
            warp: self.index,
            lanes: active,
            aligned: barrier.aligned,
            expected,
            votes,
            knowledge: &self.knowledge,
        };
        core.barriers[id].arrive(&arrival)?;
        core.tally.barriers.arrivals += 1;
        if barrier.mode == BarrierMode::Arrive {
            return Ok(Next::Step);
        }
        let split = self.splits.current();
        split.pc += 1;
        split.state = State::Barrier(BarrierWait { id, reduce });
        Ok(Next::Wait)
    }

    pub(super) fn mbarrier(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        address: Address,
        space: MemSpace,
        op: &MbarrierOp,
        active: u32,
    ) -> Step<Next> {
        if let MbarrierOp::Pending { count, state } = op {
            let out = self
                .src(env, *state)
                .map(|state| u64::from(Mbarrier::pending_of_state(state)));
            self.registers.write(*count, &out, active);
            return Ok(Next::Step);
        }
        let mut addresses = self.addresses(env, address);
        if space == MemSpace::Generic {
            addresses
                .iter_mut()
                .for_each(|address| *address = space_of(*address).1);
        }
        if let MbarrierOp::Test {
            done,
            token,
            parity,
            suspend,
        } = op
        {
            let object = self.uniform_address(&addresses, active)?;
            return self.test_mbarrier(
                env,
                core,
                object,
                (*done, *token),
                (*parity, *suspend),
                active,
            );
        }
        for lane in lanes_of(active) {
            self.mbarrier_lane(env, core, lane, addresses[lane], op)?;
        }
        Ok(Next::Step)
    }

    fn uniform_address(&self, addresses: &[u64; WARP], active: u32) -> Step<u64> {
        let first = addresses[active.trailing_zeros() as usize % WARP];
        match lanes_of(active).all(|lane| addresses[lane] == first) {
            true => Ok(first),
            false => Err(Trouble::invalid(
                "lanes of a warp wait for different mbarriers at once",
            )),
        }
    }

    fn mbarrier_lane(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        lane: usize,
        address: u64,
        op: &MbarrierOp,
    ) -> Step<()> {
        let value = |warp: &Self, src: Src| warp.src(env, src)[lane] as u32;
        match op {
            MbarrierOp::Init { count } => {
                let at = core
                    .shared
                    .locate(lane, address, OBJECT, OBJECT, Access::Write)?;
                core.shared
                    .write_lane(lane, at, &[0; OBJECT as usize], self.accessor(false))?;
                core.mbarriers
                    .insert(address, Mbarrier::new(value(self, *count), env.warps())?);
            }
            MbarrierOp::Invalidate => {
                core.mbarrier(lane, address)?;
                core.mbarriers.remove(&address);
            }
            MbarrierOp::ExpectTx { bytes } => {
                let bytes = value(self, *bytes);
                self.see_object(core, lane, address)?.expect(bytes);
            }
            MbarrierOp::CompleteTx { bytes } => {
                let bytes = value(self, *bytes);
                self.see_object(core, lane, address)?.deliver(bytes, None);
            }
            MbarrierOp::Arrive {
                state,
                count,
                expect,
                drop,
            } => {
                let count = value(self, *count);
                let announced = expect.map(|bytes| value(self, bytes));
                self.end_interval();
                let knowledge = self.knowledge.clone();
                let object = self.see_object(core, lane, address)?;
                let before = object.state();
                announced.into_iter().for_each(|bytes| object.expect(bytes));
                if *drop {
                    object.drop_participant();
                }
                object.arrive(count, &knowledge)?;
                if let Some(state) = state {
                    self.registers.write(*state, &[before; WARP], 1 << lane);
                }
            }
            MbarrierOp::AsyncArrive { no_increment } => {
                let numbers = self.deliver_for_mbarrier(core, 1 << lane);
                let knowledge = self.knowledge.clone();
                let object = self.see_object(core, lane, address)?;
                if !no_increment {
                    object.add_pending();
                }
                numbers
                    .into_iter()
                    .for_each(|number| object.learn_copy(number));
                object.arrive(1, &knowledge)?;
            }
            MbarrierOp::Test { .. } | MbarrierOp::Pending { .. } => {}
        }
        Ok(())
    }

    /// The object at an address, whose initialisation must be ordered before this use.
    fn see_object<'c>(
        &self,
        core: &'c mut Core,
        lane: usize,
        address: u64,
    ) -> Step<&'c mut Mbarrier> {
        let at = core
            .shared
            .locate(lane, address, OBJECT, OBJECT, Access::Read)?;
        core.shared
            .read_lane(lane, at, OBJECT as usize, self.accessor(false))?;
        core.mbarrier(lane, address)
    }

    fn test_mbarrier(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        address: u64,
        (done, token): (Pred, Src),
        (parity, suspend): (bool, bool),
        active: u32,
    ) -> Step<Next> {
        let phases = self.src(env, token).map(|token| {
            if parity {
                token & 1
            } else {
                Mbarrier::phase_of_state(token)
            }
        });
        let token = phases[active.trailing_zeros() as usize % WARP];
        if lanes_of(active).any(|lane| phases[lane] != token) {
            return Err(Trouble::invalid(
                "lanes of a warp wait for different phases at once",
            ));
        }
        let lane = active.trailing_zeros() as usize % WARP;
        self.see_object(core, lane, address)?;
        core.land_bulk_loads(address);
        let object = core.mbarrier(lane, address)?;
        if object.is_complete(token, parity) {
            self.knowledge.join(object.knowledge());
            self.registers.write_predicate(done, u32::MAX, active);
            return Ok(Next::Step);
        }
        let split = self.splits.current();
        if suspend && active == split.mask {
            // Taken up again, at this instruction, when the phase completes.
            split.state = State::Mbarrier {
                address,
                token,
                parity,
            };
            return Ok(Next::Wait);
        }
        self.registers.write_predicate(done, 0, active);
        Ok(Next::Yield)
    }
}
