//! What happens between the two projections of attention, for one head of one sequence at a time.

use super::attention::AttentionShape;
use super::small_product::{COLUMNS, Nonzero, ROWS, Wanted, product, transpose};
use super::vector_math::{on_vectors, softmax_in_place, sum_over};
use rayon::prelude::*;

/// Mixes the values of each head: `projected` holds rows of queries, keys, values (3 width); the result rows of `width`.
pub(super) fn forward(projected: &[f32], width: usize, shape: AttentionShape) -> Vec<f32> {
    let mut mixed = vec![0.0_f32; projected.len() / 3];
    let sequence = shape.context * width;
    mixed
        .par_chunks_mut(sequence)
        .zip(projected.par_chunks(3 * sequence))
        .for_each_init(
            || Head::new(width, shape),
            |head, (mixed, projected)| {
                on_vectors(
                    #[inline(always)]
                    || {
                        for index in 0..shape.heads {
                            head.load(projected, index);
                            head.attend();
                            head.mix();
                            copy_columns(
                                (&head.mixed, head.columns, 0),
                                (mixed, width, index * head.width),
                                head.width,
                            );
                        }
                    },
                );
            },
        );
    mixed
}

/// The gradient of `projected` from the gradient of the mixed values.
pub(super) fn backward(
    projected: &[f32],
    grad: &[f32],
    width: usize,
    shape: AttentionShape,
) -> Vec<f32> {
    let mut projected_grad = vec![0.0_f32; projected.len()];
    let sequence = shape.context * width;
    let inputs = projected
        .par_chunks(3 * sequence)
        .zip(grad.par_chunks(sequence));
    projected_grad
        .par_chunks_mut(3 * sequence)
        .zip(inputs)
        .for_each_init(
            || (Head::new(width, shape), HeadGradient::new(width, shape)),
            |(head, gradient), (projected_grad, (projected, grad))| {
                on_vectors(
                    #[inline(always)]
                    || {
                        for index in 0..shape.heads {
                            head.load(projected, index);
                            head.attend();
                            copy_columns(
                                (grad, width, index * head.width),
                                (&mut gradient.mixed, head.columns, 0),
                                head.width,
                            );
                            gradient.compute(head);
                            for (part, values) in
                                [&gradient.queries, &gradient.keys, &gradient.values]
                                    .into_iter()
                                    .enumerate()
                            {
                                let first = part * width + index * head.width;
                                copy_columns(
                                    (values, head.columns, 0),
                                    (projected_grad, 3 * width, first),
                                    head.width,
                                );
                            }
                        }
                    },
                );
            },
        );
    projected_grad
}

/// Copies `count` columns of one row-major matrix into another, each given as values, row stride and first column, for as
/// many rows as both have.
#[inline(always)]
fn copy_columns(source: (&[f32], usize, usize), target: (&mut [f32], usize, usize), count: usize) {
    let (source, source_stride, source_first) = source;
    let (target, target_stride, target_first) = target;
    for (target, source) in target
        .chunks_exact_mut(target_stride)
        .zip(source.chunks_exact(source_stride))
    {
        target[target_first..][..count].copy_from_slice(&source[source_first..][..count]);
    }
}

/// One head of one sequence: dense matrices, rows padded to `rows`, columns to `columns`, the padding zero.
struct Head {
    context: usize,
    /// Columns of a head, and that padded.
    width: usize,
    columns: usize,
    /// Columns of all heads.
    model_width: usize,
    /// The context padded.
    rows: usize,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Columns of a position, so (columns, rows): the right factor of queries times keys.
    transposed: Vec<f32>,
    /// Softmax of the scaled scores, (rows, rows), zero above the diagonal.
    weights: Vec<f32>,
    mixed: Vec<f32>,
}

