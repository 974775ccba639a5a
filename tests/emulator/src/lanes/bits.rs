//! Bitwise logic, shifts, fields and byte permutes.

use super::{LaneFn, lane_fn};
use crate::ptx::types::Type;

/// The low 16, 32 or 64 bits of `and`, `or`, `xor`: upper bits of narrower values are zero already.
pub(crate) fn and() -> LaneFn {
    lane_fn!(|a: u64, b: u64| a & b)
}

pub(crate) fn or() -> LaneFn {
    lane_fn!(|a: u64, b: u64| a | b)
}

pub(crate) fn xor() -> LaneFn {
    lane_fn!(|a: u64, b: u64| a ^ b)
}

pub(crate) fn not(bits: u32) -> Option<LaneFn> {
    match bits {
        16 => Some(lane_fn!(|a: u16| !a)),
        32 => Some(lane_fn!(|a: u32| !a)),
        64 => Some(lane_fn!(|a: u64| !a)),
        _ => None,
    }
}

/// 1 for zero, 0 for anything else.
pub(crate) fn cnot(bits: u32) -> Option<LaneFn> {
    match bits {
        16 => Some(lane_fn!(|a: u16| u16::from(a == 0))),
        32 => Some(lane_fn!(|a: u32| u32::from(a == 0))),
        64 => Some(lane_fn!(|a: u64| u64::from(a == 0))),
        _ => None,
    }
}

/// Any function of three bits: bit `4a + 2b + c` of the table.
pub(crate) fn lop3() -> LaneFn {
    lane_fn!(|a: u32, b: u32, c: u32, table: u32| {
        let mut result = 0;
        for index in 0..8 {
            let x = if index & 4 != 0 { a } else { !a };
            let y = if index & 2 != 0 { b } else { !b };
            let z = if index & 1 != 0 { c } else { !c };
            let chosen = 0u32.wrapping_sub((table >> index) & 1);
            result |= x & y & z & chosen;
        }
        result
    })
}

/// Shifts by the width or more give zero.
pub(crate) fn shl(bits: u32) -> Option<LaneFn> {
    match bits {
        16 => Some(lane_fn!(|a: u16, n: u32| a.checked_shl(n).unwrap_or(0))),
        32 => Some(lane_fn!(|a: u32, n: u32| a.checked_shl(n).unwrap_or(0))),
        64 => Some(lane_fn!(|a: u64, n: u32| a.checked_shl(n).unwrap_or(0))),
        _ => None,
    }
}

/// Right shifts; signed ones fill with the sign.
pub(crate) fn shr(ty: Type) -> Option<LaneFn> {
    match (ty.bits(), ty.is_signed()) {
        (16, false) => Some(lane_fn!(|a: u16, n: u32| a.checked_shr(n).unwrap_or(0))),
        (32, false) => Some(lane_fn!(|a: u32, n: u32| a.checked_shr(n).unwrap_or(0))),
        (64, false) => Some(lane_fn!(|a: u64, n: u32| a.checked_shr(n).unwrap_or(0))),
        (16, true) => Some(lane_fn!(|a: i16, n: u32| a >> n.min(15))),
        (32, true) => Some(lane_fn!(|a: i32, n: u32| a >> n.min(31))),
        (64, true) => Some(lane_fn!(|a: i64, n: u32| a >> n.min(63))),
        _ => None,
    }
}

/// Funnel shift of `b:a`; the amount is taken modulo 32 (`wrap`) or limited to 32 (`clamp`).
pub(crate) fn funnel(left: bool, wrap: bool) -> LaneFn {
    fn amount(n: u32, wrap: bool) -> u32 {
        if wrap { n & 31 } else { n.min(32) }
    }
    fn join(a: u32, b: u32) -> u64 {
        (u64::from(b) << 32) | u64::from(a)
    }
    match (left, wrap) {
        (true, true) => {
            lane_fn!(|a: u32, b: u32, n: u32| ((join(a, b) << amount(n, true)) >> 32) as u32)
        }
        (true, false) => {
            lane_fn!(|a: u32, b: u32, n: u32| ((join(a, b) << amount(n, false)) >> 32) as u32)
        }
        (false, true) => lane_fn!(|a: u32, b: u32, n: u32| (join(a, b) >> amount(n, true)) as u32),
        (false, false) => {
            lane_fn!(|a: u32, b: u32, n: u32| (join(a, b) >> amount(n, false)) as u32)
        }
    }
}

