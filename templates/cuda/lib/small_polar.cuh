#pragma once
// The polar factor of a rank x rank matrix by one thread block, whatever steps the tiles take.
//
// In f64: a step maps some singular values of usual size to the smallest there are, which rounding to f32 would turn.
#include "orthonormal.cuh"

namespace himuon {

// Two rank x stride matrices in f32.
struct Smalls {
  float* x;       // what is mapped, as it is; before that, scratch of `orthonormalise`
  float* mapped;  // its polar factor
  HIMUON_DEVICE Smalls of(const Coupled& matrix) { return {matrix.small, matrix.small + matrix.rank * matrix.stride}; }
};

// output[i][j] <- finish(i, j, sum of left[i][k] right[k][j]), all rank x rank; the output is another matrix.
template <class Finish>
HIMUON_DEVICE void square_product(const double* left, const double* right, double* output, u32 rank, Finish finish) {
  const u32 across = (rank + 1u) / 2u;
  for (u32 block = threadIdx.x; block < across * across; block += COUPLING_THREADS) {
    const u32 i = 2u * (block / across), j = 2u * (block % across);
    const u32 below = i + 1u < rank ? i + 1u : i, beside = j + 1u < rank ? j + 1u : j;
    double sums[2][2] = {};
#pragma unroll 4
    for (u32 k = 0; k < rank; k++) {
      const double l0 = left[i * rank + k], l1 = left[below * rank + k];
      const double r0 = right[k * rank + j], r1 = right[k * rank + beside];
      sums[0][0] += l0 * r0;
      sums[0][1] += l0 * r1;
      sums[1][0] += l1 * r0;
      sums[1][1] += l1 * r1;
    }
#pragma unroll
    for (u32 n = 0; n < 4u; n++) {
      const u32 row = i + n / 2u, column = j + n % 2u;
      if (row < rank && column < rank) output[row * rank + column] = finish(row, column, sums[n / 2u][n % 2u]);
    }
  }
  __syncthreads();
}

// The polar factor of R^T, or of R, with R in the factors and ||R||_F = norm > 0, to `mapped`. R is lost.
template <class Kernel>
HIMUON_DEVICE void small_polar(const Factors& factors, const Smalls& smalls, bool transposed, double norm, u32 rank, u32 stride) {
  const double* given = factors.factor;
  double *now = factors.gram, *next = factors.inverse, *gram = factors.spare, *turned = factors.factor;
  for (u32 number = threadIdx.x; number < rank * rank; number += COUPLING_THREADS) {
    const u32 i = number / rank, j = number % rank;
    now[number] = given[transposed ? j * rank + i : number] / norm;
  }
  __syncthreads();
  for (int step = 0; step < Kernel::POLAR_STEPS; step++) {
    const double a = Kernel::coefficient(step, 0), b = Kernel::coefficient(step, 1), c = Kernel::coefficient(step, 2);
    const double *x = now, *squares = gram;
    for (u32 number = threadIdx.x; number < rank * rank; number += COUPLING_THREADS)
      turned[number] = x[number % rank * rank + number / rank];
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