impl Head {
    fn new(model_width: usize, shape: AttentionShape) -> Self {
        let width = model_width / shape.heads;
        let columns = width.next_multiple_of(COLUMNS);
        let rows = shape.context.next_multiple_of(COLUMNS.max(ROWS));
        let matrix = vec![0.0_f32; rows * columns];
        Self {
            context: shape.context,
            width,
            columns,
            model_width,
            rows,
            queries: matrix.clone(),
            keys: matrix.clone(),
            values: matrix.clone(),
            transposed: matrix.clone(),
            weights: vec![0.0; rows * rows],
            mixed: matrix,
        }
    }

    /// Takes this head's columns out of rows of queries, keys and values.
    #[inline(always)]
    fn load(&mut self, projected: &[f32], index: usize) {
        let stride = 3 * self.model_width;
        let parts = [&mut self.queries, &mut self.keys, &mut self.values];
        for (part, target) in parts.into_iter().enumerate() {
            let first = part * self.model_width + index * self.width;
            copy_columns(
                (projected, stride, first),
                (target, self.columns, 0),
                self.width,
            );
        }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// The causal softmax of the scaled scores.
    #[inline(always)]
    fn attend(&mut self) {
        let scale = self.scale();
        transpose(&mut self.transposed, &self.keys, self.rows, self.columns);
        product(
            &mut self.weights,
            &self.queries,
            &self.transposed,
            self.columns,
            self.rows,
            Nonzero::All,
            Wanted::Lower,
        );
        for (i, row) in self.weights.chunks_exact_mut(self.rows).enumerate() {
            let (seen, hidden) = row.split_at_mut(if i < self.context { i + 1 } else { 0 });
            for value in seen.iter_mut() {
                *value *= scale;
            }
            softmax_in_place(seen);
            hidden.fill(0.0);
        }
    }

    #[inline(always)]
    fn mix(&mut self) {
        product(
            &mut self.mixed,
            &self.weights,
            &self.values,
            self.rows,
            self.columns,
            Nonzero::Lower,
            Wanted::All,
        );
    }
}

/// The gradients of one head's mixed values (given), queries, keys and values.
struct HeadGradient {
    mixed: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: Vec<f32>,
    transposed: Vec<f32>,
}

impl HeadGradient {
    fn new(model_width: usize, shape: AttentionShape) -> Self {
        let head = Head::new(model_width, shape);
        Self {
            mixed: head.mixed,
            queries: head.queries,
            keys: head.keys,
            values: head.values,
            scores: head.weights.clone(),
            transposed: head.weights,
        }
    }

    /// With weights P, values V and the gradient M of the mixed values: `dV = P^T M`, `dP = M V^T`,
    /// `dS = P (dP - rowsum(P dP))`, `dQ = scale dS K`, `dK = scale dS^T Q`.
    #[inline(always)]
    fn compute(&mut self, head: &mut Head) {
        let (rows, columns, scale) = (head.rows, head.columns, head.scale());
        transpose(&mut self.transposed, &head.weights, rows, rows);
        product(
            &mut self.values,
            &self.transposed,
            &self.mixed,
            rows,
            columns,
            Nonzero::Upper,
            Wanted::All,
        );

        transpose(&mut head.transposed, &head.values, rows, columns);
        product(
            &mut self.scores,
            &self.mixed,
            &head.transposed,
            columns,
            rows,
            Nonzero::All,
            Wanted::Lower,
        );
        for (i, (scores, weights)) in self
            .scores
            .chunks_exact_mut(rows)
            .zip(head.weights.chunks_exact(rows))
            .enumerate()
        {
            let seen = (i + 1).min(rows);
            let mean = sum_over([&scores[..seen], &weights[..seen]], |[score, weight]| {
                score * weight
            });
            for (score, weight) in scores[..seen].iter_mut().zip(weights) {
                *score = (*score - mean) * weight * scale;
            }
            scores[seen..].fill(0.0);
        }
        product(
            &mut self.queries,
            &self.scores,
            &head.keys,
            rows,
            columns,
            Nonzero::Lower,
            Wanted::All,
        );
        transpose(&mut self.transposed, &self.scores, rows, rows);
        product(
            &mut self.keys,
            &self.transposed,
            &head.queries,
            rows,
            columns,
            Nonzero::Upper,
            Wanted::All,
        );
    }
}
