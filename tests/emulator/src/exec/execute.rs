//! What each decoded operation does, memory and synchronisation apart.

use super::block::Core;
use super::env::Env;
use super::trouble::{Step, Trouble, lanes_of};
use super::warp::{Next, Warp};
use crate::fault::FaultKind;
use crate::isa::{BoolOp, Inst, MemSpace, Op, Pred, PredSrc, Reg, Src};
use crate::lanes::{CompareFn, LaneFn, Lanes, WARP};
use crate::memory::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, WINDOW_BYTES};

impl Warp {
    pub(super) fn execute(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        inst: &Inst,
        active: u32,
    ) -> Step<Next> {
        match &inst.op {
            Op::Lanes { f, dst, src } => self.lanes(env, *f, *dst, src, active),
            Op::Move { dst, src, mask } => {
                let out: Lanes = self.src(env, *src).map(|lane| lane & mask);
                let defined = self.registers.defined(*src);
                self.registers.copy(*dst, &out, active, defined);
            }
            Op::Select {
                dst,
                a,
                b,
                pred,
                mask,
            } => self.select(env, *dst, (*a, *b), *pred, (*mask, active)),
            Op::Pack { dst, parts, bits } => self.pack(env, *dst, parts, *bits, active),
            Op::Unpack { dsts, src, bits } => self.unpack(env, dsts, *src, *bits, active),
            Op::Compare {
                f,
                src,
                combine,
                dst,
                complement,
            } => self.compare(env, *f, src, *combine, (*dst, *complement), active),
            Op::Set {
                f,
                src,
                combine,
                dst,
                truth,
            } => {
                let holds = self.holds(env, *f, src, *combine);
                let out =
                    std::array::from_fn(|lane| if (holds >> lane) & 1 == 1 { *truth } else { 0 });
                self.registers.write(*dst, &out, active);
            }
            Op::PredLogic { op, dst, a, b } => {
                let value = op.apply(self.registers.pred_src(*a), self.registers.pred_src(*b));
                self.registers.write_predicate(*dst, value, active);
            }
            Op::Carry {
                subtract,
                carry_in,
                carry_out,
                bits,
                dst,
                src,
            } => {
                let terms = (*self.src(env, src[0]), *self.src(env, src[1]));
                let flags = CarryFlags {
                    subtract: *subtract,
                    carry_in: *carry_in,
                    carry_out: *carry_out,
                    bits: *bits,
                };
                self.carry(flags, *dst, &terms.0, &terms.1, active);
            }
            Op::CarryMad {
                high,
                signed,
                carry_in,
                carry_out,
                bits,
                dst,
                src,
            } => {
                let factors = (*self.src(env, src[0]), *self.src(env, src[1]));
                let product = std::array::from_fn(|lane| {
                    product_half(factors.0[lane], factors.1[lane], *bits, *high, *signed)
                });
                let addend = *self.src(env, src[2]);
                let flags = CarryFlags {
                    subtract: false,
                    carry_in: *carry_in,
                    carry_out: *carry_out,
                    bits: *bits,
                };
                self.carry(flags, *dst, &product, &addend, active);
            }
            Op::Clock { dst } => self.registers.write(*dst, &[self.executed; WARP], active),
            Op::ActiveMask { dst } => {
                self.registers
                    .write(*dst, &[u64::from(active); WARP], active)
            }
            Op::IsSpace { dst, src, space } => {
                let value = self.in_space(env, *src, *space);
                self.registers.write_predicate(*dst, value, active);
            }
            Op::Hint => {}
            Op::Yield => return Ok(Next::Yield),
            Op::Branch { target, reconverge } => {
                return Ok(self.branch(core, *target, *reconverge, active));
            }
            Op::BranchTable {
                index,
                targets,
                reconverge,
            } => return self.branch_table(env, core, *index, targets, *reconverge, active),
            Op::Exit => return Ok(self.exit(active)),
            Op::Trap => return Err(Trouble::new(FaultKind::Trap)),
            _ => return self.execute_memory(env, core, inst, active),
        }
        Ok(Next::Step)
    }

