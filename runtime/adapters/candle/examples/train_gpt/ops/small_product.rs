//! Products of small dense matrices, as one attention head needs them: the left factor may be known to be triangular.
//!
//! Buffers are padded: the number of rows to a multiple of `ROWS`, the columns to a multiple of `COLUMNS`.

/// Rows and columns of the block of the result that stays in registers.
pub(super) const ROWS: usize = 4;
pub(super) const COLUMNS: usize = 32;

/// Which entries of the left factor `a[i, k]` are not zero.
#[derive(Clone, Copy)]
pub(super) enum Nonzero {
    All,
    /// k <= i
    Lower,
    /// k >= i
    Upper,
}

/// Which blocks of the result are wanted.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    All,
    /// Blocks that hold an entry with column <= row.
    Lower,
}

/// `out = a b`, with `a` of `rows x inner`, `b` of `inner x columns`, row-major. Blocks that are not wanted keep their values.
#[inline(always)]
pub(super) fn product(
    out: &mut [f32],
    a: &[f32],
    b: &[f32],
    inner: usize,
    columns: usize,
    nonzero: Nonzero,
    wanted: Wanted,
) {
    let blocks = out
        .chunks_exact_mut(ROWS * columns)
        .zip(a.chunks_exact(ROWS * inner))
        .enumerate();
    for (block, (out, a)) in blocks {
        let first_row = block * ROWS;
        let (from, to) = match nonzero {
            Nonzero::All => (0, inner),
            Nonzero::Lower => (0, inner.min(first_row + ROWS)),
            Nonzero::Upper => (first_row.min(inner), inner),
        };
        let last_column = match wanted {
            Wanted::All => columns,
            Wanted::Lower => columns.min((first_row + ROWS).next_multiple_of(COLUMNS)),
        };
        let a: [&[f32]; ROWS] = std::array::from_fn(|row| &a[row * inner..][from..to]);
        let b = &b[from * columns..to * columns];
        for column in (0..last_column).step_by(COLUMNS) {
            let sums = block_product(a, b, columns, column);
            for (row, sums) in sums.iter().enumerate() {
                out[row * columns + column..][..COLUMNS].copy_from_slice(sums);
            }
        }
    }
}

#[inline(always)]
fn block_product(
    a: [&[f32]; ROWS],
    b: &[f32],
    stride: usize,
    column: usize,
) -> [[f32; COLUMNS]; ROWS] {
    let mut sums = [[0.0_f32; COLUMNS]; ROWS];
    let [a0, a1, a2, a3] = a;
    let factors = a0.iter().zip(a1).zip(a2).zip(a3);
    for ((((a0, a1), a2), a3), b) in factors.zip(b.chunks_exact(stride)) {
        let b: &[f32] = &b[column..][..COLUMNS];
        for (sums, a) in sums.iter_mut().zip([*a0, *a1, *a2, *a3]) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(*b, *sum);
            }
        }
    }
    sums
}

/// `out[j, i] = a[i, j]` for `a` of `rows x columns`.
#[inline(always)]
pub(super) fn transpose(out: &mut [f32], a: &[f32], rows: usize, columns: usize) {
    for (i, row) in a.chunks_exact(columns).enumerate().take(rows) {
        for (out, value) in out.chunks_exact_mut(rows).zip(row) {
            out[i] = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vector_math::on_vectors;
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 7919 + seed * 31) % 17) as f32 - 8.0)
            .collect()
    }

    #[test]
    fn agrees_with_the_triple_loop() {
        let (rows, inner, columns) = (12, 12, 64);
        for nonzero in [Nonzero::All, Nonzero::Lower, Nonzero::Upper] {
            let mut a = values(rows * inner, 1);
            for (i, row) in a.chunks_exact_mut(inner).enumerate() {
                for (k, value) in row.iter_mut().enumerate() {
                    let keep = match nonzero {
                        Nonzero::All => true,
                        Nonzero::Lower => k <= i,
                        Nonzero::Upper => k >= i,
                    };
                    *value *= f32::from(u8::from(keep));
                }
            }
            let b = values(inner * columns, 2);
            let mut out = vec![f32::NAN; rows * columns];
            on_vectors(|| product(&mut out, &a, &b, inner, columns, nonzero, Wanted::All));
            for i in 0..rows {
                for j in 0..columns {
                    let expected: f32 = (0..inner)
                        .map(|k| a[i * inner + k] * b[k * columns + j])
                        .sum();
                    assert_eq!(out[i * columns + j], expected, "entry {i}, {j}");
                }
            }
        }
    }

    #[test]
    fn the_lower_part_is_complete() {
        let n = 64;
        let (a, b) = (values(n * n, 3), values(n * n, 4));
        let (mut all, mut lower) = (vec![0.0; n * n], vec![f32::NAN; n * n]);
        product(&mut all, &a, &b, n, n, Nonzero::All, Wanted::All);
        product(&mut lower, &a, &b, n, n, Nonzero::All, Wanted::Lower);
        for i in 0..n {
            assert_eq!(all[i * n..=i * n + i], lower[i * n..=i * n + i]);
        }
        assert!(
            lower[n - 1].is_nan(),
            "a block above the diagonal was computed for nothing"
        );
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let a = values(12 * 5, 5);
        let (mut once, mut twice) = (vec![0.0; 60], vec![0.0; 60]);
        transpose(&mut once, &a, 12, 5);
        transpose(&mut twice, &once, 5, 12);
        assert_eq!(a, twice);
        assert_eq!(once[1], a[5]);
    }
}
