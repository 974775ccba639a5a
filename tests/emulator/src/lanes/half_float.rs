//! f16 and bf16 arithmetic, single and packed. Operands are exact in f64 and each result is rounded once.

use super::rounding::{Mode, add_odd, bf16_bits, f16_bits};
use super::{Half, LaneFn, lane_fn};
use crate::ptx::types::Type;
use half::{bf16, f16};

/// A 16-bit format.
pub(crate) trait Format16: Half {
    fn wide(self) -> f64;
    fn narrow(value: f64) -> Self;
    fn flushed(self) -> Self;
}

impl Format16 for f16 {
    fn wide(self) -> f64 {
        self.to_f64()
    }
    fn narrow(value: f64) -> Self {
        Self::from_bits(f16_bits(value, Mode::NearestEven))
    }
    fn flushed(self) -> Self {
        if self.to_bits() & 0x7c00 == 0 {
            Self::from_bits(self.to_bits() & 0x8000)
        } else {
            self
        }
    }
}

impl Format16 for bf16 {
    fn wide(self) -> f64 {
        self.to_f64()
    }
    fn narrow(value: f64) -> Self {
        Self::from_bits(bf16_bits(value, Mode::NearestEven))
    }
    /// The bf16 instructions have no `.ftz`.
    fn flushed(self) -> Self {
        self
    }
}

/// Operations; `Relu` and `Sat` variants of the fused multiply-add are flags of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HalfOp {
    Add,
    Sub,
    Mul,
    Fma,
    FmaRelu,
    Neg,
    Abs,
    Min,
    Max,
    MinNan,
    MaxNan,
    Exp2,
    Tanh,
}

fn pick<T: Format16>(a: T, b: T, max: bool, nan: bool) -> T {
    let (x, y) = (a.wide(), b.wide());
    if x.is_nan() || y.is_nan() {
        return if nan || (x.is_nan() && y.is_nan()) {
            T::narrow(f64::NAN)
        } else if x.is_nan() {
            b
        } else {
            a
        };
    }
    let less = x < y || (x == y && x.is_sign_negative());
    if less == max { b } else { a }
}

fn relu<T: Format16>(value: f64) -> T {
    // Negative results and -0 become +0; NaN stays.
    if value.is_nan() || value > 0.0 {
        T::narrow(value)
    } else {
        T::narrow(0.0)
    }
}

fn sign_bit<T: Format16>(value: T, change: impl Fn(u64) -> u64) -> T {
    T::from_lane(change(value.to_lane()))
}

fn apply<T: Format16>(op: HalfOp, a: T, b: T, c: T) -> T {
    match op {
        HalfOp::Add => T::narrow(add_odd(a.wide(), b.wide())),
        HalfOp::Sub => T::narrow(add_odd(a.wide(), -b.wide())),
        HalfOp::Mul => T::narrow(a.wide() * b.wide()),
        HalfOp::Fma => T::narrow(add_odd(a.wide() * b.wide(), c.wide())),
        HalfOp::FmaRelu => relu(add_odd(a.wide() * b.wide(), c.wide())),
        HalfOp::Neg => sign_bit(a, |bits| bits ^ 0x8000),
        HalfOp::Abs => sign_bit(a, |bits| bits & 0x7fff),
        HalfOp::Min => pick(a, b, false, false),
        HalfOp::Max => pick(a, b, true, false),
        HalfOp::MinNan => pick(a, b, false, true),
        HalfOp::MaxNan => pick(a, b, true, true),
        HalfOp::Exp2 => T::narrow(a.wide().exp2()),
        HalfOp::Tanh => T::narrow(a.wide().tanh()),
    }
}

fn zip<T: Format16>(op: HalfOp, a: [T; 2], b: [T; 2], c: [T; 2]) -> [T; 2] {
    std::array::from_fn(|part| apply(op, a[part], b[part], c[part]))
}

/// The lane function of an operation; `ftz` is for f16 only.
pub(crate) fn operation(op: HalfOp, ty: Type, ftz: bool) -> Option<LaneFn> {
    macro_rules! instance {
        ($op:path) => {
            match (ty, ftz) {
                (Type::F16, false) => lane_fn!(|a: f16, b: f16, c: f16| apply($op, a, b, c)),
                (Type::Bf16, false) => lane_fn!(|a: bf16, b: bf16, c: bf16| apply($op, a, b, c)),
                (Type::F16x2, false) => {
                    lane_fn!(|a: [f16; 2], b: [f16; 2], c: [f16; 2]| zip($op, a, b, c))
                }
                (Type::Bf16x2, false) => {
                    lane_fn!(|a: [bf16; 2], b: [bf16; 2], c: [bf16; 2]| zip($op, a, b, c))
                }
                (Type::F16, true) => {
                    lane_fn!(|a: f16, b: f16, c: f16| apply(
                        $op,
                        a.flushed(),
                        b.flushed(),
                        c.flushed()
                    )
                    .flushed())
                }
                (Type::F16x2, true) => lane_fn!(|a: [f16; 2], b: [f16; 2], c: [f16; 2]| {
                    zip(
                        $op,
                        a.map(f16::flushed),
                        b.map(f16::flushed),
                        c.map(f16::flushed),
                    )
                    .map(f16::flushed)
                }),
                _ => return None,
            }
        };
    }
    Some(match op {
        HalfOp::Add => instance!(HalfOp::Add),
        HalfOp::Sub => instance!(HalfOp::Sub),
        HalfOp::Mul => instance!(HalfOp::Mul),
        HalfOp::Fma => instance!(HalfOp::Fma),
        HalfOp::FmaRelu => instance!(HalfOp::FmaRelu),
        HalfOp::Neg => instance!(HalfOp::Neg),
        HalfOp::Abs => instance!(HalfOp::Abs),
        HalfOp::Min => instance!(HalfOp::Min),
        HalfOp::Max => instance!(HalfOp::Max),
        HalfOp::MinNan => instance!(HalfOp::MinNan),
        HalfOp::MaxNan => instance!(HalfOp::MaxNan),
        HalfOp::Exp2 => instance!(HalfOp::Exp2),
        HalfOp::Tanh => instance!(HalfOp::Tanh),
    })
}
