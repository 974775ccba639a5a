#pragma once
// Recurrences in two variables: U S^p V^T, 0 < p < 1. Each leaves its result in `x`.
#include "tile.cuh"

namespace himuon {

// Two products a step: Y <- aY + dX + A (bY + eX), A = Y Y^T, on X / nu, nu = ||X X^T||_F^(1/2).
template <class Kernel>
struct Fitted {
  Work<Kernel>& work;
  float nu;

  __device__ __forceinline__ explicit Fitted(Work<Kernel>& work) : work(work) {
    work.multiply_transposed(work.x);
    nu = square_root(square_root(sum(work.square(), [&](u64 i) { return work.gram[i] * work.gram[i]; })));
    const float inverse = nu > 0.0f ? 1.0f / nu : 0.0f;
    each(work.size(), [&](u64 i) { work.y[i] = work.x[i] = work.x[i] * inverse; });
  }

  __device__ __forceinline__ void step(float a, float b, float d, float e) {
    work.multiply_transposed(work.y);
    each(work.size(), [&](u64 i) { work.mix[i] = __fmaf_rn(b, work.y[i], e * work.x[i]); });
    each(work.size(), [&](u64 i) {
      work.next[i] = __fmaf_rn(a, work.y[i], __fmaf_rn(d, work.x[i], work.product(work.gram, work.mix, i)));
    });
    swap(work.y, work.next);
  }

  __device__ __forceinline__ void finish(float power) {
    const float factor = nu > 0.0f ? powf(nu, power) : 0.0f;
    each(work.size(), [&](u64 i) { work.x[i] = work.y[i] * factor; });
  }
};

// Q = aI - b Y Y^T; X <- Q^n X; Y <- Q^m Y, from Y = X; p = 1 - n/m.
template <class Kernel>
struct Coupled {
  Work<Kernel>& work;

  __device__ __forceinline__ explicit Coupled(Work<Kernel>& work) : work(work) {
    each(work.size(), [&](u64 i) { work.y[i] = work.x[i]; });
  }

  __device__ __forceinline__ void step(float a, float b, u32 n, u32 m) {
    work.multiply_transposed(work.y);
    each(work.square(), [&](u64 index) {
      const float diagonal = index / work.rows == index % work.rows ? a : 0.0f;
      work.gram[index] = __fmaf_rn(-b, work.gram[index], diagonal);
    });
    for (u32 turn = 0; turn < n; turn++) multiply(work.x);
    for (u32 turn = 0; turn < m; turn++) multiply(work.y);
  }

 private:
  __device__ __forceinline__ void multiply(float*& matrix) {
    each(work.size(), [&](u64 i) { work.next[i] = work.product(work.gram, matrix, i); });
    swap(matrix, work.next);
  }
};

// The published p = 1/3 form: Y <- Y - c (Y Y^T Y - X), from Y = X (arXiv 2606.13867).
template <class Kernel>
struct Authors {
  Work<Kernel>& work;

  __device__ __forceinline__ explicit Authors(Work<Kernel>& work) : work(work) {
    each(work.size(), [&](u64 i) { work.y[i] = work.x[i]; });
  }

  __device__ __forceinline__ void step(float damping) {
    work.multiply_transposed(work.y);
    each(work.size(), [&](u64 i) {
      const float cube = work.product(work.gram, work.y, i);
      work.next[i] = __fmaf_rn(-damping, cube - work.x[i], work.y[i]);
    });
    swap(work.y, work.next);
  }

  __device__ __forceinline__ void finish() {
    each(work.size(), [&](u64 i) { work.x[i] = work.y[i]; });
  }
};

}  // namespace himuon
