//! `cvt`: between integers, between floats, and across.

use super::rounding::{
    Format, Mode, add_odd, bf16_bits, bf16_from_f32, f16_bits, flush, power_of_two, round,
    saturate, tf32_from_f32, to_f32,
};
use super::{Lane, LaneFn, lane_fn, vector_fn};
use crate::ptx::types::Type;
use half::{bf16, f16};

/// Modifiers of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Modifiers {
    /// Rounding to the destination's precision, or to an integer where `integral`.
    pub mode: Mode,
    /// One of `.rni .rzi .rmi .rpi`.
    pub integral: bool,
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
}

macro_rules! with_integer_type {
    ($ty:expr, $apply:ident $(, $rest:tt)*) => {
        match $ty {
            Type::U8 | Type::B8 => Some($apply!(u8 $(, $rest)*)),
            Type::U16 | Type::B16 => Some($apply!(u16 $(, $rest)*)),
            Type::U32 | Type::B32 => Some($apply!(u32 $(, $rest)*)),
            Type::U64 | Type::B64 => Some($apply!(u64 $(, $rest)*)),
            Type::S8 => Some($apply!(i8 $(, $rest)*)),
            Type::S16 => Some($apply!(i16 $(, $rest)*)),
            Type::S32 => Some($apply!(i32 $(, $rest)*)),
            Type::S64 => Some($apply!(i64 $(, $rest)*)),
            _ => None,
        }
    };
}

/// Integer to integer: truncation and extension by the source's sign, or clamping with `.sat`.
pub(crate) fn integer(dst: Type, src: Type, sat: bool) -> Option<LaneFn> {
    macro_rules! clamped {
        ($to:ty, $from:ty) => {
            lane_fn!(
                |a: $from| i128::from(a).clamp(i128::from(<$to>::MIN), i128::from(<$to>::MAX))
                    as $to
            )
        };
    }
    macro_rules! truncated {
        ($to:ty, $from:ty) => {
            lane_fn!(|a: $from| a as $to)
        };
    }
    macro_rules! to {
        ($from:ty) => {{
            macro_rules! clamped_to {
                ($to:ty) => {
                    clamped!($to, $from)
                };
            }
            macro_rules! truncated_to {
                ($to:ty) => {
                    truncated!($to, $from)
                };
            }
            if sat {
                with_integer_type!(dst, clamped_to)
            } else {
                with_integer_type!(dst, truncated_to)
            }
        }};
    }
    with_integer_type!(src, to).flatten()
}

fn integral(value: f64, mode: Mode) -> f64 {
    match mode {
        Mode::NearestEven => value.round_ties_even(),
        Mode::NearestAway => value.round(),
        Mode::Zero => value.trunc(),
        Mode::Down => value.floor(),
        Mode::Up => value.ceil(),
    }
}

/// A float source widened exactly.
trait Wide: Lane {
    fn wide(self) -> f64;
    fn flushed(self) -> f64 {
        self.wide()
    }
}

impl Wide for f64 {
    fn wide(self) -> f64 {
        self
    }
}

impl Wide for f32 {
    fn wide(self) -> f64 {
        f64::from(self)
    }
    fn flushed(self) -> f64 {
        f64::from(flush(self))
    }
}

impl Wide for f16 {
    fn wide(self) -> f64 {
        self.to_f64()
    }
}

impl Wide for bf16 {
    fn wide(self) -> f64 {
        self.to_f64()
    }
}

macro_rules! with_float_type {
    ($ty:expr, $apply:ident) => {
        match $ty {
            Type::F16 => $apply!(f16),
            Type::Bf16 => $apply!(bf16),
            Type::F32 => $apply!(f32),
            Type::F64 => $apply!(f64),
            _ => None,
        }
    };
}

macro_rules! with_mode {
    ($mode:expr, $apply:ident) => {
        match $mode {
            Mode::NearestEven => $apply!(Mode::NearestEven),
            Mode::NearestAway => $apply!(Mode::NearestAway),
            Mode::Zero => $apply!(Mode::Zero),
            Mode::Down => $apply!(Mode::Down),
            Mode::Up => $apply!(Mode::Up),
        }
    };
}