    #[inline(always)]
    fn lanes(&mut self, env: &Env<'_>, f: LaneFn, dst: Reg, src: &[Src; 4], active: u32) {
        let mut out = [0; WARP];
        match f {
            LaneFn::Unary(f) => f(&mut out, self.src(env, src[0])),
            LaneFn::Binary(f) => f(&mut out, self.src(env, src[0]), self.src(env, src[1])),
            LaneFn::Ternary(f) => f(
                &mut out,
                self.src(env, src[0]),
                self.src(env, src[1]),
                self.src(env, src[2]),
            ),
            LaneFn::Quaternary(f) => {
                f(
                    &mut out,
                    self.src(env, src[0]),
                    self.src(env, src[1]),
                    self.src(env, src[2]),
                    self.src(env, src[3]),
                );
            }
        }
        self.registers.write(dst, &out, active);
    }

    /// Undefined values may be chosen; the result is then undefined in those lanes.
    fn select(
        &mut self,
        env: &Env<'_>,
        dst: Reg,
        (a, b): (Src, Src),
        pred: PredSrc,
        (mask, active): (u64, u32),
    ) {
        let chosen = self.registers.pred_src(pred);
        let (first, second) = (self.src(env, a), self.src(env, b));
        let out = std::array::from_fn(|lane| {
            mask & if (chosen >> lane) & 1 == 1 {
                first[lane]
            } else {
                second[lane]
            }
        });
        let defined = (self.registers.defined(a) & chosen) | (self.registers.defined(b) & !chosen);
        self.registers.copy(dst, &out, active, defined);
    }

    fn pack(&mut self, env: &Env<'_>, dst: Reg, parts: &[Src], bits: u32, active: u32) {
        let mut out = [0; WARP];
        let mut defined = u32::MAX;
        let mask = (1u64 << bits) - 1;
        for (index, part) in parts.iter().enumerate() {
            let lanes = self.src(env, *part);
            let shift = bits * index as u32;
            for lane in 0..WARP {
                out[lane] |= (lanes[lane] & mask) << shift;
            }
            defined &= self.registers.defined(*part);
        }
        self.registers.copy(dst, &out, active, defined);
    }

    fn unpack(&mut self, env: &Env<'_>, dsts: &[Option<Reg>], src: Src, bits: u32, active: u32) {
        let whole = *self.src(env, src);
        let defined = self.registers.defined(src);
        let mask = (1u64 << bits) - 1;
        for (index, dst) in dsts.iter().enumerate() {
            if let Some(dst) = dst {
                let shift = bits * index as u32;
                self.registers.copy(
                    *dst,
                    &whole.map(|lane| (lane >> shift) & mask),
                    active,
                    defined,
                );
            }
        }
    }

    fn holds(
        &self,
        env: &Env<'_>,
        f: CompareFn,
        src: &[Src; 2],
        combine: Option<(BoolOp, PredSrc)>,
    ) -> u32 {
        let holds = f.0(self.src(env, src[0]), self.src(env, src[1]));
        combine.map_or(holds, |(op, pred)| {
            op.apply(holds, self.registers.pred_src(pred))
        })
    }

    fn compare(
        &mut self,
        env: &Env<'_>,
        f: CompareFn,
        src: &[Src; 2],
        combine: Option<(BoolOp, PredSrc)>,
        dsts: (Option<Pred>, Option<Pred>),
        active: u32,
    ) {
        let holds = f.0(self.src(env, src[0]), self.src(env, src[1]));
        let combined = |holds: u32| {
            combine.map_or(holds, |(op, pred)| {
                op.apply(holds, self.registers.pred_src(pred))
            })
        };
        let (value, complement) = (combined(holds), combined(!holds));
        if let Some(dst) = dsts.0 {
            self.registers.write_predicate(dst, value, active);
        }
        if let Some(dst) = dsts.1 {
            self.registers.write_predicate(dst, complement, active);
        }
    }

    /// Sum or difference with the carry flag, which for a difference is the borrow.
    fn carry(&mut self, flags: CarryFlags, dst: Reg, a: &Lanes, b: &Lanes, active: u32) {
        let mut out = [0; WARP];
        let mut carries = 0u32;
        for lane in 0..WARP {
            let carry = if flags.carry_in {
                u128::from((self.registers.carry >> lane) & 1)
            } else {
                0
            };
            let (x, y) = (u128::from(a[lane]), u128::from(b[lane]));
            let full = if flags.subtract {
                x.wrapping_sub(y).wrapping_sub(carry)
            } else {
                x + y + carry
            };
            carries |= (((full >> flags.bits) & 1) as u32) << lane;
            out[lane] = (full as u64)
                & if flags.bits == 64 {
                    u64::MAX
                } else {
                    (1 << flags.bits) - 1
                };
        }
        if flags.carry_out {
            self.registers.carry = (self.registers.carry & !active) | (carries & active);
        }
        self.registers.write(dst, &out, active);
    }

