//! One warp: registers, splits, and the loop that steps through instructions.

use super::block::Core;
use super::clock::Knowledge;
use super::copies::Copies;
use super::env::Env;
use super::local::LocalMemory;
use super::registers::Registers;
use super::shared::Accessor;
use super::splits::Splits;
use super::trouble::{Step, Trouble, lanes_of};
use crate::fault::FaultKind;
use crate::isa::{Address, Inst, Op, Reg, Src};
use crate::lanes::{Lanes, WARP};

/// What follows an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The instruction after it.
    Step,
    /// Control was moved by the instruction itself.
    Moved,
    /// The split waits; the next instruction is set already.
    Wait,
    /// Step, then let others run.
    Yield,
}

#[derive(Debug, Default)]
pub(super) struct Warp {
    pub index: usize,
    pub registers: Registers,
    pub splits: Splits,
    pub local: LocalMemory,
    pub copies: Copies,
    pub knowledge: Knowledge,
    /// Number of the current interval between synchronisations; it starts at 1.
    pub interval: u32,
    /// Warp instructions executed.
    pub executed: u64,
    /// Allocation of the last global access.
    pub hint: usize,
}

impl Warp {
    pub(super) fn reset(&mut self, index: usize, env: &Env<'_>, block: [u32; 3]) {
        self.index = index;
        self.registers
            .reset(env.kernel.registers.len(), env.kernel.predicates.len());
        for (special, slot) in env.kernel.specials.iter() {
            self.registers
                .write(Reg(*slot), &env.special(*special, block, index), u32::MAX);
        }
        self.splits.reset(env.lanes_of_warp(index));
        self.local.reset(env.kernel.local_bytes() as usize);
        self.copies.reset();
        self.knowledge = Knowledge::new(env.warps());
        self.interval = 1;
        self.executed = 0;
        self.hint = 0;
    }

    /// Runs until every split waits or `slice` instructions are over.
    pub(super) fn run(&mut self, env: &Env<'_>, core: &mut Core, slice: u64) -> Step<()> {
        let limit = self.executed.saturating_add(slice);
        let mut rotate = false;
        while self.splits.select(rotate) {
            rotate = false;
            // The selected split runs until it must meet others, waits, or gives way.
            loop {
                if self.executed >= limit {
                    return Ok(());
                }
                if !self.splits.meet() {
                    break;
                }
                match self.step(env, core)? {
                    Next::Step | Next::Moved if !self.splits.finished() => {}
                    Next::Yield if self.splits.parts().len() > 1 => {
                        rotate = true;
                        break;
                    }
                    Next::Yield => return Ok(()),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn step(&mut self, env: &Env<'_>, core: &mut Core) -> Step<Next> {
        let split = self.splits.current();
        let (pc, mask) = (split.pc as usize, split.mask);
        let Some(inst) = env.kernel.code.get(pc) else {
            return Err(Trouble::invalid("control left the kernel"));
        };
        self.executed += 1;
        core.tally.instruction(inst.kind);
        core.line = inst.line;
        if env.options.checks {
            self.check_guard(env, inst, mask)?;
        }
        let active = match inst.guard {
            None => mask,
            Some((pred, negated)) => {
                mask & if negated {
                    !self.registers.predicate(pred)
                } else {
                    self.registers.predicate(pred)
                }
            }
        };
        let control = matches!(
            inst.op,
            Op::Branch { .. } | Op::BranchTable { .. } | Op::Exit
        );
        if active == 0 && !control {
            self.splits.current().pc += 1;
            return Ok(Next::Step);
        }
        if env.options.checks {
            self.check_reads(env, pc, active)?;
        }
        let next = match self.execute(env, core, inst, active) {
            Err(trouble) if trouble.is_divergence() && self.splits.hold() => {
                self.executed -= 1;
                core.tally.retract(inst.kind);
                return Ok(Next::Wait);
            }
            result => result?,
        };
        if matches!(next, Next::Step | Next::Yield) {
            self.splits.current().pc += 1;
        }
        Ok(next)
    }

    #[inline(always)]
    fn check_guard(&self, env: &Env<'_>, inst: &Inst, mask: u32) -> Step<()> {
        if let Some((pred, _)) = inst.guard {
            let missing = mask & !self.registers.predicate_written(pred.0);
            if missing != 0 {
                return Err(self.undefined(&env.kernel.predicates[pred.0 as usize], missing));
            }
        }
        Ok(())
    }

    /// Every register that the instruction reads must have been written in every active lane.
    #[inline(always)]
    fn check_reads(&self, env: &Env<'_>, pc: usize, active: u32) -> Step<()> {
        let (registers, predicates) = env.kernel.reads.of(pc);
        for slot in registers {
            let missing = active & !self.registers.written(*slot);
            if missing != 0 {
                return Err(self.undefined(&env.kernel.registers[*slot as usize].name, missing));
            }
        }
        for slot in predicates {
            let missing = active & !self.registers.predicate_written(*slot);
            if missing != 0 {
                return Err(self.undefined(&env.kernel.predicates[*slot as usize], missing));
            }
        }
        Ok(())
    }

    #[cold]
    fn undefined(&self, register: &str, lanes: u32) -> Box<Trouble> {
        let kind = FaultKind::UninitialisedRegister {
            register: register.to_owned(),
        };
        Box::new(Trouble {
            kind,
            lane: Some(lanes.trailing_zeros()),
            address: None,
        })
    }

    #[inline(always)]
    pub(super) fn src<'a>(&'a self, env: &'a Env<'_>, src: Src) -> &'a Lanes {
        self.registers.src(&env.constants, src)
    }

    /// The address of each lane.
    #[inline(always)]
    pub(super) fn addresses(&self, env: &Env<'_>, address: Address) -> Lanes {
        let base = self.src(env, address.base);
        std::array::from_fn(|lane| base[lane].wrapping_add_signed(address.offset))
    }

    /// A value that must be the same in all active lanes.
    pub(super) fn uniform(&self, env: &Env<'_>, src: Src, active: u32, what: &str) -> Step<u64> {
        let lanes = self.src(env, src);
        let first = lanes[active.trailing_zeros() as usize % WARP];
        match lanes_of(active).find(|lane| lanes[*lane] != first) {
            None => Ok(first),
            Some(lane) => {
                let detail = format!(
                    "the {what} differs between lanes: {first} and {}",
                    lanes[lane]
                );
                Err(Box::new(Trouble {
                    kind: FaultKind::InvalidUse { detail },
                    lane: Some(lane as u32),
                    address: None,
                }))
            }
        }
    }

    #[inline(always)]
    pub(super) fn accessor(&self, strong: bool) -> Accessor<'_> {
        Accessor {
            warp: self.index,
            interval: self.interval,
            knowledge: &self.knowledge,
            strong,
        }
    }

    /// Ends the interval: what comes next is not covered by what others have learnt so far.
    pub(super) fn end_interval(&mut self) {
        self.knowledge.advance(self.index, self.interval);
        self.interval += 1;
    }
}
