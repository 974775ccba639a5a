//! The register file of one warp: one array of 32 lanes for each register, and a mask of the lanes that were written.

use crate::isa::{Pred, PredSrc, Reg, Src};
use crate::lanes::{Lanes, WARP};

#[derive(Debug, Default)]
pub(super) struct Registers {
    values: Vec<Lanes>,
    written: Vec<u32>,
    predicates: Vec<u32>,
    predicates_written: Vec<u32>,
    /// The carry flag of each lane.
    pub carry: u32,
}

impl Registers {
    /// Makes room and forgets what was written before.
    pub(super) fn reset(&mut self, values: usize, predicates: usize) {
        self.values.resize(values, [0; WARP]);
        self.written.clear();
        self.written.resize(values, 0);
        self.predicates.clear();
        self.predicates.resize(predicates, 0);
        self.predicates_written.clear();
        self.predicates_written.resize(predicates, 0);
        self.carry = 0;
    }

    /// The lanes of a source.
    #[inline(always)]
    pub(super) fn src<'a>(&'a self, constants: &'a [Lanes], src: Src) -> &'a Lanes {
        match src.split() {
            Ok(constant) => &constants[constant],
            Err(register) => &self.values[register],
        }
    }

    /// Writes the active lanes.
    #[inline(always)]
    pub(super) fn write(&mut self, dst: Reg, lanes: &Lanes, active: u32) {
        self.copy(dst, lanes, active, active);
    }

    /// Writes the active lanes, of which only `written` hold a defined value.
    #[inline(always)]
    pub(super) fn copy(&mut self, dst: Reg, lanes: &Lanes, active: u32, written: u32) {
        let slot = dst.0 as usize;
        let register = &mut self.values[slot];
        if active == u32::MAX {
            *register = *lanes;
        } else {
            for lane in 0..WARP {
                let chosen = 0u64.wrapping_sub(u64::from((active >> lane) & 1));
                register[lane] = (register[lane] & !chosen) | (lanes[lane] & chosen);
            }
        }
        self.written[slot] = (self.written[slot] & !active) | (written & active);
    }

    /// A register whose active lanes the caller is about to fill.
    #[inline(always)]
    pub(super) fn fill(&mut self, dst: Reg, active: u32) -> &mut Lanes {
        let slot = dst.0 as usize;
        self.written[slot] |= active;
        &mut self.values[slot]
    }

    /// Lanes in which a source holds a defined value.
    pub(super) fn defined(&self, src: Src) -> u32 {
        match src.split() {
            Ok(_) => u32::MAX,
            Err(register) => self.written[register],
        }
    }

    pub(super) fn written(&self, slot: u32) -> u32 {
        self.written[slot as usize]
    }

    pub(super) fn predicate_written(&self, slot: u32) -> u32 {
        self.predicates_written[slot as usize]
    }

    pub(super) fn predicate(&self, pred: Pred) -> u32 {
        self.predicates[pred.0 as usize]
    }

    pub(super) fn pred_src(&self, src: PredSrc) -> u32 {
        match src {
            PredSrc::Register {
                pred,
                negated: false,
            } => self.predicate(pred),
            PredSrc::Register {
                pred,
                negated: true,
            } => !self.predicate(pred),
            PredSrc::Literal(true) => u32::MAX,
            PredSrc::Literal(false) => 0,
        }
    }

    pub(super) fn write_predicate(&mut self, dst: Pred, value: u32, active: u32) {
        let slot = dst.0 as usize;
        self.predicates[slot] = (self.predicates[slot] & !active) | (value & active);
        self.predicates_written[slot] |= active;
    }
}
