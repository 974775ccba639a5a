//! A matrix that is multiplied by blocks of vectors, on all threads, with sums in a fixed order.

use rayon::prelude::*;

use crate::reference::TileBounds;

/// Parts into which the rows are cut where their contributions are added up. Fixed, so that the bits do not
/// depend on the number of threads.
pub(super) const PARTS: usize = 8;

/// `N` vectors side by side: element i of all of them, then element i + 1.
pub(super) type Block<const N: usize> = Vec<[f64; N]>;

/// A dense row-major matrix of `f32`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
}

impl<'a> Operator<'a> {
    /// `rows * columns` numbers, both at least 1.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Operator {
            values,
            rows,
            columns,
        }
    }

    pub(super) fn values(&self) -> &'a [f32] {
        self.values
    }

    pub(super) fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// min(rows, columns): the number of singular values.
    pub(super) fn short(&self) -> usize {
        self.rows.min(self.columns)
    }

    /// ||G||_F.
    pub(super) fn norm(&self) -> f64 {
        let sums: Vec<f64> = self
            .values
            .par_chunks(1 << 16)
            .map(|part| part.iter().map(|v| f64::from(*v).powi(2)).sum())
            .collect();
        sums.iter().sum::<f64>().sqrt()
    }

    /// <G, other>.
    pub(super) fn inner_product(&self, other: &Operator<'_>) -> f64 {
        let pairs = self
            .values
            .par_chunks(1 << 16)
            .zip(other.values.par_chunks(1 << 16));
        let sums: Vec<f64> = pairs
            .map(|(a, b)| {
                a.iter()
                    .zip(b)
                    .map(|(x, y)| f64::from(*x) * f64::from(*y))
                    .sum()
            })
            .collect();
        sums.iter().sum()
    }

    /// The rows of a tile.
    pub(super) fn tile_rows(&self, bounds: &TileBounds) -> impl Iterator<Item = &'a [f32]> {
        let (values, columns, bounds) = (self.values, self.columns, *bounds);
        (bounds.row..bounds.row + bounds.rows).map(move |row| {
            let start = row * columns + bounds.column;
            &values[start..start + bounds.columns]
        })
    }

    /// G x.
    pub(super) fn forward<const N: usize>(&self, x: &Block<N>) -> Block<N> {
        let mut out = vec![[0.0; N]; self.rows];
        out.par_iter_mut()
            .zip(self.values.par_chunks(self.columns))
            .for_each(|(out, row)| {
                for (value, x) in row.iter().zip(x) {
                    add(out, f64::from(*value), x);
                }
            });
        out
    }

    /// G^T y.
    pub(super) fn backward<const N: usize>(&self, y: &Block<N>) -> Block<N> {
        let rows = self.rows.div_ceil(PARTS);
        let parts: Vec<Block<N>> = self
            .values
            .par_chunks(rows * self.columns)
            .zip(y.par_chunks(rows))
            .map(|(values, y)| {
                let mut out = vec![[0.0; N]; self.columns];
                for (row, y) in values.chunks(self.columns).zip(y) {
                    for (out, value) in out.iter_mut().zip(row) {
                        add(out, f64::from(*value), y);
                    }
                }
                out
            })
            .collect();
        let mut sum = vec![[0.0; N]; self.columns];
        for part in &parts {
            for (sum, part) in sum.iter_mut().zip(part) {
                add(sum, 1.0, part);
            }
        }
        sum
    }

    /// The Gram matrix of the shorter side times x: G^T G x, or G G^T x where there are more columns than rows.
    pub(super) fn gram<const N: usize>(&self, x: &Block<N>) -> Block<N> {
        self.gram_with(self, x)
    }

    /// G^T (other x), or G (other^T x) where there are more columns than rows.
    pub(super) fn gram_with<const N: usize>(&self, other: &Operator<'_>, x: &Block<N>) -> Block<N> {
        if self.columns <= self.rows {
            self.backward(&other.forward(x))
        } else {
            self.forward(&other.backward(x))
        }
    }
}

/// out += factor * x, lane by lane.
pub(super) fn add<const N: usize>(out: &mut [f64; N], factor: f64, x: &[f64; N]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += factor * x;
    }
}

/// The inner product of each pair of vectors.
pub(super) fn inner_products<const N: usize>(a: &[[f64; N]], b: &[[f64; N]]) -> [f64; N] {
    let mut sums = [0.0; N];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums
}

/// SplitMix64 (Steele, Lea, Flood, 2014): signs of random vectors.
#[derive(Clone, Debug)]
pub(super) struct Signs(u64);

impl Signs {
    pub(super) fn new(seed: u64) -> Self {
        Signs(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `len` x `N` signs, each 1 or -1.
    pub(super) fn block<const N: usize>(&mut self, len: usize) -> Block<N> {
        (0..len)
            .map(|_| {
                let bits = self.bits();
                std::array::from_fn(|lane| if bits >> lane & 1 == 1 { 1.0 } else { -1.0 })
            })
            .collect()
    }
}
