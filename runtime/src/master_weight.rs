//! f32 master weights beside bf16 weights, in 16 more bits.
//!
//! The bits of the master weight are those of the bf16 weight, moved up by sixteen, plus a signed remainder of 16 bits.
//! The weight is therefore the master rounded to the nearest bf16, ties away from zero, and the remainder is what that
//! rounding took away: nothing is lost, a remainder of 0 is the weight itself, and decay and step run in f32 as if the
//! weight were f32. The optimizer keeps the remainders as state; the weights stay the model's own.
//!
//! * A weight that somebody else has set in between is taken as it is: its master is less than half a unit in its last
//!   place away. A remainder that no rounding can have left beside it (below a zero, above an infinity) is dropped.
//! * A master beyond the largest finite bf16, 3.3895e38, by half a unit or more shows as an infinite weight, as rounding
//!   has it, and comes back from there, since the remainder still tells the finite number.
//! * A master that is no number is a NaN as weight too, with a remainder of 0.
//!
//! f16 weights have no such form, since 16 more bits do not widen their exponent; f32 weights need none.

use half::bf16;

/// Half a unit in the last place of a weight, in the bits of its master.
const HALF: u32 = 0x8000;
/// A quiet NaN.
const NAN: u32 = 0x7fc0_0000;

/// The master weight.
///
/// ```
/// use half::bf16;
/// use himuon::master_weight::{master_weight, split_master_weight};
/// let (weight, remainder) = split_master_weight(0.1);
/// assert_eq!(weight, bf16::from_f32(0.1));
/// assert_eq!(master_weight(weight, remainder), 0.1);
/// assert_eq!(master_weight(weight, 0), weight.to_f32());
/// ```
#[inline]
pub fn master_weight(weight: bf16, remainder: i16) -> f32 {
    let bits = u32::from(weight.to_bits()) << 16;
    let master = f32::from_bits(bits.wrapping_add_signed(i32::from(remainder)));
    if master.is_nan() {
        f32::from_bits(bits)
    } else {
        master
    }
}

/// The weight and the remainder that [`master_weight`] makes `master` of.
#[inline]
pub fn split_master_weight(master: f32) -> (bf16, i16) {
    let bits = if master.is_nan() {
        NAN
    } else {
        master.to_bits()
    };
    let weight = bf16::from_bits((bits.wrapping_add(HALF) >> 16) as u16);
    (weight, bits as u16 as i16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_with_any_remainder_that_rounding_leaves_is_itself() {
        for weight in 0..=u16::MAX {
            for remainder in [i16::MIN, -1, 0, 1, i16::MAX] {
                let weight = bf16::from_bits(weight);
                let master = master_weight(weight, remainder);
                let back = split_master_weight(master);
                if master.is_nan() {
                    assert!(weight.is_nan() && back.0.is_nan() && back.1 == 0);
                } else if back != (weight, remainder) {
                    // Dropped: the only remainders that no rounding leaves.
                    let below_zero = weight.to_f32() == 0.0 && remainder < 0;
                    let above_infinity = weight.is_infinite() && remainder > 0;
                    assert!(below_zero || above_infinity, "{weight} {remainder}");
                    assert_eq!(back, (weight, 0));
                }
            }
        }
    }

    #[test]
    fn rounds_to_nearest_and_ties_away_from_zero() {
        let of = |bits: u32| split_master_weight(f32::from_bits(bits)).0.to_bits();
        for sign in [0_u32, 0x8000] {
            let up = sign << 16;
            assert_eq!(u32::from(of(up | 0x3f80_7fff)), sign | 0x3f80);
            assert_eq!(u32::from(of(up | 0x3f80_8000)), sign | 0x3f81);
            assert_eq!(u32::from(of(up | 0x3f81_8000)), sign | 0x3f82);
            assert_eq!(u32::from(of(up | 0x0000_8000)), sign | 0x0001);
        }
    }

    #[test]
    fn what_is_beyond_bf16_shows_as_infinite_and_is_kept() {
        let largest = f32::MAX;
        let (weight, remainder) = split_master_weight(largest);
        assert_eq!(weight, bf16::INFINITY);
        assert_eq!(remainder, -1);
        assert_eq!(master_weight(weight, remainder), largest);
        assert_eq!(
            split_master_weight(f32::NEG_INFINITY),
            (bf16::NEG_INFINITY, 0)
        );
        let (weight, remainder) = split_master_weight(f32::from_bits(0xffff_ffff));
        assert!(weight.is_nan() && remainder == 0);
        // A weight that was set to zero while its remainder was negative.
        assert_eq!(master_weight(bf16::ZERO, -5), 0.0);
        assert_eq!(
            master_weight(bf16::NEG_ZERO, -5).to_bits(),
            (-0.0_f32).to_bits()
        );
        assert_eq!(master_weight(bf16::INFINITY, 5), f32::INFINITY);
    }
}
