//! Integer arithmetic.

use super::{LaneFn, lane_fn};
use crate::ptx::types::Type;

/// Picks the instance of a generic expression for the integer type of an instruction.
macro_rules! for_integer {
    ($ty:expr, |$a:ident, $b:ident| $body:expr) => {
        match $ty {
            Type::U16 => Some(lane_fn!(|$a: u16, $b: u16| $body)),
            Type::U32 => Some(lane_fn!(|$a: u32, $b: u32| $body)),
            Type::U64 => Some(lane_fn!(|$a: u64, $b: u64| $body)),
            Type::S16 => Some(lane_fn!(|$a: i16, $b: i16| $body)),
            Type::S32 => Some(lane_fn!(|$a: i32, $b: i32| $body)),
            Type::S64 => Some(lane_fn!(|$a: i64, $b: i64| $body)),
            _ => None,
        }
    };
}

/// Which part of a product is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Low,
    High,
    Wide,
}

pub(crate) fn add(ty: Type, saturate: bool) -> Option<LaneFn> {
    match (ty, saturate) {
        (Type::S32, true) => Some(lane_fn!(|a: i32, b: i32| a.saturating_add(b))),
        (_, true) => None,
        (Type::U16x2 | Type::S16x2, _) => Some(lane_fn!(|a: [u16; 2], b: [u16; 2]| [
            a[0].wrapping_add(b[0]),
            a[1].wrapping_add(b[1])
        ])),
        _ => for_integer!(ty, |a, b| a.wrapping_add(b)),
    }
}

pub(crate) fn sub(ty: Type, saturate: bool) -> Option<LaneFn> {
    match (ty, saturate) {
        (Type::S32, true) => Some(lane_fn!(|a: i32, b: i32| a.saturating_sub(b))),
        (_, true) => None,
        _ => for_integer!(ty, |a, b| a.wrapping_sub(b)),
    }
}

pub(crate) fn min(ty: Type) -> Option<LaneFn> {
    match ty {
        Type::U16x2 => Some(lane_fn!(|a: [u16; 2], b: [u16; 2]| [
            a[0].min(b[0]),
            a[1].min(b[1])
        ])),
        Type::S16x2 => Some(lane_fn!(|a: [i16; 2], b: [i16; 2]| [
            a[0].min(b[0]),
            a[1].min(b[1])
        ])),
        _ => for_integer!(ty, |a, b| a.min(b)),
    }
}

pub(crate) fn max(ty: Type) -> Option<LaneFn> {
    match ty {
        Type::U16x2 => Some(lane_fn!(|a: [u16; 2], b: [u16; 2]| [
            a[0].max(b[0]),
            a[1].max(b[1])
        ])),
        Type::S16x2 => Some(lane_fn!(|a: [i16; 2], b: [i16; 2]| [
            a[0].max(b[0]),
            a[1].max(b[1])
        ])),
        _ => for_integer!(ty, |a, b| a.max(b)),
    }
}

/// Division by zero gives all ones, as NVIDIA hardware does; the manual leaves it open.
pub(crate) fn div(ty: Type) -> Option<LaneFn> {
    match ty {
        Type::U16 => Some(lane_fn!(|a: u16, b: u16| a
            .checked_div(b)
            .unwrap_or(u16::MAX))),
        Type::U32 => Some(lane_fn!(|a: u32, b: u32| a
            .checked_div(b)
            .unwrap_or(u32::MAX))),
        Type::U64 => Some(lane_fn!(|a: u64, b: u64| a
            .checked_div(b)
            .unwrap_or(u64::MAX))),
        Type::S16 => Some(lane_fn!(|a: i16, b: i16| if b == 0 {
            -1
        } else {
            a.wrapping_div(b)
        })),
        Type::S32 => Some(lane_fn!(|a: i32, b: i32| if b == 0 {
            -1
        } else {
            a.wrapping_div(b)
        })),
        Type::S64 => Some(lane_fn!(|a: i64, b: i64| if b == 0 {
            -1
        } else {
            a.wrapping_div(b)
        })),
        _ => None,
    }
}

