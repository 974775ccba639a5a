//! Rounding of exact values to the formats of PTX, in every direction.
//!
//! Sums and products are formed in f64. Where an f64 cannot hold the exact value it is rounded to odd ([`add_odd`]):
//! the last bit says that something was cut off, so that the one later rounding to a format of at most 24 bits is
//! exact (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).

/// Rounding modes of PTX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To nearest, ties to even (`.rn`).
    NearestEven,
    /// To nearest, ties away from zero (`.rna`).
    NearestAway,
    /// Toward zero (`.rz`).
    Zero,
    /// Toward minus infinity (`.rm`).
    Down,
    /// Toward plus infinity (`.rp`).
    Up,
}

/// A binary format: bits of the fraction, and exponents of the smallest and largest normal number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    fraction: u32,
    least: i32,
    greatest: i32,
}

impl Format {
    pub(crate) const F16: Self = Self {
        fraction: 10,
        least: -14,
        greatest: 15,
    };
    pub(crate) const BF16: Self = Self {
        fraction: 7,
        least: -126,
        greatest: 127,
    };
    pub(crate) const TF32: Self = Self {
        fraction: 10,
        least: -126,
        greatest: 127,
    };
    pub(crate) const F32: Self = Self {
        fraction: 23,
        least: -126,
        greatest: 127,
    };

    /// The largest finite number.
    fn max(self) -> f64 {
        (2.0 - power_of_two(-(self.fraction as i32))) * power_of_two(self.greatest)
    }
}

/// `2^exponent` for exponents of normal f64.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023).clamp(1, 2046) as u64) << 52)
}

/// Rounds to a format; the result is a value of that format held in an f64. NaN stays NaN.
pub(crate) fn round(value: f64, format: Format, mode: Mode) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let exponent = (((value.to_bits() >> 52) & 0x7ff) as i32 - 1023).max(format.least);
    let unit = power_of_two(exponent - format.fraction as i32);
    // The quotient is exact: a power of two divides it, and no result leaves the range of f64.
    let scaled = value / unit;
    let rounded = match mode {
        Mode::NearestEven => scaled.round_ties_even(),
        Mode::NearestAway => scaled.round(),
        Mode::Zero => scaled.trunc(),
        Mode::Down => scaled.floor(),
        Mode::Up => scaled.ceil(),
    } * unit;
    let rounded = rounded.copysign(value);
    if rounded.abs() <= format.max() {
        return rounded;
    }
    let inward = matches!(
        (mode, value > 0.0),
        (Mode::Zero, _) | (Mode::Down, true) | (Mode::Up, false)
    );
    if inward {
        format.max().copysign(value)
    } else {
        f64::INFINITY.copysign(value)
    }
}

/// The sum rounded to odd; exact where an f64 can hold it.
#[inline(always)]
pub(crate) fn add_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let a_part = sum - b;
    let error = (a - a_part) + (b - (sum - a_part));
    let bits = sum.to_bits();
    // Inexact with an even last bit: the neighbour on the error's side is odd.
    if error == 0.0 || bits & 1 == 1 || !sum.is_finite() {
        return sum;
    }
    if (error > 0.0) == (sum > 0.0) {
        f64::from_bits(bits + 1)
    } else {
        f64::from_bits(bits - 1)
    }
}

/// Rounds to f32; to nearest this is the hardware's own conversion.
#[inline(always)]
pub(crate) fn to_f32(value: f64, mode: Mode) -> f32 {
    if mode == Mode::NearestEven {
        value as f32
    } else {
        round(value, Format::F32, mode) as f32
    }
}

/// Flushes a subnormal to zero of its sign.
#[inline(always)]
pub(crate) fn flush(value: f32) -> f32 {
    if value.is_subnormal() {
        0f32.copysign(value)
    } else {
        value
    }
}

/// Clamps to [0, 1]; NaN becomes +0.
#[inline(always)]
pub(crate) fn saturate(value: f32) -> f32 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

/// The f16 of a value: NaN becomes the canonical 0x7fff.
pub(crate) fn f16_bits(value: f64, mode: Mode) -> u16 {
    if value.is_nan() {
        return 0x7fff;
    }
    let rounded = round(value, Format::F16, mode);
    // Exact: `rounded` is a value of the format.
    let single = (rounded as f32).to_bits();
    let sign = ((single >> 16) & 0x8000) as u16;
    let magnitude = rounded.abs();
    let bits = if magnitude.is_infinite() {
        0x7c00
    } else if magnitude < power_of_two(-14) {
        (magnitude * power_of_two(24)) as u16
    } else {
        ((((single >> 23) & 0xff) as u16 - 112) << 10) | ((single >> 13) & 0x3ff) as u16
    };
    sign | bits
}

/// The value of an f16, without a branch: the exponent is moved by a product, which makes subnormals normal.
#[inline(always)]
pub(crate) fn f16_wide(bits: u16) -> f32 {
    const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let special = bits & 0x7c00 == 0x7c00;
    let wide = if special {
        magnitude | 0x7f80_0000
    } else {
        (f32::from_bits(magnitude) * REBIAS).to_bits()
    };
    f32::from_bits(wide | (u32::from(bits & 0x8000) << 16))
}

