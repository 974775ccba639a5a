#pragma once
// The polar factor of a rank x rank matrix by one thread block, whatever steps the tiles take.
//
// In f64: a step maps some singular values of usual size to the smallest there are, which rounding to f32 would turn.
#include "orthonormal.cuh"

namespace himuon {

// output[i][j] <- finish(i, j, sum of left[i][k] right[k][j]), all rank x rank; the output is another matrix. A warp computes four
// rows, a lane every 32nd column of them.
template <class Finish>
HIMUON_DEVICE void square_product(const double* left, const double* right, double* output, u32 rank, Finish finish) {
  for (u32 first = 4u * (threadIdx.x >> 5); first < rank; first += COUPLING_THREADS / 8u)
    for (u32 j = threadIdx.x & 31u; j < rank; j += 32u) {
      const double* rows[4];
#pragma unroll
      for (u32 i = 0; i < 4u; i++) rows[i] = left + (first + i < rank ? first + i : rank - 1u) * rank;
      double sums[4] = {};
#pragma unroll 4
      for (u32 k = 0; k < rank; k++) {
        const double r = right[k * rank + j];
#pragma unroll
        for (u32 i = 0; i < 4u; i++) sums[i] += rows[i][k] * r;
      }
#pragma unroll
      for (u32 i = 0; i < 4u; i++)
        if (first + i < rank) output[(first + i) * rank + j] = finish(first + i, j, sums[i]);
    }
  __syncthreads();
}

// The polar factor of R^T, or of R, with R in the factors and ||R||_F = norm > 0, to `mapped`. R is lost.
template <class Kernel>
HIMUON_DEVICE void small_polar(const Factors& factors, const Smalls& smalls, bool transposed, double norm, u32 rank, u32 stride) {
  const double* given = factors.factor;
  double *now = factors.gram, *next = factors.inverse, *gram = factors.spare, *turned = factors.turned;
  each_place(rank, rank, [=](u32 i, u32 j) { now[i * rank + j] = given[transposed ? j * rank + i : i * rank + j] / norm; });
  __syncthreads();
  for (int step = 0; step < Kernel::POLAR_STEPS; step++) {
    const double a = Kernel::coefficient(step, 0), b = Kernel::coefficient(step, 1), c = Kernel::coefficient(step, 2);
    const double *x = now, *squares = gram;
    each_place(rank, rank, [=](u32 i, u32 j) { turned[i * rank + j] = x[j * rank + i]; });
    __syncthreads();
    square_product(x, turned, gram, rank, [](u32, u32, double sum) { return sum; });
    square_product(squares, squares, turned, rank,
                   [=](u32 i, u32 j, double sum) { return c * sum + b * squares[i * rank + j]; });
    square_product(turned, x, next, rank, [=](u32 i, u32 j, double sum) { return a * x[i * rank + j] + sum; });
    double* const former = now;
    now = next;
    next = former;
  }
  const double* found = now;
  fill_small(smalls.mapped, rank, stride, [=](u32 i, u32 j) { return float(found[i * rank + j]); });
}

}  // namespace himuon
