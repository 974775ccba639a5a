//! The worst measured errors.

use super::Family::{self, Cans, Coupled, Fitted, Flat, Identity, Minimax, Odd, PolarExpress};
use super::Size::{self, Few, Many};
use himuon::templates::Mode::{self, Accurate, Reference};
use himuon::templates::Operand::{self, Bf16, F16, F32, Tf32};

/// One recurrence family, rounding and size of tile.
pub(super) struct Row {
    pub(super) family: Family,
    pub(super) operand: Operand,
    pub(super) mode: Mode,
    pub(super) size: Size,
    /// Gaussian, huge, tiny: relative Frobenius.
    pub(super) regular: f64,
    /// Low rank and noise: relative Frobenius.
    pub(super) near_low_rank: f64,
    /// Low rank, rank 1: on the row and column space of the input.
    pub(super) deficient: f64,
    /// Rows scaled down to 1e-4: relative Frobenius.
    pub(super) ill_conditioned: f64,
}

const fn row(family: Family, operand: Operand, mode: Mode, size: Size, worst: [f64; 4]) -> Row {
    let [regular, near_low_rank, deficient, ill_conditioned] = worst;
    Row {
        family,
        operand,
        mode,
        size,
        regular,
        near_low_rank,
        deficient,
        ill_conditioned,
    }
}

