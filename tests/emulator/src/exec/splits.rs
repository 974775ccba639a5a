//! Divergence: the parts of a warp that run apart, and where they meet again.
//!
//! Lanes that take different ways at a branch become splits of their own. Each remembers the instruction where they
//! must meet (the branch's immediate post-dominator); a split that gets there waits until every lane of the branch has
//! come or has exited, and then they go on as one. Splits make progress independently, as threads do since sm_70.

use super::barrier::BarrierWait;
use crate::isa::NEVER;

/// What a split waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    Ready,
    /// The other lanes of its innermost join.
    Join,
    /// Lanes that an aligned barrier or a collective needs and that run elsewhere: it is tried again when no other
    /// split of the warp can run.
    Held,
    Barrier(BarrierWait),
    /// The phase of an mbarrier.
    Mbarrier {
        address: u64,
        token: u64,
        parity: bool,
    },
}

/// A meeting of the lanes `mask` before instruction `pc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Join {
    id: u32,
    pc: u32,
    mask: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Split {
    pub pc: u32,
    pub mask: u32,
    pub state: State,
    joins: Vec<Join>,
}

/// The splits of one warp.
#[derive(Debug, Default)]
pub(super) struct Splits {
    parts: Vec<Split>,
    current: usize,
    next_join: u32,
    /// Lanes without a thread, or whose thread has exited.
    pub exited: u32,
}

impl Splits {
    pub(super) fn reset(&mut self, lanes: u32) {
        self.parts.clear();
        self.parts.push(Split {
            pc: 0,
            mask: lanes,
            state: State::Ready,
            joins: Vec::new(),
        });
        self.current = 0;
        self.next_join = 0;
        self.exited = !lanes;
    }

    #[inline(always)]
    pub(super) fn current(&mut self) -> &mut Split {
        &mut self.parts[self.current]
    }

    pub(super) fn parts(&self) -> &[Split] {
        &self.parts
    }

    pub(super) fn parts_mut(&mut self) -> &mut [Split] {
        &mut self.parts
    }

    pub(super) fn finished(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn live(&self) -> u32 {
        !self.exited
    }

    pub(super) fn any_ready(&self) -> bool {
        self.parts
            .iter()
            .any(|split| matches!(split.state, State::Ready | State::Held))
    }

    /// Sets the current split aside if another one can run first.
    pub(super) fn hold(&mut self) -> bool {
        let current = self.current;
        let others = self
            .parts
            .iter()
            .enumerate()
            .any(|(index, split)| index != current && split.state == State::Ready);
        if others {
            self.parts[current].state = State::Held;
        }
        others
    }

    /// Makes a split that can run the current one: another than the present one if `rotate`. False when none can.
    pub(super) fn select(&mut self, rotate: bool) -> bool {
        let count = self.parts.len();
        let first = if rotate {
            self.current + 1
        } else {
            self.current
        };
        let find = |state: State| {
            (0..count)
                .map(|step| (first + step) % count)
                .find(|index| self.parts[*index].state == state)
        };
        let chosen = find(State::Ready).or_else(|| find(State::Held));
        if let Some(index) = chosen {
            self.current = index;
            self.parts[index].state = State::Ready;
        }
        chosen.is_some()
    }

    /// Whether the current split stands before the instruction where it must meet others. If so it joins them, and the
    /// result says whether the current split can go on.
    #[inline(always)]
    pub(super) fn meet(&mut self) -> bool {
        let split = &self.parts[self.current];
        match split.joins.last() {
            Some(join) if join.pc == split.pc => {
                self.parts[self.current].state = State::Join;
                self.settle();
                self.parts
                    .get(self.current)
                    .is_some_and(|split| split.state == State::Ready)
            }
            _ => true,
        }
    }

    /// Merges splits whose join is complete, until nothing changes.
    fn settle(&mut self) {
        loop {
            let complete = self.parts.iter().enumerate().find_map(|(index, split)| {
                let join = (split.state == State::Join)
                    .then(|| split.joins.last().copied())
                    .flatten()?;
                let waiting = |other: &&Split| {
                    other.state == State::Join
                        && other.joins.last().is_some_and(|other| other.id == join.id)
                };
                let here = self
                    .parts
                    .iter()
                    .filter(waiting)
                    .fold(0, |mask, other| mask | other.mask);
                (here == join.mask & !self.exited).then_some((index, join, here))
            });
            let Some((index, join, mask)) = complete else {
                return;
            };
            let mut merged = self.parts[index].clone();
            merged.mask = mask;
            merged.joins.pop();
            let again = merged
                .joins
                .last()
                .is_some_and(|outer| outer.pc == merged.pc);
            merged.state = if again { State::Join } else { State::Ready };
            self.parts.retain(|split| {
                !(split.state == State::Join
                    && split.joins.last().is_some_and(|other| other.id == join.id))
            });
            self.parts.push(merged);
            self.current = self.parts.len() - 1;
        }
    }

    /// Sends the current split to several places: each a target with its lanes, which together are the split's.
    pub(super) fn diverge(&mut self, ways: &[(u32, u32)], reconverge: u32) {
        let mut base = self.parts.swap_remove(self.current);
        let outer_meets_there = base.joins.last().is_some_and(|join| join.pc == reconverge);
        if reconverge != NEVER && !outer_meets_there {
            base.joins.push(Join {
                id: self.next_join,
                pc: reconverge,
                mask: base.mask,
            });
            self.next_join += 1;
        }
        self.current = self.parts.len();
        for (target, lanes) in ways {
            self.parts.push(Split {
                pc: *target,
                mask: *lanes,
                state: State::Ready,
                joins: base.joins.clone(),
            });
        }
    }

    /// Ends lanes of the current split; those that remain stand at `pc`.
    pub(super) fn exit(&mut self, lanes: u32, pc: u32) {
        self.exited |= lanes;
        let split = &mut self.parts[self.current];
        split.mask &= !lanes;
        split.pc = pc;
        if split.mask == 0 {
            self.parts.swap_remove(self.current);
            self.current = 0;
        }
        self.settle();
    }
}