pub(crate) fn popc(bits: u32) -> Option<LaneFn> {
    match bits {
        32 => Some(lane_fn!(|a: u32| a.count_ones())),
        64 => Some(lane_fn!(|a: u64| a.count_ones())),
        _ => None,
    }
}

pub(crate) fn clz(bits: u32) -> Option<LaneFn> {
    match bits {
        32 => Some(lane_fn!(|a: u32| a.leading_zeros())),
        64 => Some(lane_fn!(|a: u64| a.leading_zeros())),
        _ => None,
    }
}

pub(crate) fn brev(bits: u32) -> Option<LaneFn> {
    match bits {
        32 => Some(lane_fn!(|a: u32| a.reverse_bits())),
        64 => Some(lane_fn!(|a: u64| a.reverse_bits())),
        _ => None,
    }
}

/// Position of the highest bit that differs from the sign; all ones when there is none. With `shift`, the left shift
/// that would bring it to the top.
pub(crate) fn bfind(ty: Type, shift: bool) -> Option<LaneFn> {
    fn find(value: u64, bits: u32, shift: bool) -> u32 {
        match value {
            0 => u32::MAX,
            _ if shift => value.leading_zeros() - (64 - bits),
            _ => 63 - value.leading_zeros(),
        }
    }
    fn magnitude(value: i64) -> u64 {
        (if value < 0 { !value } else { value }) as u64
    }
    match (ty, shift) {
        (Type::U32, false) => Some(lane_fn!(|a: u32| find(u64::from(a), 32, false))),
        (Type::U32, true) => Some(lane_fn!(|a: u32| find(u64::from(a), 32, true))),
        (Type::U64, false) => Some(lane_fn!(|a: u64| find(a, 64, false))),
        (Type::U64, true) => Some(lane_fn!(|a: u64| find(a, 64, true))),
        (Type::S32, false) => Some(lane_fn!(|a: i32| find(magnitude(i64::from(a)), 32, false))),
        (Type::S32, true) => Some(lane_fn!(|a: i32| find(magnitude(i64::from(a)), 32, true))),
        (Type::S64, false) => Some(lane_fn!(|a: i64| find(magnitude(a), 64, false))),
        (Type::S64, true) => Some(lane_fn!(|a: i64| find(magnitude(a), 64, true))),
        _ => None,
    }
}

/// `length` low bits set.
fn ones(length: u32) -> u64 {
    1u64.checked_shl(length).map_or(u64::MAX, |bit| bit - 1)
}

/// Bit field extraction as the manual's pseudo-code has it: beyond the top, the sign (or zero) fills.
fn extract(value: u64, position: u32, length: u32, bits: u32, signed: bool) -> u64 {
    let (position, length) = (position & 0xff, length & 0xff);
    let top = bits - 1;
    let sign = signed && length > 0 && (value >> (position + length - 1).min(top)) & 1 == 1;
    let kept = length.min(bits.saturating_sub(position));
    let field = value.checked_shr(position).unwrap_or(0) & ones(kept);
    let filled = if sign { field | !ones(kept) } else { field };
    filled & ones(bits)
}

pub(crate) fn bfe(ty: Type) -> Option<LaneFn> {
    match ty {
        Type::U32 => Some(lane_fn!(
            |a: u32, p: u32, l: u32| extract(u64::from(a), p, l, 32, false) as u32
        )),
        Type::S32 => Some(lane_fn!(
            |a: u32, p: u32, l: u32| extract(u64::from(a), p, l, 32, true) as u32
        )),
        Type::U64 => Some(lane_fn!(|a: u64, p: u32, l: u32| extract(
            a, p, l, 64, false
        ))),
        Type::S64 => Some(lane_fn!(|a: u64, p: u32, l: u32| extract(
            a, p, l, 64, true
        ))),
        _ => None,
    }
}

/// Puts the low `length` bits of `a` into `b` at `position`.
fn insert(a: u64, b: u64, position: u32, length: u32) -> u64 {
    let (position, length) = (position & 0xff, length & 0xff);
    let mask = ones(length).checked_shl(position).unwrap_or(0);
    (b & !mask) | (a.checked_shl(position).unwrap_or(0) & mask)
}

pub(crate) fn bfi(bits: u32) -> Option<LaneFn> {
    match bits {
        32 => {
            Some(lane_fn!(
                |a: u32, b: u32, p: u32, l: u32| insert(u64::from(a), u64::from(b), p, l) as u32
            ))
        }
        64 => Some(lane_fn!(|a: u64, b: u64, p: u32, l: u32| insert(
            a, b, p, l
        ))),
        _ => None,
    }
}

