#pragma once
// From a basis to both factors of the coarse part, one thread block a matrix:
// P = orth(M V); B = M^T P; V', R = qr(B); captured = P R^T V'^T, coarse part = P polar(R^T) V'^T.
// Where the basis stands still P, R = qr(M V), captured = P R V^T, coarse part = P polar(R) V^T.
#include "skinny_product.cuh"
#include "small_polar.cuh"

namespace himuon {

// The basis of the step before, with seeds for columns of zeros, goes to `spare_right`.
HIMUON_DEVICE void read_basis(const Coupled& matrix) {
  const u32 across = (matrix.columns - 1u) / matrix.tile_columns + 1u, down = (matrix.rows - 1u) / matrix.tile_rows + 1u;
  for (u32 tile = threadIdx.x; tile < across * down; tile += COUPLING_THREADS) matrix.largest[tile] = 0u;
  if (threadIdx.x == 0u) *matrix.report = CoarseReport{COARSE_CAPTURED, 0.0f, 0.0f, 0u};
  const u32 stride = matrix.stride;
  each_place(matrix.columns, stride, [&](u32 i, u32 j) {
    matrix.spare_right[u64(i) * stride + j] = j < matrix.rank ? matrix.basis[u64(i) * matrix.capacity + j] : 0.0f;
  });
  __syncthreads();
  complete_basis(matrix.spare_right, matrix.right, matrix.small, Factors::of(matrix), matrix.columns, matrix.rank, stride);
}

// P over M V; R in the factors.
HIMUON_DEVICE void left_factor(const Coupled& matrix) {
  const u32 collapsed = orthonormalise(matrix.left, matrix.spare_left, matrix.small, Factors::of(matrix), matrix.rows,
                                       matrix.rank, matrix.stride);
  if (collapsed == NOT_FACTORED && threadIdx.x == 0u) matrix.report->state = COARSE_NON_FINITE;
}

// V' is the next basis; columns beyond the rank are forgotten.
HIMUON_DEVICE void write_basis(const Coupled& matrix) {
  const u32 stride = matrix.stride;
  for (u64 number = threadIdx.x; number < u64(matrix.columns) * stride; number += COUPLING_THREADS)
    matrix.spare_right[number] = matrix.right[number];
  __syncthreads();
  // `fine` is scratch until the remainder is written, and `right` must stay.
  complete_basis(matrix.spare_right, matrix.fine, matrix.small, Factors::of(matrix), matrix.columns, matrix.rank, stride);
  each_place(matrix.columns, matrix.capacity, [&](u32 i, u32 j) {
    matrix.basis[u64(i) * matrix.capacity + j] = j < matrix.rank ? matrix.spare_right[u64(i) * stride + j] : 0.0f;
  });
  __syncthreads();
}

// V', the mapped rank x rank matrix, both left factors, and the next basis.
template <class Kernel>
HIMUON_DEVICE void right_factor(const Coupled& matrix) {
  const u32 rank = matrix.rank, stride = matrix.stride;
  const Factors factors = Factors::of(matrix);
  const Smalls smalls = Smalls::of(matrix);
  const bool refresh = (matrix.flags & COUPLED_REFRESH) != 0u;
  u32 collapsed = 0;
  if (refresh)
    collapsed = orthonormalise(matrix.right, matrix.spare_right, matrix.small, factors, matrix.columns, rank, stride);
  const double* factor = factors.factor;
  double squares = 0.0;
  for (u32 number = threadIdx.x; number < rank * rank; number += COUPLING_THREADS) squares += factor[number] * factor[number];
  const double norm = sqrt(block_sum(squares));
  if (collapsed == NOT_FACTORED || !is_finite(norm) || norm == 0.0) {
    const u32 state = collapsed != NOT_FACTORED && norm == 0.0 ? COARSE_NOTHING : COARSE_NON_FINITE;
    if (threadIdx.x == 0u) matrix.report->state = state;
    return;
  }
  fill_small(smalls.x, rank, stride,
             [=](u32 i, u32 j) { return float(refresh ? factor[j * rank + i] : factor[i * rank + j]); });
  small_polar<Kernel>(factors, smalls, refresh, norm, rank, stride);
  double inner = 0.0;
  for (u32 number = threadIdx.x; number < rank * stride; number += COUPLING_THREADS)
    inner += double(smalls.x[number]) * double(smalls.mapped[number]);
  const double nuclear_norm = block_sum(inner);
  small_product(matrix.left, smalls.x, matrix.captured, matrix.rows, rank, stride);
  small_product(matrix.left, smalls.mapped, matrix.added, matrix.rows, rank, stride);
  if (threadIdx.x == 0u) *matrix.report = CoarseReport{COARSE_CAPTURED, float(norm), float(nuclear_norm), collapsed};
}

// With F the scaled tiles, Q2 = F V' and Q1 = F^T P, what of F lies outside of both spans is F - P Q1^T - (Q2 - P P^T Q2) V'^T. So
// the update is F + Z V'^T - P Q1^T with Z = P (scale S + P^T Q2) - Q2. Q2 is in `spare_left`, Z goes to `added`.
HIMUON_DEVICE void correct_fine(const Coupled& matrix, float scale) {
  const u32 rank = matrix.rank, stride = matrix.stride;
  const Factors factors = Factors::of(matrix);
  const Smalls smalls = Smalls::of(matrix);
  inner_products<false>(matrix.left, matrix.spare_left, matrix.rows, rank, stride, factors.gram);
  const double* across = factors.gram;
  fill_small(smalls.x, rank, stride, [=](u32 i, u32 j) { return float(across[i * rank + j]); });
  const float *added = matrix.added, *inner = matrix.spare_left;
  // Each thread replaces the numbers of P S that it reads.
  small_product(matrix.left, smalls.x, matrix.added, matrix.rows, rank, stride, [=](u32 i, u32 j, float sum) {
    const u64 place = u64(i) * stride + j;
    return __fmaf_rn(scale, added[place], sum) - inner[place];
  });
}

}  // namespace himuon
