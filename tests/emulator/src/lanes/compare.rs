//! Comparisons.

use super::{CompareFn, Lane, Lanes, WARP};
use crate::ptx::types::Type;
use half::{bf16, f16};

/// Comparison operators; the `u` forms of floats hold when either side is NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

impl Comparison {
    /// The operator of a suffix; `lo ls hi hs` are the unsigned names.
    pub(crate) fn from_suffix(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "lt" | "lo" => Self::Lt,
            "le" | "ls" => Self::Le,
            "gt" | "hi" => Self::Gt,
            "ge" | "hs" => Self::Ge,
            "equ" => Self::Equ,
            "neu" => Self::Neu,
            "ltu" => Self::Ltu,
            "leu" => Self::Leu,
            "gtu" => Self::Gtu,
            "geu" => Self::Geu,
            "num" => Self::Num,
            "nan" => Self::Nan,
            _ => return None,
        })
    }

    fn floats_only(self) -> bool {
        !matches!(
            self,
            Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge
        )
    }
}

fn mask<T: Lane>(a: &Lanes, b: &Lanes, holds: impl Fn(T, T) -> bool) -> u32 {
    let mut mask = 0;
    for lane in 0..WARP {
        mask |= u32::from(holds(T::from_lane(a[lane]), T::from_lane(b[lane]))) << lane;
    }
    mask
}

macro_rules! ordered {
    ($type:ty, $comparison:expr) => {
        match $comparison {
            Comparison::Eq => CompareFn(|a, b| mask::<$type>(a, b, |x, y| x == y)),
            Comparison::Ne => CompareFn(|a, b| mask::<$type>(a, b, |x, y| x != y)),
            Comparison::Lt => CompareFn(|a, b| mask::<$type>(a, b, |x, y| x < y)),
            Comparison::Le => CompareFn(|a, b| mask::<$type>(a, b, |x, y| x <= y)),
            Comparison::Gt => CompareFn(|a, b| mask::<$type>(a, b, |x, y| x > y)),
            _ => CompareFn(|a, b| mask::<$type>(a, b, |x, y| x >= y)),
        }
    };
}

macro_rules! float {
    ($type:ty, $wide:expr, $comparison:expr) => {
        match $comparison {
            Comparison::Eq => CompareFn(|a, b| mask::<$type>(a, b, |x, y| $wide(x) == $wide(y))),
            // `ne` is the ordered form: false for NaN.
            Comparison::Ne => CompareFn(|a, b| {
                mask::<$type>(a, b, |x, y| $wide(x) < $wide(y) || $wide(x) > $wide(y))
            }),
            Comparison::Lt => CompareFn(|a, b| mask::<$type>(a, b, |x, y| $wide(x) < $wide(y))),
            Comparison::Le => CompareFn(|a, b| mask::<$type>(a, b, |x, y| $wide(x) <= $wide(y))),
            Comparison::Gt => CompareFn(|a, b| mask::<$type>(a, b, |x, y| $wide(x) > $wide(y))),
            Comparison::Ge => CompareFn(|a, b| mask::<$type>(a, b, |x, y| $wide(x) >= $wide(y))),
            Comparison::Equ => CompareFn(|a, b| {
                !mask::<$type>(a, b, |x, y| $wide(x) < $wide(y) || $wide(x) > $wide(y))
            }),
            Comparison::Neu => CompareFn(|a, b| !mask::<$type>(a, b, |x, y| $wide(x) == $wide(y))),
            Comparison::Ltu => CompareFn(|a, b| !mask::<$type>(a, b, |x, y| $wide(x) >= $wide(y))),
            Comparison::Leu => CompareFn(|a, b| !mask::<$type>(a, b, |x, y| $wide(x) > $wide(y))),
            Comparison::Gtu => CompareFn(|a, b| !mask::<$type>(a, b, |x, y| $wide(x) <= $wide(y))),
            Comparison::Geu => CompareFn(|a, b| !mask::<$type>(a, b, |x, y| $wide(x) < $wide(y))),
            Comparison::Num => CompareFn(|a, b| {
                mask::<$type>(a, b, |x, y| !$wide(x).is_nan() && !$wide(y).is_nan())
            }),
            Comparison::Nan => {
                CompareFn(|a, b| mask::<$type>(a, b, |x, y| $wide(x).is_nan() || $wide(y).is_nan()))
            }
        }
    };
}

fn keep<T>(value: T) -> T {
    value
}

/// The comparison of a type, or `None` where PTX has none.
pub(crate) fn compare(comparison: Comparison, ty: Type, ftz: bool) -> Option<CompareFn> {
    let float = matches!(ty, Type::F16 | Type::Bf16 | Type::F32 | Type::F64);
    if comparison.floats_only() && !float {
        return None;
    }
    Some(match ty {
        Type::B16 | Type::U16 => ordered!(u16, comparison),
        Type::B32 | Type::U32 => ordered!(u32, comparison),
        Type::B64 | Type::U64 => ordered!(u64, comparison),
        Type::S16 => ordered!(i16, comparison),
        Type::S32 => ordered!(i32, comparison),
        Type::S64 => ordered!(i64, comparison),
        Type::F16 => float!(f16, f16::to_f32, comparison),
        Type::Bf16 => float!(bf16, bf16::to_f32, comparison),
        Type::F32 if ftz => float!(f32, super::rounding::flush, comparison),
        Type::F32 => float!(f32, keep, comparison),
        Type::F64 => float!(f64, keep, comparison),
        _ => return None,
    })
}

/// `testp`: properties of a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Property {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// The property as a comparison whose second source is ignored.
pub(crate) fn test_property(property: Property, double: bool) -> CompareFn {
    macro_rules! instance {
        ($type:ty) => {
            match property {
                Property::Finite => CompareFn(|a, b| mask::<$type>(a, b, |x, _| x.is_finite())),
                Property::Infinite => CompareFn(|a, b| mask::<$type>(a, b, |x, _| x.is_infinite())),
                Property::Number => CompareFn(|a, b| mask::<$type>(a, b, |x, _| !x.is_nan())),
                Property::NotANumber => CompareFn(|a, b| mask::<$type>(a, b, |x, _| x.is_nan())),
                Property::Normal => CompareFn(|a, b| mask::<$type>(a, b, |x, _| x.is_normal())),
                Property::Subnormal => {
                    CompareFn(|a, b| mask::<$type>(a, b, |x, _| x.is_subnormal()))
                }
            }
        };
    }
    if double {
        instance!(f64)
    } else {
        instance!(f32)
    }
}