/// The bf16 of a value: NaN becomes the canonical 0x7fff.
pub(crate) fn bf16_bits(value: f64, mode: Mode) -> u16 {
    if value.is_nan() {
        return 0x7fff;
    }
    ((round(value, Format::BF16, mode) as f32).to_bits() >> 16) as u16
}

/// The bf16 of an f32, to nearest even: the conversion that tensor kernels use most.
#[inline(always)]
pub(crate) fn bf16_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
    if value.is_nan() { 0x7fff } else { rounded }
}

/// The tf32 of an f32, to nearest, ties away from zero: the thirteen bits below the last are rounded off in the integer,
/// whose carry is that of the number.
#[inline(always)]
pub(crate) fn tf32_from_f32(value: f32) -> f32 {
    if value.is_nan() {
        f32::from_bits(0x7fff_ffff)
    } else {
        f32::from_bits(value.to_bits().wrapping_add(0x1000) & !0x1fff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tf32_of_every_kind_of_f32_is_that_of_the_exact_rounding() {
        // Every sign and exponent, with the fractions around each tie of the rounding and random ones.
        let around = [
            0, 1, 0xfff, 0x1000, 0x1001, 0x1fff, 0x7f_efff, 0x7f_f000, 0x7f_ffff,
        ];
        for upper in 0..512_u32 {
            for fraction in (0..64).map(|i| (i * 0x9e_3779) & 0x7f_ffff).chain(around) {
                let value = f32::from_bits(upper << 23 | fraction);
                if !value.is_nan() {
                    let exact = round(f64::from(value), Format::TF32, Mode::NearestAway) as f32;
                    assert_eq!(tf32_from_f32(value).to_bits(), exact.to_bits(), "{value:e}");
                }
            }
        }
    }

    #[test]
    fn ties_go_to_even_away_or_inward() {
        let tie = 1.0 + power_of_two(-11);
        let step = power_of_two(-10);
        assert_eq!(round(tie, Format::F16, Mode::NearestEven), 1.0);
        assert_eq!(round(tie, Format::F16, Mode::NearestAway), 1.0 + step);
        assert_eq!(round(tie, Format::F16, Mode::Zero), 1.0);
        assert_eq!(round(tie, Format::F16, Mode::Up), 1.0 + step);
        assert_eq!(round(-tie, Format::F16, Mode::Up), -1.0);
        assert_eq!(round(-tie, Format::F16, Mode::Down), -1.0 - step);
        assert_eq!(
            round(
                1.0 + 3.0 * power_of_two(-11),
                Format::F16,
                Mode::NearestEven
            ),
            1.0 + 2.0 * step
        );
    }

    #[test]
    fn overflow_is_infinite_unless_rounded_inward() {
        assert_eq!(round(65519.0, Format::F16, Mode::NearestEven), 65504.0);
        assert_eq!(
            round(65520.0, Format::F16, Mode::NearestEven),
            f64::INFINITY
        );
        assert_eq!(round(1e9, Format::F16, Mode::Zero), 65504.0);
        assert_eq!(round(-1e9, Format::F16, Mode::Up), -65504.0);
        assert_eq!(round(-1e9, Format::F16, Mode::Down), f64::NEG_INFINITY);
    }

    #[test]
    fn half_bits_agree_with_the_half_crate_on_every_value_and_midpoint() {
        for bits in 0..=u16::MAX {
            let value = half::f16::from_bits(bits);
            assert_eq!(f16_wide(bits).is_nan(), value.is_nan());
            if value.is_nan() {
                assert_eq!(f16_bits(value.to_f64(), Mode::NearestEven), 0x7fff);
                continue;
            }
            assert_eq!(f16_wide(bits).to_bits(), value.to_f32().to_bits());
            assert_eq!(f16_bits(value.to_f64(), Mode::NearestEven), bits);
            let next = half::f16::from_bits(bits.wrapping_add(1));
            if next.is_finite()
                && value.is_finite()
                && value.is_sign_positive() == next.is_sign_positive()
            {
                let midpoint = (value.to_f64() + next.to_f64()) / 2.0;
                let even = if bits & 1 == 0 { bits } else { bits + 1 };
                assert_eq!(
                    f16_bits(midpoint, Mode::NearestEven),
                    even,
                    "midpoint above {bits:#06x}"
                );
                let beyond = add_odd(midpoint, midpoint * 1e-30);
                assert_eq!(
                    f16_bits(beyond, Mode::NearestEven),
                    bits + 1,
                    "just beyond the midpoint above {bits:#06x}"
                );
            }
        }
    }

    #[test]
    fn bf16_of_f32_agrees_with_the_general_rounding() {
        for high in (0..=u16::MAX).step_by(7) {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let value = f32::from_bits((u32::from(high) << 16) | low);
                assert_eq!(
                    bf16_from_f32(value),
                    bf16_bits(f64::from(value), Mode::NearestEven),
                    "{value:e}"
                );
            }
        }
    }

    #[test]
    fn a_sum_rounded_to_odd_keeps_what_it_lost() {
        assert_eq!(
            add_odd(1.0, power_of_two(-80)).to_bits(),
            1f64.to_bits() + 1
        );
        assert_eq!(
            add_odd(1.0, -power_of_two(-80)).to_bits(),
            1f64.to_bits() - 1
        );
        assert_eq!(add_odd(1.0, 2.0), 3.0);
    }
}
