//! What a read-modify-write makes of the old value.

use crate::isa::{AtomicOp, FloatKind};
use crate::lanes::Lane;
use crate::lanes::rounding::{Mode, add_odd, bf16_bits, f16_bits};
use half::{bf16, f16};

/// The new value. `b` is the second operand, which only compare-and-swap has.
pub(super) fn new_value(op: AtomicOp, bytes: u32, old: u64, a: u64, b: u64) -> u64 {
    let mask = if bytes == 8 {
        u64::MAX
    } else {
        (1 << (8 * bytes)) - 1
    };
    let signed = |value: u64| {
        if bytes == 8 {
            value as i64
        } else {
            i64::from(value as i32)
        }
    };
    let new = match op {
        AtomicOp::Add => old.wrapping_add(a),
        AtomicOp::And => old & a,
        AtomicOp::Or => old | a,
        AtomicOp::Xor => old ^ a,
        AtomicOp::Exchange => a,
        AtomicOp::CompareSwap => {
            if old == a & mask {
                b
            } else {
                old
            }
        }
        AtomicOp::Min { signed: true } => {
            if signed(a) < signed(old) {
                a
            } else {
                old
            }
        }
        AtomicOp::Max { signed: true } => {
            if signed(a) > signed(old) {
                a
            } else {
                old
            }
        }
        AtomicOp::Min { signed: false } => old.min(a),
        AtomicOp::Max { signed: false } => old.max(a),
        // Counts up to the operand and wraps to zero; counts down to zero and wraps to the operand.
        AtomicOp::Inc => {
            if old >= a {
                0
            } else {
                old + 1
            }
        }
        AtomicOp::Dec => {
            if old == 0 || old > a {
                a
            } else {
                old - 1
            }
        }
        // In f64 a sum rounded to odd would show.
        AtomicOp::FloatAdd(FloatKind::F64) => float(FloatKind::F64, old, a, |x, y| x + y),
        AtomicOp::FloatAdd(kind) => float(kind, old, a, add_odd),
        AtomicOp::FloatMin(kind) => float(kind, old, a, f64::min),
        AtomicOp::FloatMax(kind) => float(kind, old, a, f64::max),
    };
    new & mask
}

fn float(kind: FloatKind, old: u64, a: u64, combine: fn(f64, f64) -> f64) -> u64 {
    let half = |x: u64, y: u64| {
        u64::from(f16_bits(
            combine(f16::from_lane(x).to_f64(), f16::from_lane(y).to_f64()),
            Mode::NearestEven,
        ))
    };
    let brain = |x: u64, y: u64| {
        u64::from(bf16_bits(
            combine(bf16::from_lane(x).to_f64(), bf16::from_lane(y).to_f64()),
            Mode::NearestEven,
        ))
    };
    let (low, high) = (
        (old & 0xffff, a & 0xffff),
        ((old >> 16) & 0xffff, (a >> 16) & 0xffff),
    );
    match kind {
        FloatKind::F16 => half(low.0, low.1),
        FloatKind::Bf16 => brain(low.0, low.1),
        FloatKind::F16x2 => half(low.0, low.1) | (half(high.0, high.1) << 16),
        FloatKind::Bf16x2 => brain(low.0, low.1) | (brain(high.0, high.1) << 16),
        FloatKind::F32 => {
            (combine(f64::from(f32::from_lane(old)), f64::from(f32::from_lane(a))) as f32).to_lane()
        }
        FloatKind::F64 => combine(f64::from_lane(old), f64::from_lane(a)).to_lane(),
    }
}
