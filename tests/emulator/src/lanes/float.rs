//! f32 and f64 arithmetic. Directed roundings and subnormal flushing follow the instruction's modifiers.
//!
//! A NaN result of f32 arithmetic is the canonical 0x7fffffff, as on hardware.

use super::rounding::{Mode, add_odd, flush, saturate, to_f32};
use super::{LaneFn, lane_fn, vector_fn};

/// Modifiers of an f32 operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Modifiers {
    pub mode: Mode,
    pub ftz: bool,
    pub sat: bool,
}

/// The bits of a result. Chosen among integers: between floats the compiler may take one NaN for another.
#[inline(always)]
fn canonical_bits(value: f32) -> u32 {
    if value.is_nan() {
        0x7fff_ffff
    } else {
        value.to_bits()
    }
}

#[inline(always)]
fn finish<const FTZ: bool, const SAT: bool>(value: f32) -> u32 {
    let value = if FTZ { flush(value) } else { value };
    let value = if SAT { saturate(value) } else { value };
    canonical_bits(value)
}

#[inline(always)]
fn arg<const FTZ: bool>(value: f32) -> f32 {
    if FTZ { flush(value) } else { value }
}

/// Instantiates a closure for each combination of `.ftz` and `.sat`, to nearest, and for each directed mode through
/// the exact f64 form.
macro_rules! with_modifiers {
    ($m:expr, [$($x:ident),+], near $near:expr, exact $exact:expr) => {{
        macro_rules! near {
            ($mode:expr, $ftz:literal, $sat:literal) => {
                vector_fn!(|$($x: f32),+| {
                    $(let $x = arg::<$ftz>($x);)+
                    finish::<$ftz, $sat>($near)
                })
            };
        }
        macro_rules! directed {
            ($mode:expr, $ftz:literal, $sat:literal) => {
                lane_fn!(|$($x: f32),+| {
                    $(let $x = f64::from(arg::<$ftz>($x));)+
                    finish::<$ftz, $sat>(to_f32($exact, $mode))
                })
            };
        }
        macro_rules! by_flags {
            ($apply:ident, $mode:expr) => {
                match ($m.ftz, $m.sat) {
                    (false, false) => $apply!($mode, false, false),
                    (true, false) => $apply!($mode, true, false),
                    (false, true) => $apply!($mode, false, true),
                    (true, true) => $apply!($mode, true, true),
                }
            };
        }
        match $m.mode {
            Mode::NearestEven | Mode::NearestAway => by_flags!(near, Mode::NearestEven),
            Mode::Zero => by_flags!(directed, Mode::Zero),
            Mode::Down => by_flags!(directed, Mode::Down),
            Mode::Up => by_flags!(directed, Mode::Up),
        }
    }};
}

/// A sum in f64 with the sign of an exact zero as the rounding mode has it: `-0` only for `.rm`.
fn exact_sum(a: f64, b: f64, down: bool) -> f64 {
    let sum = add_odd(a, b);
    if sum == 0.0 && down && (a.is_sign_negative() || b.is_sign_negative()) {
        -0.0
    } else {
        sum
    }
}

pub(crate) fn add(m: Modifiers) -> LaneFn {
    let down = m.mode == Mode::Down;
    if down {
        return with_modifiers!(m, [a, b], near a + b, exact exact_sum(a, b, true));
    }
    with_modifiers!(m, [a, b], near a + b, exact exact_sum(a, b, false))
}

pub(crate) fn sub(m: Modifiers) -> LaneFn {
    if m.mode == Mode::Down {
        return with_modifiers!(m, [a, b], near a - b, exact exact_sum(a, -b, true));
    }
    with_modifiers!(m, [a, b], near a - b, exact exact_sum(a, -b, false))
}

pub(crate) fn mul(m: Modifiers) -> LaneFn {
    with_modifiers!(m, [a, b], near a * b, exact a * b)
}

pub(crate) fn fma(m: Modifiers) -> LaneFn {
    if m.mode == Mode::Down {
        return with_modifiers!(m, [a, b, c], near a.mul_add(b, c), exact exact_sum(a * b, c, true));
    }
    with_modifiers!(m, [a, b, c], near a.mul_add(b, c), exact exact_sum(a * b, c, false))
}

/// Directed quotients and roots: the f64 result is pushed to odd by the sign of its exact remainder.
fn quotient_odd(a: f64, b: f64) -> f64 {
    let quotient = a / b;
    nudge(quotient, (-quotient).mul_add(b, a) * b.signum())
}

fn root_odd(a: f64) -> f64 {
    let root = a.sqrt();
    nudge(root, (-root).mul_add(root, a))
}

/// Rounds to odd a value whose exact counterpart differs by something of the sign of `rest`.
fn nudge(value: f64, rest: f64) -> f64 {
    let bits = value.to_bits();
    if !value.is_finite() || value == 0.0 || rest == 0.0 || rest.is_nan() || bits & 1 == 1 {
        return value;
    }
    if (rest > 0.0) == (value > 0.0) {
        f64::from_bits(bits + 1)
    } else {
        f64::from_bits(bits - 1)
    }
}

/// Correctly rounded division.
pub(crate) fn div(m: Modifiers) -> LaneFn {
    with_modifiers!(m, [a, b], near a / b, exact quotient_odd(a, b))
}

/// Correctly rounded reciprocal; the approximate one (1 ulp allowed) shares it.
pub(crate) fn rcp(m: Modifiers) -> LaneFn {
    with_modifiers!(m, [a], near 1.0 / a, exact quotient_odd(1.0, a))
}

