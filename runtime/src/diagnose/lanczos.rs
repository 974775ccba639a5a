//! The Lanczos process on the Gram matrix of the shorter side, for several start vectors at once.

use nalgebra::{DMatrix, SymmetricEigen};

use super::operator::{Block, Operator, Signs, inner_products};

/// A direction whose length falls below this part of the Gram matrix's norm is rounding.
const EXHAUSTED: f64 = 1e-12;

/// The bases and tridiagonal matrices of `N` start vectors.
#[derive(Debug)]
pub(super) struct Lanczos<const N: usize> {
    /// Orthonormal vectors, in order; those of an exhausted start are zero.
    basis: Vec<Block<N>>,
    diagonal: Vec<[f64; N]>,
    off_diagonal: Vec<[f64; N]>,
    /// Length of each start vector.
    lengths: [f64; N],
}

/// Ritz value and the square of the first component of its vector: a node of the quadrature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Square of a singular value.
    pub(super) value: f64,
    pub(super) weight: f64,
}

impl<const N: usize> Lanczos<N> {
    /// At most `steps` steps, with full orthogonalisation.
    pub(super) fn run(matrix: &Operator<'_>, start: &Block<N>, steps: usize) -> Self {
        let lengths = inner_products(start, start).map(f64::sqrt);
        let mut process = Lanczos {
            basis: vec![divided(start, &lengths)],
            diagonal: Vec::new(),
            off_diagonal: Vec::new(),
            lengths,
        };
        for step in 0..steps.min(start.len()) {
            let mut next = matrix.gram(&process.basis[step]);
            process
                .diagonal
                .push(inner_products(&process.basis[step], &next));
            // Twice is enough (Kahan).
            for _ in 0..2 {
                process.orthogonalise(&mut next);
            }
            let scale = process.largest_coefficient();
            let length = inner_products(&next, &next).map(f64::sqrt);
            let mut kept = [0.0; N];
            for lane in 0..N {
                if length[lane] > EXHAUSTED * scale[lane] {
                    kept[lane] = length[lane];
                }
            }
            process.off_diagonal.push(kept);
            if step + 1 == steps.min(start.len()) || kept == [0.0; N] {
                break;
            }
            process.basis.push(divided(&next, &kept));
        }
        process
    }

    fn orthogonalise(&self, vector: &mut Block<N>) {
        for basis in &self.basis {
            let along = inner_products(basis, vector);
            for (out, basis) in vector.iter_mut().zip(basis) {
                for ((out, along), basis) in out.iter_mut().zip(&along).zip(basis) {
                    *out -= along * basis;
                }
            }
        }
    }

    fn largest_coefficient(&self) -> [f64; N] {
        let mut largest = [f64::MIN_POSITIVE; N];
        for row in self.diagonal.iter().chain(&self.off_diagonal) {
            for (largest, value) in largest.iter_mut().zip(row) {
                *largest = largest.max(value.abs());
            }
        }
        largest
    }

    /// Eigenvalues and vectors of the tridiagonal matrix of one start vector, up to where it was exhausted.
    fn ritz(&self, lane: usize) -> SymmetricEigen<f64, nalgebra::Dyn> {
        let whole = self.off_diagonal.iter().position(|row| row[lane] == 0.0);
        let size = whole.map_or(self.diagonal.len(), |last| last + 1);
        let matrix = DMatrix::from_fn(size, size, |i, j| match i.abs_diff(j) {
            0 => self.diagonal[i][lane],
            1 => self.off_diagonal[i.min(j)][lane],
            _ => 0.0,
        });
        SymmetricEigen::new(matrix)
    }

    /// The nodes of one start vector; their weights sum to 1.
    pub(super) fn nodes(&self, lane: usize) -> Vec<Node> {
        let eigen = self.ritz(lane);
        let weights = eigen.eigenvectors.row(0).map(|first| first * first);
        let pairs = eigen.eigenvalues.iter().zip(weights.iter());
        pairs
            .map(|(value, weight)| Node {
                value: value.max(0.0),
                weight: *weight,
            })
            .collect()
    }

