//! Control flow: where diverged lanes meet again, and how many registers are live at once.

use super::operands::Operands;
use crate::isa::{Inst, NEVER, Op};

/// Basic blocks with their successors; the last number stands for the end of the kernel.
struct Graph {
    starts: Vec<usize>,
    successors: Vec<Vec<usize>>,
}

impl Graph {
    fn build(code: &[Inst]) -> Self {
        let mut leader = vec![false; code.len() + 1];
        leader[0] = true;
        for (at, inst) in code.iter().enumerate() {
            let targets = match &inst.op {
                Op::Branch { target, .. } => std::slice::from_ref(target),
                Op::BranchTable { targets, .. } => targets,
                Op::Exit | Op::Trap => &[],
                _ => continue,
            };
            leader[at + 1] = true;
            targets
                .iter()
                .for_each(|target| leader[*target as usize] = true);
        }
        let starts: Vec<usize> = (0..code.len()).filter(|at| leader[*at]).collect();
        let mut block_of = vec![starts.len(); code.len() + 1];
        for (block, start) in starts.iter().enumerate() {
            let end = starts.get(block + 1).copied().unwrap_or(code.len());
            block_of[*start..end].fill(block);
        }
        let successors = (0..starts.len())
            .map(|block| {
                let last = starts.get(block + 1).copied().unwrap_or(code.len()) - 1;
                let next = block_of[last + 1];
                let inst = &code[last];
                let mut targets: Vec<usize> = match &inst.op {
                    Op::Branch { target, .. } => vec![block_of[*target as usize]],
                    Op::BranchTable { targets, .. } => targets
                        .iter()
                        .map(|target| block_of[*target as usize])
                        .collect(),
                    Op::Exit | Op::Trap => vec![starts.len()],
                    _ => return vec![next],
                };
                if inst.guard.is_some() {
                    targets.push(next);
                }
                targets
            })
            .collect();
        Self { starts, successors }
    }

    fn end(&self) -> usize {
        self.starts.len()
    }

    /// Blocks in an order where, apart from loops, successors come before their predecessors; the end comes first.
    fn backward_order(&self) -> Vec<usize> {
        let mut predecessors = vec![Vec::new(); self.end() + 1];
        for (block, successors) in self.successors.iter().enumerate() {
            successors
                .iter()
                .for_each(|successor| predecessors[*successor].push(block));
        }
        let mut order = Vec::new();
        let mut seen = vec![false; self.end() + 1];
        let mut stack = vec![(self.end(), 0)];
        seen[self.end()] = true;
        while let Some((block, next)) = stack.last_mut() {
            if let Some(predecessor) = predecessors[*block].get(*next).copied() {
                *next += 1;
                if !std::mem::replace(&mut seen[predecessor], true) {
                    stack.push((predecessor, 0));
                }
            } else {
                order.push(*block);
                stack.pop();
            }
        }
        order.reverse();
        order
    }

    /// The immediate post-dominator of each block (Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm").
    fn post_dominators(&self) -> Vec<Option<usize>> {
        let order = self.backward_order();
        let mut rank = vec![usize::MAX; self.end() + 1];
        order
            .iter()
            .enumerate()
            .for_each(|(index, block)| rank[*block] = index);
        let mut dominator = vec![None; self.end() + 1];
        dominator[self.end()] = Some(self.end());
        let mut changed = true;
        while changed {
            changed = false;
            for block in order.iter().copied().skip(1) {
                let known = self.successors[block]
                    .iter()
                    .copied()
                    .filter(|successor| dominator[*successor].is_some());
                let meet = known.reduce(|a, b| meet(&dominator, &rank, a, b));
                if meet.is_some() && dominator[block] != meet {
                    dominator[block] = meet;
                    changed = true;
                }
            }
        }
        dominator
    }
}

fn meet(dominator: &[Option<usize>], rank: &[usize], mut a: usize, mut b: usize) -> usize {
    while a != b {
        let deeper = if rank[a] > rank[b] { &mut a } else { &mut b };
        match dominator[*deeper] {
            Some(next) => *deeper = next,
            None => return *deeper,
        }
    }
    a
}

/// Fills in where the lanes of each branch reconverge.
pub(super) fn set_reconvergence(code: &mut [Inst]) {
    let graph = Graph::build(code);
    let dominators = graph.post_dominators();
    for (block, dominator) in dominators.iter().enumerate().take(graph.end()) {
        let last = graph.starts.get(block + 1).copied().unwrap_or(code.len()) - 1;
        let meeting = dominator.filter(|meeting| *meeting != graph.end());
        let meeting = meeting.map_or(NEVER, |meeting| graph.starts[meeting] as u32);
        if let Op::Branch { reconverge, .. } | Op::BranchTable { reconverge, .. } =
            &mut code[last].op
        {
            *reconverge = meeting;
        }
    }
}

/// Slots as bits.
#[derive(Clone, PartialEq)]
struct Slots(Vec<u64>);

impl Slots {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, slot: u32) -> bool {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    fn remove(&mut self, slot: u32) -> bool {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        let present = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        present
    }

    fn unite(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(word, other)| *word |= other);
    }
}

/// The most 32-bit registers that are live before any one instruction.
pub(super) fn register_pressure(code: &[Inst], operands: &[Operands], widths: &[u32]) -> u32 {
    let graph = Graph::build(code);
    let words = |slot: u32| widths[slot as usize].div_ceil(32);
    let mut live_in = vec![Slots::new(widths.len()); graph.end() + 1];
    let order = graph.backward_order();
    let mut pressure = 0;
    let mut changed = true;
    while changed {
        changed = false;
        for block in order.iter().copied().skip(1) {
            let mut live = Slots::new(widths.len());
            graph.successors[block]
                .iter()
                .for_each(|successor| live.unite(&live_in[*successor]));
            let mut count: u32 = live
                .0
                .iter()
                .enumerate()
                .flat_map(|(word, bits)| set_bits(*bits).map(move |bit| word as u32 * 64 + bit))
                .map(words)
                .sum();
            let end = graph.starts.get(block + 1).copied().unwrap_or(code.len());
            for at in (graph.starts[block]..end).rev() {
                // A guarded write may leave the old value in place, so it ends no lifetime.
                if code[at].guard.is_none() {
                    operands[at]
                        .writes
                        .iter()
                        .filter(|slot| live.remove(**slot))
                        .for_each(|slot| count -= words(*slot));
                }
                let reads = operands[at].reads.iter().chain(&operands[at].copies);
                reads
                    .filter(|slot| live.insert(**slot))
                    .for_each(|slot| count += words(*slot));
                pressure = pressure.max(count);
            }
            if live_in[block] != live {
                live_in[block] = live;
                changed = true;
            }
        }
    }
    pressure
}

fn set_bits(mut bits: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(bit)
    })
}