/// A mask of `length` bits at `position`.
pub(crate) fn bmsk(wrap: bool) -> LaneFn {
    fn mask(position: u32, length: u32) -> u32 {
        (ones(length.min(32)).checked_shl(position).unwrap_or(0)) as u32
    }
    if wrap {
        lane_fn!(|p: u32, l: u32| mask(p & 31, l & 31))
    } else {
        lane_fn!(|p: u32, l: u32| mask(p.min(32), l))
    }
}

/// Sign- or zero-extends from the low `n` bits.
pub(crate) fn szext(signed: bool, wrap: bool) -> LaneFn {
    fn extend(value: u32, n: u32, signed: bool, wrap: bool) -> u32 {
        let n = if wrap { n & 31 } else { n.min(32) };
        let field = value & ones(n) as u32;
        if signed && n > 0 && (value >> (n - 1)) & 1 == 1 {
            field | !(ones(n) as u32)
        } else {
            field
        }
    }
    match (signed, wrap) {
        (true, true) => lane_fn!(|a: u32, n: u32| extend(a, n, true, true)),
        (true, false) => lane_fn!(|a: u32, n: u32| extend(a, n, true, false)),
        (false, true) => lane_fn!(|a: u32, n: u32| extend(a, n, false, true)),
        (false, false) => lane_fn!(|a: u32, n: u32| extend(a, n, false, false)),
    }
}

/// Modes of `prmt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permute {
    Selector,
    Forward4,
    Backward4,
    Replicate8,
    EdgeLeft,
    EdgeRight,
    Replicate16,
}

/// Byte numbers of the manual's table for the special modes, by the selector's two low bits, lowest result byte first.
fn permute_bytes(mode: Permute, selector: u32) -> [u32; 4] {
    let s = selector & 3;
    match mode {
        Permute::Selector => std::array::from_fn(|byte| (selector >> (4 * byte)) & 0xf),
        Permute::Forward4 => [s, s + 1, s + 2, s + 3],
        Permute::Backward4 => [s, s + 7, s + 6, s + 5].map(|byte| byte & 7),
        Permute::Replicate8 => [s; 4],
        Permute::EdgeLeft => std::array::from_fn(|byte| s.max(byte as u32)),
        Permute::EdgeRight => std::array::from_fn(|byte| s.min(byte as u32)),
        Permute::Replicate16 => {
            let first = (s & 1) * 2;
            [first, first + 1, first, first + 1]
        }
    }
}

fn permute(a: u32, b: u32, selector: u32, mode: Permute) -> u32 {
    let source = (u64::from(b) << 32) | u64::from(a);
    let bytes = permute_bytes(mode, selector).map(|number| {
        let byte = (source >> (8 * (number & 7))) as u8;
        // Bit 3 of a selector replicates the byte's sign.
        if number & 8 != 0 {
            ((byte as i8) >> 7) as u8
        } else {
            byte
        }
    });
    u32::from_le_bytes(bytes)
}

pub(crate) fn prmt(mode: Permute) -> LaneFn {
    match mode {
        Permute::Selector => lane_fn!(|a: u32, b: u32, s: u32| permute(a, b, s, Permute::Selector)),
        Permute::Forward4 => lane_fn!(|a: u32, b: u32, s: u32| permute(a, b, s, Permute::Forward4)),
        Permute::Backward4 => {
            lane_fn!(|a: u32, b: u32, s: u32| permute(a, b, s, Permute::Backward4))
        }
        Permute::Replicate8 => {
            lane_fn!(|a: u32, b: u32, s: u32| permute(a, b, s, Permute::Replicate8))
        }
        Permute::EdgeLeft => lane_fn!(|a: u32, b: u32, s: u32| permute(a, b, s, Permute::EdgeLeft)),
        Permute::EdgeRight => {
            lane_fn!(|a: u32, b: u32, s: u32| permute(a, b, s, Permute::EdgeRight))
        }
        Permute::Replicate16 => {
            lane_fn!(|a: u32, b: u32, s: u32| permute(a, b, s, Permute::Replicate16))
        }
    }
}

/// `slct` with an integer selector.
pub(crate) fn select_by_integer() -> LaneFn {
    lane_fn!(|a: u64, b: u64, c: i32| if c >= 0 { a } else { b })
}

/// `slct` with a float selector: -0 selects the first, NaN the second.
pub(crate) fn select_by_float() -> LaneFn {
    lane_fn!(|a: u64, b: u64, c: f32| if c >= 0.0 { a } else { b })
}
