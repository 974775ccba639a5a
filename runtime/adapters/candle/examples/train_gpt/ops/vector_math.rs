//! Elementary functions and row loops in a form that compilers vectorise, on the widest instruction set of the machine.
//!
//! Everything here is `inline(always)`: the code takes on the instruction set of the `on_vectors` call it is inlined into.

/// Rows a thread takes at a time. Sums over rows are added block by block, so the block decides the rounding, not the thread.
pub(super) const ROWS_PER_BLOCK: usize = 32;

/// Runs `body` compiled for the widest vectors this machine has. `body` must be `#[inline(always)]` throughout.
pub(super) fn on_vectors<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// `e^x`, relative error below 2e-7 for x in [-87, 88]; arguments outside are clamped to that range.
///
/// `x = n ln 2 + r` with |r| <= ln 2 / 2, then the Taylor polynomial of degree 7 in `r` and the power of two through the
/// exponent field.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the mantissa.
    const ROUNDING: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDING);
    let n = shifted - ROUNDING;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let p = r.mul_add(1.0 / 5040.0, 1.0 / 720.0);
    let p = p.mul_add(r, 1.0 / 120.0);
    let p = p.mul_add(r, 1.0 / 24.0);
    let p = p.mul_add(r, 1.0 / 6.0);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r, 1.0);
    let p = p.mul_add(r, 1.0);
    p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// Lanes of a sum over a row; wide enough to fill the vector units, fixed so that every instruction set adds in one order.
const LANES: usize = 32;

/// The sum over columns of `term` of one value from each row, in a fixed order. The rows have one length.
#[inline(always)]
pub(super) fn sum_over<const N: usize>(rows: [&[f32]; N], term: impl Fn([f32; N]) -> f32) -> f32 {
    let split = rows.map(|row| row.as_chunks::<LANES>());
    let mut lanes = [0.0_f32; LANES];
    for chunk in 0..split
        .iter()
        .map(|(chunks, _)| chunks.len())
        .min()
        .unwrap_or(0)
    {
        let values = split.map(|(chunks, _)| chunks[chunk]);
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(values.map(|value| value[lane]));
        }
    }
    for i in 0..split.iter().map(|(_, rest)| rest.len()).min().unwrap_or(0) {
        lanes[i] += term(split.map(|(_, rest)| rest[i]));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest value of a row; negative infinity for an empty one.
#[inline(always)]
pub(super) fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (best, value) in lanes.iter_mut().zip(chunk) {
            *best = if *value > *best { *value } else { *best };
        }
    }
    lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max)
}

/// Replaces a row of scores by its softmax and returns the logarithm of the sum of exponentials.
#[inline(always)]
pub(super) fn softmax_in_place(row: &mut [f32]) -> f32 {
    let top = largest(row);
    for value in row.iter_mut() {
        *value = exp(*value - top);
    }
    let total = sum_over([&*row], |[value]| value);
    let inverse = 1.0 / total;
    for value in row.iter_mut() {
        *value *= inverse;
    }
    top + total.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_seventh_digit() {
        let mut worst = 0.0_f64;
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2e-7, "relative error {worst:e}");
    }

    #[test]
    fn exp_is_clamped_outside_its_range() {
        assert_eq!(exp(-1e9), exp(-87.0));
        assert_eq!(exp(1e9), exp(88.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_cover_every_length() {
        for n in 0..130 {
            let row: Vec<f32> = (0..n).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
            let sum: f32 = row.iter().sum();
            assert_eq!(sum_over([&row], |[value]| value), sum);
            assert_eq!(
                largest(&row),
                row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
            );
        }
    }

    #[test]
    fn softmax_adds_to_one_and_returns_the_log_sum() {
        let mut row = vec![1.0, 2.0, 3.0, 1000.0, 999.0];
        let log_sum = softmax_in_place(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((log_sum - (1000.0 + (1.0_f32 + (-1.0_f32).exp()).ln())).abs() < 1e-3);
    }
}