/// The remainder by zero is the dividend.
pub(crate) fn rem(ty: Type) -> Option<LaneFn> {
    for_integer!(ty, |a, b| if b == 0 { a } else { a.wrapping_rem(b) })
}

pub(crate) fn mul(ty: Type, part: Part) -> Option<LaneFn> {
    match (part, ty) {
        (Part::Low, _) => for_integer!(ty, |a, b| a.wrapping_mul(b)),
        (Part::Wide, Type::U16) => Some(lane_fn!(|a: u16, b: u16| u32::from(a) * u32::from(b))),
        (Part::Wide, Type::S16) => Some(lane_fn!(|a: i16, b: i16| i32::from(a) * i32::from(b))),
        (Part::Wide, Type::U32) => Some(lane_fn!(|a: u32, b: u32| u64::from(a) * u64::from(b))),
        (Part::Wide, Type::S32) => Some(lane_fn!(|a: i32, b: i32| i64::from(a) * i64::from(b))),
        (Part::High, Type::U16) => Some(lane_fn!(
            |a: u16, b: u16| ((u32::from(a) * u32::from(b)) >> 16) as u16
        )),
        (Part::High, Type::S16) => Some(lane_fn!(
            |a: i16, b: i16| ((i32::from(a) * i32::from(b)) >> 16) as i16
        )),
        (Part::High, Type::U32) => Some(lane_fn!(
            |a: u32, b: u32| ((u64::from(a) * u64::from(b)) >> 32) as u32
        )),
        (Part::High, Type::S32) => Some(lane_fn!(
            |a: i32, b: i32| ((i64::from(a) * i64::from(b)) >> 32) as i32
        )),
        (Part::High, Type::U64) => Some(lane_fn!(|a: u64, b: u64| high_unsigned(a, b))),
        (Part::High, Type::S64) => Some(lane_fn!(|a: i64, b: i64| high_signed(a, b))),
        _ => None,
    }
}

