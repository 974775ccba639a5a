//! Floats as CUDA literals with exact bits.

/// A hexadecimal float literal (C++17) whose value is exactly `value`: `0x1.b8e560p+1f` for 3.4445.
///
/// Infinities and NaNs have no literal and are written as bits.
pub(super) fn float(value: f32) -> String {
    if !value.is_finite() {
        return format!("__int_as_float({:#010x})", value.to_bits());
    }
    let bits = value.to_bits();
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let (exponent, mantissa) = ((bits >> 23) & 0xff, bits & 0x7f_ffff);
    match (exponent, mantissa) {
        (0, 0) => format!("{sign}0.0f"),
        // Subnormal: no leading one.
        (0, _) => format!("{sign}0x0.{:06x}p-126f", mantissa << 1),
        _ => format!(
            "{sign}0x1.{:06x}p{:+}f",
            mantissa << 1,
            i64::from(exponent) - 127
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::float;

    /// Reads the literal back by its definition.
    fn value(literal: &str) -> f64 {
        let (sign, rest) = match literal.strip_prefix('-') {
            Some(rest) => (-1.0, rest),
            None => (1.0, literal),
        };
        let rest = rest.strip_suffix('f').unwrap();
        let Some(rest) = rest.strip_prefix("0x") else {
            return sign * rest.parse::<f64>().unwrap();
        };
        let (digits, exponent) = rest.split_once('p').unwrap();
        let (whole, places) = digits.split_once('.').unwrap();
        let mantissa = u64::from_str_radix(&format!("{whole}{places}"), 16).unwrap();
        let scale = exponent.parse::<i32>().unwrap() - 4 * places.len() as i32;
        sign * mantissa as f64 * 2_f64.powi(scale)
    }

    #[test]
    fn literals() {
        assert_eq!(float(3.4445), "0x1.b8e560p+1f");
        assert_eq!(float(1.0), "0x1.000000p+0f");
        assert_eq!(float(-0.5), "-0x1.000000p-1f");
        assert_eq!(float(0.0), "0.0f");
        assert_eq!(float(f32::INFINITY), "__int_as_float(0x7f800000)");
    }

    #[test]
    fn every_bit_survives() {
        let mut bits = 1_u32;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = f32::from_bits(bits);
            if number.is_finite() {
                assert_eq!(value(&float(number)) as f32, number);
            }
        }
        for number in [
            f32::MIN_POSITIVE,
            f32::MAX,
            f32::from_bits(1),
            f32::from_bits(0x7f_ffff),
        ] {
            assert_eq!(value(&float(number)) as f32, number);
        }
    }
}