    /// function(Gram matrix) times each start vector: ||z|| V function(T) e_1.
    pub(super) fn apply(&self, function: impl Fn(f64) -> f64) -> Block<N> {
        let mut out = vec![[0.0; N]; self.basis[0].len()];
        let mut factors = vec![[0.0; N]; self.basis.len()];
        for lane in 0..N {
            let eigen = self.ritz(lane);
            let vectors = &eigen.eigenvectors;
            for (node, value) in eigen.eigenvalues.iter().enumerate() {
                let factor = self.lengths[lane] * function(value.max(0.0)) * vectors[(0, node)];
                for (row, factors) in factors.iter_mut().enumerate().take(vectors.nrows()) {
                    factors[lane] += factor * vectors[(row, node)];
                }
            }
        }
        for (basis, factors) in self.basis.iter().zip(&factors) {
            for (out, basis) in out.iter_mut().zip(basis) {
                for ((out, factor), basis) in out.iter_mut().zip(factors).zip(basis) {
                    *out += factor * basis;
                }
            }
        }
        out
    }

    /// The largest Ritz value of all start vectors.
    pub(super) fn largest(&self) -> f64 {
        let nodes = (0..N).flat_map(|lane| self.nodes(lane));
        nodes.map(|node| node.value).fold(0.0, f64::max)
    }
}

fn divided<const N: usize>(vectors: &Block<N>, lengths: &[f64; N]) -> Block<N> {
    let factors = lengths.map(|length| if length > 0.0 { 1.0 / length } else { 0.0 });
    let mut out = vec![[0.0; N]; vectors.len()];
    for (out, vector) in out.iter_mut().zip(vectors) {
        for ((out, factor), value) in out.iter_mut().zip(&factors).zip(vector) {
            *out = factor * value;
        }
    }
    out
}

/// ||G||_2 from below; `steps` of 16 reach it within a per cent unless the largest values lie very close, in
/// which case the difference does not matter either.
pub(super) fn spectral_norm(matrix: &Operator<'_>, seed: u64, steps: usize) -> f64 {
    let start = Signs::new(seed).block::<1>(matrix.short());
    Lanczos::run(matrix, &start, steps).largest().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// diag(4, 3, 2, 1, 1, 1) as a 6 x 6 matrix.
    fn diagonal() -> Vec<f32> {
        let sizes = [4.0, 3.0, 2.0, 1.0, 1.0, 1.0];
        let mut values = vec![0.0; 36];
        for (place, size) in sizes.iter().enumerate() {
            values[7 * place] = *size;
        }
        values
    }

    #[test]
    fn an_exhausted_start_gives_the_exact_measure() {
        let values = diagonal();
        let matrix = Operator::new(&values, 6, 6);
        let start: Block<2> = vec![[1.0, 1.0]; 6];
        let process = Lanczos::run(&matrix, &start, 6);
        let nodes = process.nodes(1);
        // Four distinct values: the process stops after four steps.
        assert_eq!(nodes.len(), 4);
        let moment: f64 = nodes
            .iter()
            .map(|node| node.weight * node.value.powi(2))
            .sum();
        let expected = (256.0 + 81.0 + 16.0 + 3.0) / 6.0;
        assert!((moment / expected - 1.0).abs() < 1e-12, "{moment}");
        assert!((process.largest() - 16.0).abs() < 1e-10);
        let root = process.apply(f64::sqrt);
        let expected = [4.0, 3.0, 2.0, 1.0, 1.0, 1.0];
        for (found, expected) in root.iter().zip(expected) {
            assert!((found[0] - expected).abs() < 1e-10, "{root:?}");
        }
    }

    #[test]
    fn wide_and_tall_matrices_have_one_spectral_norm() {
        let wide: Vec<f32> = (0..60)
            .map(|i| ((i * 37 % 19) as f32 - 9.0) / 7.0)
            .collect();
        let tall: Vec<f32> = (0..60).map(|i| wide[i % 5 * 12 + i / 5]).collect();
        let norms = [
            spectral_norm(&Operator::new(&wide, 5, 12), 1, 8),
            spectral_norm(&Operator::new(&tall, 12, 5), 1, 8),
        ];
        assert!((norms[0] / norms[1] - 1.0).abs() < 1e-10, "{norms:?}");
    }
}
