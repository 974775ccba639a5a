#pragma once
// The polar factor of a rank x rank matrix by one thread block, to f32 accuracy, whatever steps the tiles take.
#include "small_product.cuh"

namespace himuon {

// Five rank x stride matrices.
struct Smalls {
  float* x;          // what is mapped, as it is
  float* iterate[2];
  float* gram;       // X X^T, then b A + c A^2
  float* turned;     // X^T, then A^2
  HIMUON_DEVICE Smalls of(const Coupled& matrix) {
    const u32 size = matrix.rank * matrix.stride;
    float* first = matrix.small;
    return {first, {first + size, first + 2u * size}, first + 3u * size, first + 4u * size};
  }
};

// The polar factor of x / norm, ||x||_F = norm > 0; returns where it is.
template <class Kernel>
HIMUON_DEVICE const float* small_polar(const Smalls& smalls, double norm, u32 rank, u32 stride) {
  const float* x = smalls.x;
  // A norm slightly below 1: rounding must not lift a singular value above it, where the first steps are steep.
  const double inverse = (1.0 - 1e-6) / norm;
  fill_small(smalls.iterate[0], rank, stride, [=](u32 i, u32 j) { return float(inverse * double(x[i * stride + j])); });
  u32 now = 0;
  for (int step = 0; step < Kernel::POLAR_STEPS; step++) {
    const float a = Kernel::coefficient(step, 0), b = Kernel::coefficient(step, 1), c = Kernel::coefficient(step, 2);
    const float* from = smalls.iterate[now];
    const float* gram = smalls.gram;
    fill_small(smalls.turned, rank, stride, [=](u32 i, u32 j) { return from[j * stride + i]; });
    small_product(from, smalls.turned, smalls.gram, rank, rank, stride);
    small_product(gram, gram, smalls.turned, rank, rank, stride,
                  [=](u32 i, u32 j, float sum) { return __fmaf_rn(c, sum, b * gram[i * stride + j]); });
    small_product(smalls.turned, from, smalls.iterate[1u - now], rank, rank, stride,
                  [=](u32 i, u32 j, float sum) { return __fmaf_rn(a, from[i * stride + j], sum); });
    now = 1u - now;
  }
  return smalls.iterate[now];
}

}  // namespace himuon
