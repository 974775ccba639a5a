//! Shuffles, votes, matches and reductions between the lanes of a warp.

use super::env::Env;
use super::trouble::{Step, Trouble, lanes_of};
use super::warp::Warp;
use crate::fault::FaultKind;
use crate::isa::{Inst, Op, ReduxOp, ShuffleMode, Src, VoteMode};
use crate::lanes::{Lanes, WARP};

impl Warp {
    /// The member mask, which every active lane must give alike, must name, and whose live lanes must all be here.
    fn members(&self, env: &Env<'_>, members: Src, active: u32) -> Step<u32> {
        let mask = self.uniform(env, members, active, "member mask")? as u32;
        let required = mask & self.splits.live();
        if required & !active != 0 {
            return Err(Trouble::new(FaultKind::DivergentCollective {
                active,
                required,
            }));
        }
        if active & !mask != 0 {
            let lane = (active & !mask).trailing_zeros();
            let detail = format!("the lane is not in the member mask {mask:#010x}");
            return Err(Box::new(Trouble {
                kind: FaultKind::InvalidUse { detail },
                lane: Some(lane),
                address: None,
            }));
        }
        Ok(mask)
    }

    pub(super) fn execute_exchange(&mut self, env: &Env<'_>, inst: &Inst, active: u32) -> Step<()> {
        match &inst.op {
            Op::Shuffle {
                mode,
                dst,
                valid,
                src,
                lane,
                clamp,
                members,
            } => {
                self.members(env, *members, active)?;
                let sources = (
                    *self.src(env, *src),
                    *self.src(env, *lane),
                    *self.src(env, *clamp),
                );
                let (out, in_range) = shuffle(*mode, &sources.0, &sources.1, &sources.2, active)?;
                self.registers.write(*dst, &out, active);
                if let Some(valid) = valid {
                    self.registers.write_predicate(*valid, in_range, active);
                }
            }
            Op::Ballot { dst, pred, members } => {
                self.members(env, *members, active)?;
                let ballot = self.registers.pred_src(*pred) & active;
                self.registers
                    .write(*dst, &[u64::from(ballot); WARP], active);
            }
            Op::VotePred {
                mode,
                dst,
                pred,
                members,
            } => {
                self.members(env, *members, active)?;
                let ballot = self.registers.pred_src(*pred) & active;
                let holds = match mode {
                    VoteMode::All => ballot == active,
                    VoteMode::Any => ballot != 0,
                    VoteMode::Uniform => ballot == active || ballot == 0,
                };
                self.registers
                    .write_predicate(*dst, if holds { u32::MAX } else { 0 }, active);
            }
            Op::Match {
                all,
                bits,
                dst,
                pred,
                src,
                members,
            } => {
                self.members(env, *members, active)?;
                let values = self.src(env, *src).map(|value| {
                    if *bits == 32 {
                        value & 0xffff_ffff
                    } else {
                        value
                    }
                });
                let equal = |lane: usize| {
                    lanes_of(active)
                        .filter(|other| values[*other] == values[lane])
                        .fold(0u32, |mask, other| mask | 1 << other)
                };
                let out: Lanes = std::array::from_fn(|lane| match (all, equal(lane)) {
                    (true, mask) if mask != active => 0,
                    (_, mask) => u64::from(mask),
                });
                self.registers.write(*dst, &out, active);
                if let Some(pred) = pred {
                    let same = equal(active.trailing_zeros() as usize % WARP) == active;
                    self.registers
                        .write_predicate(*pred, if same { u32::MAX } else { 0 }, active);
                }
            }
            Op::Redux {
                op,
                dst,
                src,
                members,
            } => {
                self.members(env, *members, active)?;
                let values = self.src(env, *src);
                let result = lanes_of(active)
                    .map(|lane| values[lane] as u32)
                    .reduce(|a, b| reduce(*op, a, b))
                    .unwrap_or(0);
                self.registers
                    .write(*dst, &[u64::from(result); WARP], active);
            }
            Op::Elect { dst, pred, members } => {
                self.members(env, *members, active)?;
                let leader = active & active.wrapping_neg();
                if let Some(dst) = dst {
                    self.registers
                        .write(*dst, &[u64::from(leader.trailing_zeros()); WARP], active);
                }
                self.registers.write_predicate(*pred, leader, active);
            }
            Op::WarpSync { members } => {
                self.members(env, *members, active)?;
            }
            _ => return Err(Trouble::invalid("an operation that no unit executes")),
        }
        Ok(())
    }
}

/// The manual's algorithm: the clamp operand holds the segment mask in bits 8 to 12 and the bound in bits 0 to 4.
fn shuffle(
    mode: ShuffleMode,
    values: &Lanes,
    offsets: &Lanes,
    clamps: &Lanes,
    active: u32,
) -> Step<(Lanes, u32)> {
    let mut out = [0; WARP];
    let mut in_range = 0u32;
    for lane in lanes_of(active) {
        let (offset, clamp) = (offsets[lane] as i64 & 0x1f, clamps[lane] as i64 & 0x1f);
        let segment = (clamps[lane] as i64 >> 8) & 0x1f;
        let me = lane as i64;
        let max_lane = (me & segment) | (clamp & !segment);
        let min_lane = me & segment;
        let (source, valid) = match mode {
            ShuffleMode::Up => (me - offset, me - offset >= max_lane),
            ShuffleMode::Down => (me + offset, me + offset <= max_lane),
            ShuffleMode::Butterfly => (me ^ offset, me ^ offset <= max_lane),
            ShuffleMode::Index => {
                let source = min_lane | (offset & !segment);
                (source, source <= max_lane)
            }
        };
        let source = if valid { source as usize } else { lane };
        if (active >> source) & 1 == 0 {
            let detail = format!("reads lane {source}, which does not take part");
            return Err(Box::new(Trouble {
                kind: FaultKind::InvalidUse { detail },
                lane: Some(lane as u32),
                address: None,
            }));
        }
        out[lane] = values[source];
        in_range |= u32::from(valid) << lane;
    }
    Ok((out, in_range))
}

fn reduce(op: ReduxOp, a: u32, b: u32) -> u32 {
    match op {
        ReduxOp::Add => a.wrapping_add(b),
        ReduxOp::Min => a.min(b),
        ReduxOp::Max => a.max(b),
        ReduxOp::MinSigned => (a as i32).min(b as i32) as u32,
        ReduxOp::MaxSigned => (a as i32).max(b as i32) as u32,
        ReduxOp::And => a & b,
        ReduxOp::Or => a | b,
        ReduxOp::Xor => a ^ b,
    }
}