    fn in_space(&self, env: &Env<'_>, src: Src, space: MemSpace) -> u32 {
        let addresses = self.src(env, src);
        lanes_of(u32::MAX)
            .filter(|lane| space_of(addresses[*lane]).0 == space)
            .fold(0, |mask, lane| mask | 1 << lane)
    }

    fn branch(&mut self, core: &mut Core, target: u32, reconverge: u32, active: u32) -> Next {
        let split = self.splits.current();
        if active == split.mask {
            split.pc = target;
        } else if active == 0 {
            split.pc += 1;
        } else {
            let ways = [(split.pc + 1, split.mask & !active), (target, active)];
            core.tally.divergent_branches += 1;
            self.splits.diverge(&ways, reconverge);
        }
        Next::Moved
    }

    fn branch_table(
        &mut self,
        env: &Env<'_>,
        core: &mut Core,
        index: Src,
        targets: &[u32],
        reconverge: u32,
        active: u32,
    ) -> Step<Next> {
        let indices = self.src(env, index);
        let split_mask = self
            .splits
            .parts()
            .iter()
            .map(|split| split.mask)
            .sum::<u32>();
        let mut ways: Vec<(u32, u32)> = Vec::new();
        for lane in lanes_of(active) {
            let Some(target) = targets.get(indices[lane] as usize).copied() else {
                let detail = format!(
                    "branch index {} of a table of {}",
                    indices[lane],
                    targets.len()
                );
                return Err(Box::new(Trouble {
                    kind: FaultKind::InvalidUse { detail },
                    lane: Some(lane as u32),
                    address: None,
                }));
            };
            match ways.iter_mut().find(|way| way.0 == target) {
                Some(way) => way.1 |= 1 << lane,
                None => ways.push((target, 1 << lane)),
            }
        }
        debug_assert!(split_mask >= active);
        let split = self.splits.current();
        let rest = split.mask & !active;
        if rest != 0 {
            ways.push((split.pc + 1, rest));
        }
        match ways.as_slice() {
            [(target, _)] => split.pc = *target,
            _ => {
                core.tally.divergent_branches += 1;
                self.splits.diverge(&ways, reconverge);
            }
        }
        Ok(Next::Moved)
    }

    fn exit(&mut self, active: u32) -> Next {
        let split = self.splits.current();
        if active == 0 {
            split.pc += 1;
            return Next::Moved;
        }
        let next = split.pc + 1;
        self.splits.exit(active, next);
        // The current split may be gone or another one now.
        Next::Wait
    }
}

#[derive(Debug, Clone, Copy)]
struct CarryFlags {
    subtract: bool,
    carry_in: bool,
    carry_out: bool,
    bits: u32,
}

/// Low or high half of a product of that width.
fn product_half(a: u64, b: u64, bits: u32, high: bool, signed: bool) -> u64 {
    let widen = |value: u64| match (bits, signed) {
        (32, true) => i128::from(value as i32),
        (32, false) => i128::from(value as u32),
        (_, true) => i128::from(value as i64),
        (_, false) => i128::from(value),
    };
    let product = widen(a).wrapping_mul(widen(b));
    let half = if high { product >> bits } else { product } as u64;
    if bits == 32 { half & 0xffff_ffff } else { half }
}

/// The state space of a generic address, and the address in it.
#[inline(always)]
pub(super) fn space_of(address: u64) -> (MemSpace, u64) {
    for (window, space) in [
        (SHARED_WINDOW, MemSpace::Shared),
        (LOCAL_WINDOW, MemSpace::Local),
        (PARAM_WINDOW, MemSpace::Param),
    ] {
        // A little below a window counts as in it, so that a negative index is reported for the space that was meant.
        let offset = address.wrapping_sub(window);
        if offset < WINDOW_BYTES || offset.wrapping_neg() <= WINDOW_BYTES {
            return (space, offset);
        }
    }
    (MemSpace::Global, address)
}