pub(crate) fn mad(ty: Type, part: Part) -> Option<LaneFn> {
    match (part, ty) {
        (Part::Low, Type::U16 | Type::S16) => Some(lane_fn!(|a: u16, b: u16, c: u16| a
            .wrapping_mul(b)
            .wrapping_add(c))),
        (Part::Low, Type::U32 | Type::S32) => Some(lane_fn!(|a: u32, b: u32, c: u32| a
            .wrapping_mul(b)
            .wrapping_add(c))),
        (Part::Low, Type::U64 | Type::S64) => Some(lane_fn!(|a: u64, b: u64, c: u64| a
            .wrapping_mul(b)
            .wrapping_add(c))),
        (Part::Wide, Type::U16) => Some(lane_fn!(|a: u16, b: u16, c: u32| (u32::from(a)
            * u32::from(b))
        .wrapping_add(c))),
        (Part::Wide, Type::S16) => Some(lane_fn!(|a: i16, b: i16, c: i32| (i32::from(a)
            * i32::from(b))
        .wrapping_add(c))),
        (Part::Wide, Type::U32) => Some(lane_fn!(|a: u32, b: u32, c: u64| (u64::from(a)
            * u64::from(b))
        .wrapping_add(c))),
        (Part::Wide, Type::S32) => Some(lane_fn!(|a: i32, b: i32, c: i64| (i64::from(a)
            * i64::from(b))
        .wrapping_add(c))),
        (Part::High, Type::U32) => Some(lane_fn!(|a: u32, b: u32, c: u32| {
            (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
        })),
        (Part::High, Type::S32) => Some(lane_fn!(|a: i32, b: i32, c: i32| {
            (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c)
        })),
        (Part::High, Type::U64) => Some(lane_fn!(
            |a: u64, b: u64, c: u64| high_unsigned(a, b).wrapping_add(c)
        )),
        (Part::High, Type::S64) => Some(lane_fn!(
            |a: i64, b: i64, c: i64| high_signed(a, b).wrapping_add(c)
        )),
        _ => None,
    }
}

fn high_unsigned(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

fn high_signed(a: i64, b: i64) -> i64 {
    ((i128::from(a) * i128::from(b)) >> 64) as i64
}

pub(crate) fn mul24(ty: Type, high: bool) -> Option<LaneFn> {
    match (ty, high) {
        (Type::U32, false) => Some(lane_fn!(|a: u32, b: u32| (u64::from(a & 0xff_ffff)
            * u64::from(b & 0xff_ffff))
            as u32)),
        (Type::S32, false) => Some(lane_fn!(
            |a: i32, b: i32| ((a << 8) >> 8).wrapping_mul((b << 8) >> 8)
        )),
        (Type::U32, true) => Some(lane_fn!(|a: u32, b: u32| ((u64::from(a & 0xff_ffff)
            * u64::from(b & 0xff_ffff))
            >> 16) as u32)),
        (Type::S32, true) => Some(lane_fn!(|a: i32, b: i32| ((i64::from((a << 8) >> 8)
            * i64::from((b << 8) >> 8))
            >> 16) as i32)),
        _ => None,
    }
}

pub(crate) fn neg(ty: Type) -> Option<LaneFn> {
    match ty {
        Type::S16 => Some(lane_fn!(|a: i16| a.wrapping_neg())),
        Type::S32 => Some(lane_fn!(|a: i32| a.wrapping_neg())),
        Type::S64 => Some(lane_fn!(|a: i64| a.wrapping_neg())),
        _ => None,
    }
}

pub(crate) fn abs(ty: Type) -> Option<LaneFn> {
    match ty {
        Type::S16 => Some(lane_fn!(|a: i16| a.wrapping_abs())),
        Type::S32 => Some(lane_fn!(|a: i32| a.wrapping_abs())),
        Type::S64 => Some(lane_fn!(|a: i64| a.wrapping_abs())),
        _ => None,
    }
}

/// `c + |a - b|`
pub(crate) fn sad(ty: Type) -> Option<LaneFn> {
    match ty {
        Type::U16 => Some(lane_fn!(
            |a: u16, b: u16, c: u16| c.wrapping_add(a.abs_diff(b))
        )),
        Type::U32 => Some(lane_fn!(
            |a: u32, b: u32, c: u32| c.wrapping_add(a.abs_diff(b))
        )),
        Type::U64 => Some(lane_fn!(
            |a: u64, b: u64, c: u64| c.wrapping_add(a.abs_diff(b))
        )),
        Type::S16 => Some(lane_fn!(
            |a: i16, b: i16, c: u16| c.wrapping_add(a.abs_diff(b))
        )),
        Type::S32 => Some(lane_fn!(
            |a: i32, b: i32, c: u32| c.wrapping_add(a.abs_diff(b))
        )),
        Type::S64 => Some(lane_fn!(
            |a: i64, b: i64, c: u64| c.wrapping_add(a.abs_diff(b))
        )),
        _ => None,
    }
}

/// Four-way byte dot product with accumulation; the signedness of each factor is its own.
pub(crate) fn dp4a(a: Type, b: Type) -> Option<LaneFn> {
    fn dot<A: Copy + Into<i32>, B: Copy + Into<i32>>(a: [A; 4], b: [B; 4], c: u32) -> u32 {
        let sum: i32 = a
            .into_iter()
            .zip(b)
            .map(|(a, b)| a.into().wrapping_mul(b.into()))
            .fold(0, i32::wrapping_add);
        c.wrapping_add(sum as u32)
    }
    fn signed(a: u32) -> [i8; 4] {
        a.to_le_bytes().map(|byte| byte as i8)
    }
    match (a, b) {
        (Type::U32, Type::U32) => Some(lane_fn!(|a: u32, b: u32, c: u32| dot(
            a.to_le_bytes(),
            b.to_le_bytes(),
            c
        ))),
        (Type::S32, Type::S32) => Some(lane_fn!(|a: u32, b: u32, c: u32| dot(
            signed(a),
            signed(b),
            c
        ))),
        (Type::U32, Type::S32) => Some(lane_fn!(|a: u32, b: u32, c: u32| dot(
            a.to_le_bytes(),
            signed(b),
            c
        ))),
        (Type::S32, Type::U32) => Some(lane_fn!(|a: u32, b: u32, c: u32| dot(
            signed(a),
            b.to_le_bytes(),
            c
        ))),
        _ => None,
    }
}