/// Float to integer: always clamped; NaN gives 0, or the top bit alone where f64 or 64-bit integers take part.
pub(crate) fn float_to_integer(dst: Type, src: Type, m: Modifiers) -> Option<LaneFn> {
    macro_rules! instance {
        ($to:ty, $from:ty, $mode:expr, $widen:ident) => {
            lane_fn!(|a: $from| {
                let value = a.$widen();
                if value.is_nan() && (size_of::<$from>() == 8 || size_of::<$to>() == 8) {
                    (1 as $to) << (<$to>::BITS - 1)
                } else {
                    integral(value, $mode) as $to
                }
            })
        };
    }
    macro_rules! from {
        ($from:ty) => {{
            macro_rules! by_mode {
                ($mode:expr) => {{
                    macro_rules! plain {
                        ($to:ty) => {
                            instance!($to, $from, $mode, wide)
                        };
                    }
                    macro_rules! flushing {
                        ($to:ty) => {
                            instance!($to, $from, $mode, flushed)
                        };
                    }
                    if m.ftz {
                        with_integer_type!(dst, flushing)
                    } else {
                        with_integer_type!(dst, plain)
                    }
                }};
            }
            with_mode!(m.mode, by_mode)
        }};
    }
    with_float_type!(src, from)
}

/// An integer exactly, or rounded to odd where an f64 cannot hold it.
fn odd_integer(value: i128) -> f64 {
    let high = (value >> 32) as f64 * power_of_two(32);
    add_odd(high, (value & 0xffff_ffff) as f64)
}

/// Integer to float.
pub(crate) fn integer_to_float(dst: Type, src: Type, mode: Mode) -> Option<LaneFn> {
    macro_rules! to_float {
        ($from:ty) => {{
            macro_rules! by_mode {
                ($mode:expr) => {
                    match dst {
                        Type::F16 => Some(lane_fn!(|a: $from| f16_bits(odd_integer(i128::from(a)), $mode))),
                        Type::Bf16 => Some(lane_fn!(|a: $from| bf16_bits(odd_integer(i128::from(a)), $mode))),
                        Type::F32 => Some(lane_fn!(|a: $from| to_f32(odd_integer(i128::from(a)), $mode))),
                        // An f64 holds integers of 32 bits exactly, so that only to-nearest needs care.
                        Type::F64 if $mode == Mode::NearestEven || <$from>::BITS <= 32 => Some(lane_fn!(|a: $from| a as f64)),
                        _ => None,
                    }
                };
            }
            with_mode!(mode, by_mode)
        }};
    }
    with_integer_type!(src, to_float).flatten()
}

fn saturate_wide(value: f64, sat: bool) -> f64 {
    match (sat, value > 0.0) {
        (true, true) => value.min(1.0),
        (true, false) => 0.0,
        _ => value,
    }
}

/// Negative values and -0 become +0; NaN stays.
fn relu(value: f64, relu: bool) -> f64 {
    if relu && !(value > 0.0 || value.is_nan()) {
        0.0
    } else {
        value
    }
}

/// Float to float.
pub(crate) fn float(dst: Type, src: Type, m: Modifiers) -> Option<LaneFn> {
    if let Some(common) = common_float(dst, src, m) {
        return Some(common);
    }
    macro_rules! float_result {
        ($dst:expr, $from:ty, $ftz:expr, |$x:ident| $body:expr, $mode:expr) => {
            match ($dst, $ftz) {
                (Type::F16, false) => Some(lane_fn!(|a: $from| {
                    let $x = a.wide();
                    f16_bits($body, $mode)
                })),
                (Type::F16, true) => Some(lane_fn!(|a: $from| {
                    let $x = a.flushed();
                    f16_bits($body, $mode)
                })),
                (Type::Bf16, _) => Some(lane_fn!(|a: $from| {
                    let $x = a.wide();
                    bf16_bits($body, $mode)
                })),
                (Type::F32, false) => Some(lane_fn!(|a: $from| {
                    let $x = a.wide();
                    to_f32($body, $mode)
                })),
                (Type::F32, true) => Some(lane_fn!(|a: $from| {
                    let $x = a.flushed();
                    flush(to_f32($body, $mode))
                })),
                (Type::F64, false) => Some(lane_fn!(|a: $from| {
                    let $x = a.wide();
                    $body
                })),
                (Type::F64, true) => Some(lane_fn!(|a: $from| {
                    let $x = a.flushed();
                    $body
                })),
                (Type::Tf32, _) => Some(lane_fn!(|a: $from| {
                    let $x = a.wide();
                    tf32($body, $mode)
                })),
                _ => None,
            }
        };
    }
    macro_rules! from {
        ($from:ty) => {{
            macro_rules! by_mode {
                ($mode:expr) => {
                    match (m.integral, m.sat, m.relu) {
                        (true, false, false) => {
                            float_result!(dst, $from, m.ftz, |x| integral(x, $mode), $mode)
                        }
                        (true, true, false) => float_result!(
                            dst,
                            $from,
                            m.ftz,
                            |x| saturate_wide(integral(x, $mode), true),
                            $mode
                        ),
                        (false, false, false) => float_result!(dst, $from, m.ftz, |x| x, $mode),
                        (false, true, false) => {
                            float_result!(dst, $from, m.ftz, |x| saturate_wide(x, true), $mode)
                        }
                        (false, false, true) => {
                            float_result!(dst, $from, m.ftz, |x| relu(x, true), $mode)
                        }
                        _ => None,
                    }
                };
            }
            with_mode!(m.mode, by_mode)
        }};
    }
    with_float_type!(src, from)
}

