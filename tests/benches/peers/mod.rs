//! Newton-Schulz of one T x T tile with the products of other crates: `gemm` and `faer`, on one thread.
//! The same map as `muon`, K steps, in `f32`; the elementwise work is fused into their products where their
//! interfaces allow it.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// (a, b, c) of `muon`.
const MUON: (f32, f32, f32) = (3.4445, -4.7750, 2.0315);

/// dst <- alpha dst + beta lhs rhs, row-major T x T; `transposed`: rhs^T.
pub(crate) trait Product {
    const NAME: &'static str;
    fn multiply(
        t: usize,
        dst: &mut [f32],
        alpha: f32,
        beta: f32,
        lhs: &[f32],
        rhs: &[f32],
        transposed: bool,
    );
}

pub(crate) struct Gemm;

impl Product for Gemm {
    const NAME: &'static str = "gemm";
    fn multiply(
        t: usize,
        dst: &mut [f32],
        alpha: f32,
        beta: f32,
        lhs: &[f32],
        rhs: &[f32],
        transposed: bool,
    ) {
        let one = 1;
        let leading = t as isize;
        let (rhs_cs, rhs_rs) = if transposed {
            (leading, one)
        } else {
            (one, leading)
        };
        assert!(dst.len() >= t * t && lhs.len() >= t * t && rhs.len() >= t * t);
        // SAFETY: three T x T matrices, whose lengths were checked.
        unsafe {
            gemm::gemm(
                t,
                t,
                t,
                dst.as_mut_ptr(),
                one,
                leading,
                alpha != 0.0,
                lhs.as_ptr(),
                one,
                leading,
                rhs.as_ptr(),
                rhs_cs,
                rhs_rs,
                alpha,
                beta,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

pub(crate) struct Faer;

impl Product for Faer {
    const NAME: &'static str = "faer";
    fn multiply(
        t: usize,
        dst: &mut [f32],
        alpha: f32,
        beta: f32,
        lhs: &[f32],
        rhs: &[f32],
        transposed: bool,
    ) {
        let lhs = MatRef::from_row_major_slice(lhs, t, t);
        let rhs = MatRef::from_row_major_slice(rhs, t, t);
        let rhs = if transposed { rhs.transpose() } else { rhs };
        let accumulate = if alpha == 0.0 {
            Accum::Replace
        } else {
            Accum::Add
        };
        if alpha != 0.0 && alpha != 1.0 {
            dst.iter_mut().for_each(|x| *x *= alpha);
        }
        let dst = MatMut::from_row_major_slice_mut(dst, t, t);
        matmul(dst, accumulate, lhs, rhs, beta, Par::Seq);
    }
}

/// Buffers of one tile.
pub(crate) struct Tile {
    t: usize,
    x: Vec<f32>,
    gram: Vec<f32>,
    polynomial: Vec<f32>,
    next: Vec<f32>,
}

impl Tile {
    pub(crate) fn new(t: usize) -> Tile {
        let buffer = || vec![0.0; t * t];
        Tile {
            t,
            x: buffer(),
            gram: buffer(),
            polynomial: buffer(),
            next: buffer(),
        }
    }

    /// Maps the tile at (row, column) of a matrix with `leading` columns.
    pub(crate) fn map<P: Product>(
        &mut self,
        steps: usize,
        input: &[f32],
        output: &mut [f32],
        start: usize,
        leading: usize,
    ) {
        let t = self.t;
        for row in 0..t {
            let at = start + row * leading;
            self.x[row * t..(row + 1) * t].copy_from_slice(&input[at..at + t]);
        }
        let norm = self.x.iter().map(|x| x * x).sum::<f32>().sqrt();
        let inverse = 1.0 / (norm + 1e-7);
        self.x.iter_mut().for_each(|x| *x *= inverse);
        let (a, b, c) = MUON;
        for _ in 0..steps {
            P::multiply(t, &mut self.gram, 0.0, 1.0, &self.x, &self.x, true);
            self.polynomial.copy_from_slice(&self.gram);
            P::multiply(t, &mut self.polynomial, b, c, &self.gram, &self.gram, false);
            self.next.copy_from_slice(&self.x);
            P::multiply(t, &mut self.next, a, 1.0, &self.polynomial, &self.x, false);
            std::mem::swap(&mut self.x, &mut self.next);
        }
        for row in 0..t {
            let at = start + row * leading;
            output[at..at + t].copy_from_slice(&self.x[row * t..(row + 1) * t]);
        }
    }

    /// Maps every tile of a square matrix whose edge is a multiple of T.
    pub(crate) fn map_all<P: Product>(
        &mut self,
        steps: usize,
        input: &[f32],
        output: &mut [f32],
        edge: usize,
    ) {
        for row in (0..edge).step_by(self.t) {
            for column in (0..edge).step_by(self.t) {
                self.map::<P>(steps, input, output, row * edge + column, edge);
            }
        }
    }
}