/// Worst errors in the order regular, near low rank, deficient, ill-conditioned.
///
/// * F32 accurate: of the CPU kernels on tiles up to 256 x 256, and of the CUDA kernels.
/// * F32 reference: of the CPU and the CUDA kernels, whose worst cases are the same, against the `f64` map with the same
///   rounding points. Sums that differ in the last bit flip a rounding here and there, which later steps magnify;
///   which input it happens to hit is chance, so the worst of a row (at least one flip of bf16, 5e-3) stands for
///   all of it but the nearly low-rank: small singular values are magnified several hundred times.
/// * TF32, F16, BF16: of the `f64` map with rounded operands, tiles up to 128 x 128: what the type alone costs
///   (TF32 and F16 round to the same ten bits); of `cans` and p = 1, which has no product, of the CUDA kernels, the
///   larger of the two.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row(Flat, F32, Accurate, Few, [1.4e-7, 1.3e-5, 9.4e-8, 1.5e-7]),
    row(Flat, F32, Accurate, Many, [2.0e-7, 1.6e-5, 5.5e-8, 2.5e-7]),
    row(Odd, F32, Accurate, Few, [1.3e-5, 1.2e-4, 3.1e-6, 9.1e-7]),
    row(Odd, F32, Accurate, Many, [2.2e-6, 1.6e-4, 6.5e-7, 1.6e-6]),
    row(PolarExpress, F32, Accurate, Few, [1.4e-5, 5.5e-5, 2.6e-5, 1.4e-5]),
    row(PolarExpress, F32, Accurate, Many, [3.1e-6, 6.6e-5, 2.2e-5, 4.4e-6]),
    row(Minimax, F32, Accurate, Few, [1.6e-5, 5.4e-5, 2.3e-5, 1.6e-5]),
    row(Minimax, F32, Accurate, Many, [4.6e-6, 6.1e-5, 2.3e-5, 6.8e-6]),
    row(Cans, F32, Accurate, Few, [5.1e-5, 5.0e-5, 4.6e-5, 5.1e-5]),
    row(Cans, F32, Accurate, Many, [3.9e-6, 5.2e-5, 2.6e-5, 8.5e-6]),
    row(Fitted, F32, Accurate, Few, [1.7e-6, 1.5e-6, 1.4e-6, 1.3e-6]),
    row(Fitted, F32, Accurate, Many, [1.1e-6, 2.0e-6, 3.4e-7, 8.9e-7]),
    row(Coupled, F32, Accurate, Few, [4.3e-6, 1.0e-5, 6.5e-6, 4.3e-6]),
    row(Coupled, F32, Accurate, Many, [1.4e-6, 1.2e-5, 4.3e-6, 4.8e-6]),
    row(Identity, F32, Accurate, Few, [8.7e-8, 1.2e-7, 1.1e-7, 9.3e-8]),
    row(Identity, F32, Accurate, Many, [1.0e-7, 8.6e-8, 9.1e-8, 1.2e-7]),
    row(Flat, F32, Reference, Few, [1.1e-2, 1.1e-2, 1.1e-2, 1.1e-2]),
    row(Flat, F32, Reference, Many, [5.1e-3, 5.1e-3, 5.1e-3, 5.1e-3]),
    row(Odd, F32, Reference, Few, [1.7e-2, 2.2e-1, 1.7e-2, 1.7e-2]),
    row(Odd, F32, Reference, Many, [4.5e-2, 1.1e-1, 4.5e-2, 4.5e-2]),
    row(PolarExpress, F32, Reference, Few, [2.5e-2, 3.9e-1, 2.5e-2, 2.5e-2]),
    row(PolarExpress, F32, Reference, Many, [6.3e-2, 1.6e-1, 6.3e-2, 6.3e-2]),
    row(Minimax, F32, Reference, Few, [4.0e-2, 2.6e-1, 4.0e-2, 4.0e-2]),
    row(Minimax, F32, Reference, Many, [4.6e-2, 1.4e-1, 4.6e-2, 4.6e-2]),
    row(Cans, F32, Reference, Few, [4.2e-2, 2.6e-1, 4.2e-2, 4.2e-2]),
    row(Cans, F32, Reference, Many, [4.2e-2, 1.4e-1, 4.2e-2, 4.2e-2]),
    row(Flat, Tf32, Accurate, Few, [8.8e-4, 6.3e-4, 4.4e-4, 8.8e-4]),
    row(Flat, Tf32, Accurate, Many, [3.8e-4, 3.0e-4, 2.7e-4, 3.4e-4]),
    row(Odd, Tf32, Accurate, Few, [8.8e-3, 8.5e-3, 8.4e-3, 8.8e-3]),
    row(Odd, Tf32, Accurate, Many, [3.9e-3, 3.0e-3, 1.4e-3, 2.9e-3]),
    row(PolarExpress, Tf32, Accurate, Few, [5.5e-2, 6.0e-2, 5.8e-2, 5.5e-2]),
    row(PolarExpress, Tf32, Accurate, Many, [5.3e-3, 4.8e-3, 2.4e-2, 1.7e-2]),
    row(Minimax, Tf32, Accurate, Few, [7.7e-2, 7.1e-2, 1.6e-1, 1.4e-1]),
    row(Minimax, Tf32, Accurate, Many, [1.3e-2, 2.0e-2, 2.0e-2, 2.3e-2]),
    row(Cans, Tf32, Accurate, Few, [4.2e-1, 4.8e-1, 4.9e-1, 4.2e-1]),
    row(Cans, Tf32, Accurate, Many, [9.4e-3, 2.1e-2, 8.3e-2, 1.1e-2]),
    row(Fitted, Tf32, Accurate, Few, [5.4e-3, 5.4e-3, 5.4e-3, 7.0e-3]),
    row(Fitted, Tf32, Accurate, Many, [1.6e-3, 7.2e-4, 1.1e-3, 2.6e-3]),
    row(Coupled, Tf32, Accurate, Few, [5.1e-3, 2.3e-2, 9.9e-3, 8.0e-3]),
    row(Coupled, Tf32, Accurate, Many, [2.4e-3, 4.0e-2, 3.4e-3, 5.7e-3]),
    row(Identity, Tf32, Accurate, Few, [8.7e-8, 1.2e-7, 1.1e-7, 9.3e-8]),
    row(Identity, Tf32, Accurate, Many, [1.1e-7, 1.1e-7, 1.1e-7, 1.3e-7]),
    row(Flat, F16, Accurate, Few, [8.8e-4, 6.3e-4, 4.4e-4, 8.8e-4]),
    row(Flat, F16, Accurate, Many, [3.8e-4, 3.0e-4, 2.7e-4, 3.4e-4]),
    row(Odd, F16, Accurate, Few, [8.8e-3, 8.5e-3, 8.4e-3, 8.8e-3]),
    row(Odd, F16, Accurate, Many, [3.9e-3, 3.0e-3, 1.5e-3, 2.9e-3]),
    row(PolarExpress, F16, Accurate, Few, [5.5e-2, 6.0e-2, 5.8e-2, 5.5e-2]),
    row(PolarExpress, F16, Accurate, Many, [5.3e-3, 4.8e-3, 2.4e-2, 1.7e-2]),
    row(Minimax, F16, Accurate, Few, [7.7e-2, 7.1e-2, 1.6e-1, 1.4e-1]),
    row(Minimax, F16, Accurate, Many, [1.3e-2, 2.0e-2, 2.0e-2, 2.3e-2]),
    row(Cans, F16, Accurate, Few, [4.2e-1, 4.8e-1, 4.9e-1, 4.2e-1]),
    row(Cans, F16, Accurate, Many, [9.4e-3, 2.1e-2, 8.3e-2, 1.1e-2]),
    row(Fitted, F16, Accurate, Few, [5.4e-3, 5.4e-3, 5.4e-3, 7.0e-3]),
    row(Fitted, F16, Accurate, Many, [1.6e-3, 7.2e-4, 1.1e-3, 2.6e-3]),
    row(Coupled, F16, Accurate, Few, [5.1e-3, 2.3e-2, 9.9e-3, 8.0e-3]),
    row(Coupled, F16, Accurate, Many, [2.4e-3, 4.0e-2, 3.4e-3, 5.8e-3]),
    row(Identity, F16, Accurate, Few, [8.7e-8, 1.2e-7, 1.1e-7, 9.3e-8]),
    row(Identity, F16, Accurate, Many, [1.1e-7, 1.1e-7, 1.1e-7, 1.3e-7]),
    row(Flat, Bf16, Accurate, Few, [7.7e-3, 5.4e-3, 4.1e-3, 7.7e-3]),
    row(Flat, Bf16, Accurate, Many, [3.4e-3, 2.4e-3, 1.3e-3, 3.1e-3]),
    row(Odd, Bf16, Accurate, Few, [8.6e-2, 9.3e-2, 9.3e-2, 8.6e-2]),
    row(Odd, Bf16, Accurate, Many, [3.4e-2, 2.0e-2, 2.0e-2, 3.2e-2]),
    row(PolarExpress, Bf16, Accurate, Few, [1.5e-1, 1.2e-1, 1.6e-1, 1.6e-1]),
    row(PolarExpress, Bf16, Accurate, Many, [4.1e-2, 4.5e-2, 1.6e-1, 6.4e-2]),
    row(Minimax, Bf16, Accurate, Few, [4.3e-1, 3.2e-1, 3.1e-1, 4.2e-1]),
    row(Minimax, Bf16, Accurate, Many, [1.4e-1, 1.5e-1, 1.9e-1, 6.8e-2]),
    row(Cans, Bf16, Accurate, Few, [2.1e0, 2.1e0, 2.1e0, 2.1e0]),
    row(Cans, Bf16, Accurate, Many, [1.7e-1, 2.3e-1, 1.2e0, 3.9e-1]),
    row(Fitted, Bf16, Accurate, Few, [2.5e-2, 2.3e-2, 2.7e-2, 5.4e-2]),
    row(Fitted, Bf16, Accurate, Many, [1.4e-2, 8.3e-3, 1.1e-2, 1.9e-2]),
    row(Coupled, Bf16, Accurate, Few, [4.7e-2, 2.5e-1, 7.9e-2, 4.7e-2]),
    row(Coupled, Bf16, Accurate, Many, [2.6e-2, 2.7e-1, 4.2e-2, 6.0e-2]),
    row(Identity, Bf16, Accurate, Few, [8.7e-8, 1.2e-7, 1.1e-7, 9.3e-8]),
    row(Identity, Bf16, Accurate, Many, [1.1e-7, 1.1e-7, 1.1e-7, 1.3e-7]),
];