/// Correctly rounded square root; the approximate one (1 ulp allowed) shares it.
pub(crate) fn sqrt(m: Modifiers) -> LaneFn {
    with_modifiers!(m, [a], near a.sqrt(), exact root_odd(a))
}

/// `div.approx`: 2 ulp allowed for a divisor in 2^-126..2^126; above that the quotient is 0 (inf / that is NaN).
pub(crate) fn div_approx(m: Modifiers) -> LaneFn {
    fn quotient(a: f32, b: f32) -> f32 {
        let huge = b.is_finite() && b.abs() > f32::from_bits(0x7e80_0000);
        match (huge, a.is_infinite()) {
            (true, true) => f32::NAN,
            (true, false) => 0f32.copysign(a * b.signum()),
            _ => a / b,
        }
    }
    with_modifiers!(m, [a, b], near quotient(a, b), exact a / b)
}

/// `rsqrt.approx`: relative error 2^-22.9 allowed; this one is within an ulp.
pub(crate) fn rsqrt(m: Modifiers) -> LaneFn {
    with_modifiers!(m, [a], near (1.0 / f64::from(a).sqrt()) as f32, exact 1.0 / a.sqrt())
}

/// `ex2.approx`, `lg2.approx`, `sin.approx`, `cos.approx`, `tanh.approx`: computed in f64 and rounded once, inside the
/// manual's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transcendental {
    Exp2,
    Log2,
    Sin,
    Cos,
    Tanh,
}

pub(crate) fn transcendental(function: Transcendental, m: Modifiers) -> LaneFn {
    match function {
        Transcendental::Exp2 => {
            with_modifiers!(m, [a], near f64::from(a).exp2() as f32, exact a.exp2())
        }
        Transcendental::Log2 => {
            with_modifiers!(m, [a], near f64::from(a).log2() as f32, exact a.log2())
        }
        Transcendental::Sin => {
            with_modifiers!(m, [a], near f64::from(a).sin() as f32, exact a.sin())
        }
        Transcendental::Cos => {
            with_modifiers!(m, [a], near f64::from(a).cos() as f32, exact a.cos())
        }
        Transcendental::Tanh => {
            with_modifiers!(m, [a], near f64::from(a).tanh() as f32, exact a.tanh())
        }
    }
}

/// A number beats a NaN, and -0 is less than +0; with `nan` a NaN wins.
pub(crate) fn min_max(m: Modifiers, max: bool, nan: bool) -> LaneFn {
    #[inline(always)]
    fn pick(a: f32, b: f32, max: bool, nan: bool) -> f32 {
        if a.is_nan() || b.is_nan() {
            return if nan || (a.is_nan() && b.is_nan()) {
                f32::NAN
            } else if a.is_nan() {
                b
            } else {
                a
            };
        }
        let less = a < b || (a == b && a.is_sign_negative());
        if less == max { b } else { a }
    }
    let m = Modifiers {
        mode: Mode::NearestEven,
        ..m
    };
    match (max, nan) {
        (false, false) => with_modifiers!(m, [a, b], near pick(a, b, false, false), exact a + b),
        (false, true) => with_modifiers!(m, [a, b], near pick(a, b, false, true), exact a + b),
        (true, false) => with_modifiers!(m, [a, b], near pick(a, b, true, false), exact a + b),
        (true, true) => with_modifiers!(m, [a, b], near pick(a, b, true, true), exact a + b),
    }
}

pub(crate) fn neg(m: Modifiers) -> LaneFn {
    if m.ftz {
        lane_fn!(|a: f32| -flush(a))
    } else {
        lane_fn!(|a: f32| -a)
    }
}

pub(crate) fn abs(m: Modifiers) -> LaneFn {
    if m.ftz {
        lane_fn!(|a: f32| flush(a).abs())
    } else {
        lane_fn!(|a: f32| a.abs())
    }
}

/// The sign of `a` on the magnitude of `b`.
pub(crate) fn copysign(double: bool) -> LaneFn {
    if double {
        lane_fn!(|a: f64, b: f64| b.copysign(a))
    } else {
        lane_fn!(|a: f32, b: f32| b.copysign(a))
    }
}

/// Two-operand f64 operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Double {
    Add,
    Sub,
    Mul,
    Div,
    Fma,
    Rcp,
    Sqrt,
    Rsqrt,
    Neg,
    Abs,
    Min,
    Max,
}

/// f64, rounded to nearest; other roundings are not there.
pub(crate) fn double(operation: Double) -> LaneFn {
    fn pick(a: f64, b: f64, max: bool) -> f64 {
        if a.is_nan() || b.is_nan() {
            return if a.is_nan() { b } else { a };
        }
        let less = a < b || (a == b && a.is_sign_negative());
        if less == max { b } else { a }
    }
    match operation {
        Double::Add => lane_fn!(|a: f64, b: f64| a + b),
        Double::Sub => lane_fn!(|a: f64, b: f64| a - b),
        Double::Mul => lane_fn!(|a: f64, b: f64| a * b),
        Double::Div => lane_fn!(|a: f64, b: f64| a / b),
        Double::Fma => lane_fn!(|a: f64, b: f64, c: f64| a.mul_add(b, c)),
        Double::Rcp => lane_fn!(|a: f64| 1.0 / a),
        Double::Sqrt => lane_fn!(|a: f64| a.sqrt()),
        Double::Rsqrt => lane_fn!(|a: f64| 1.0 / a.sqrt()),
        Double::Neg => lane_fn!(|a: f64| -a),
        Double::Abs => lane_fn!(|a: f64| a.abs()),
        Double::Min => lane_fn!(|a: f64, b: f64| pick(a, b, false)),
        Double::Max => lane_fn!(|a: f64, b: f64| pick(a, b, true)),
    }
}