/// A tf32 lies in the upper 19 bits of an f32; the lower 13 are zero.
fn tf32(value: f64, mode: Mode) -> f32 {
    if value.is_nan() {
        f32::from_bits(0x7fff_ffff)
    } else {
        round(value, Format::TF32, mode) as f32
    }
}

/// The conversions that kernels make most.
fn common_float(dst: Type, src: Type, m: Modifiers) -> Option<LaneFn> {
    let plain = m.mode == Mode::NearestEven && !m.integral && !m.ftz && !m.sat && !m.relu;
    match (dst, src) {
        (Type::Bf16, Type::F32) if plain => Some(lane_fn!(|a: f32| bf16_from_f32(a))),
        (Type::Tf32, Type::F32)
            if m.mode == Mode::NearestAway && !m.integral && !m.sat && !m.relu =>
        {
            Some(lane_fn!(|a: f32| tf32_from_f32(a)))
        }
        (Type::F32, Type::Bf16) if plain => Some(lane_fn!(|a: u16| u32::from(a) << 16)),
        (Type::F32, Type::F32) if plain => Some(lane_fn!(|a: f32| a)),
        (Type::F32, Type::F32) if m.sat && !m.integral && !m.ftz => {
            Some(lane_fn!(|a: f32| saturate(a)))
        }
        _ => None,
    }
}

/// Two f32 to a packed pair: the first source fills the upper half.
pub(crate) fn packed(dst: Type, m: Modifiers) -> Option<LaneFn> {
    #[inline(always)]
    fn join(high: u16, low: u16) -> u32 {
        (u32::from(high) << 16) | u32::from(low)
    }
    fn halves(a: f32, b: f32, mode: Mode, positive: bool, convert: fn(f64, Mode) -> u16) -> u32 {
        let one = |value: f32| convert(relu(f64::from(value), positive), mode);
        join(one(a), one(b))
    }
    Some(match (dst, m.mode, m.relu) {
        (Type::Bf16x2, Mode::NearestEven, false) => {
            vector_fn!(|a: f32, b: f32| join(bf16_from_f32(a), bf16_from_f32(b)))
        }
        (Type::Bf16x2, Mode::NearestEven, true) => {
            lane_fn!(|a: f32, b: f32| halves(a, b, Mode::NearestEven, true, bf16_bits))
        }
        (Type::Bf16x2, Mode::Zero, false) => {
            lane_fn!(|a: f32, b: f32| halves(a, b, Mode::Zero, false, bf16_bits))
        }
        (Type::Bf16x2, Mode::Zero, true) => {
            lane_fn!(|a: f32, b: f32| halves(a, b, Mode::Zero, true, bf16_bits))
        }
        (Type::F16x2, Mode::NearestEven, false) => {
            lane_fn!(|a: f32, b: f32| halves(a, b, Mode::NearestEven, false, f16_bits))
        }
        (Type::F16x2, Mode::NearestEven, true) => {
            lane_fn!(|a: f32, b: f32| halves(a, b, Mode::NearestEven, true, f16_bits))
        }
        (Type::F16x2, Mode::Zero, false) => {
            lane_fn!(|a: f32, b: f32| halves(a, b, Mode::Zero, false, f16_bits))
        }
        (Type::F16x2, Mode::Zero, true) => {
            lane_fn!(|a: f32, b: f32| halves(a, b, Mode::Zero, true, f16_bits))
        }
        _ => return None,
    })
}
