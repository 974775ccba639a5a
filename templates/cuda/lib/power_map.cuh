#pragma once
// 0 < p < 1: U S^p V^T by recurrences in two matrices (arXiv 2606.13867), on the same tile operations.
#include "newton_schulz.cuh"

namespace himuon {

template <class Kernel>
struct PowerMap : NewtonSchulz<Kernel> {
  using Base = NewtonSchulz<Kernel>;
  using typename Base::Kept;
  using typename Base::Operation;
  using typename Base::Rows;
  using Site = typename Base::Site;
  static constexpr int ROW_BLOCKS = Base::ROW_BLOCKS;
  static constexpr int COLUMN_BLOCKS = Base::COLUMN_BLOCKS;

  __device__ __forceinline__ PowerMap(const Site& site) : Base(site) {}

  // result = alpha y + beta x
  static __device__ __forceinline__ void combine_rows(Rows& result, float alpha, const Rows& y, float beta, const Rows& x) {
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++)
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            result[m][n].value[c][i] = __fmaf_rn(alpha, y[m][n].value[c][i], beta * x[m][n].value[c][i]);
  }

  // alpha y + beta x as the operand in shared memory.
  __device__ __forceinline__ void publish_combined(float alpha, const Rows& y, float beta, const Rows& x) {
    Site::barrier();  // what was there has been read by all
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++) {
        Accumulator sum;
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
          for (int i = 0; i < 4; i++)
            sum.value[c][i] = __fmaf_rn(alpha, y[m][n].value[c][i], beta * x[m][n].value[c][i]);
        this->x_tile.store(this->site.first_strip + m, n, pack<typename Base::Operand>(sum));
      }
    Site::barrier();
  }

  // target += A B, B the published operand.
  __device__ __forceinline__ void add_product(Rows& target, const Kept& kept) const {
#pragma unroll
    for (int q = 0; q < Base::STRIPS; q++) {
      Operation left[ROW_BLOCKS];
#pragma unroll
      for (int m = 0; m < ROW_BLOCKS; m++) left[m] = this->gram_row(kept, m, q);
      this->apply(target, q, left, [](int) { return true; });
    }
  }

  // Y <- a Y + d X + A (b Y + e X), A = Y Y^T. With RESCALE, X is divided by nu = ||X X^T||_F^(1/2) after the
  // first Gram matrix, which moves the singular values into the interval of the fit; returns nu.
  __device__ __forceinline__ float fitted(Rows& y) {
    Rows x;
    combine_rows(x, 1.0f, y, 0.0f, y);
    float nu = 1.0f;
#pragma unroll 1
    for (int index = 0; index < Kernel::STEPS; index++) {
      this->publish(y, 0);
      Kept kept;
      float squares = 0.0f;
      this->gram(y, kept, squares);
      float factor = 1.0f;
      if (Kernel::RESCALE && index == 0) {
        const float square = square_root(this->site.sum(squares, 4));  // nu^2
        nu = square_root(square);
        factor = square > 0.0f ? 1.0f / square : 0.0f;
        const float inverse = nu > 0.0f ? 1.0f / nu : 0.0f;
        combine_rows(x, inverse, x, 0.0f, x);
        combine_rows(y, inverse, y, 0.0f, y);
      }
      const float a = Kernel::coefficient(index, 0), b = Kernel::coefficient(index, 1);
      const float d = Kernel::coefficient(index, 2), e = Kernel::coefficient(index, 3);
      publish_combined(factor * b, y, factor * e, x);
      combine_rows(y, a, y, d, x);
      add_product(y, kept);
    }
    return nu;
  }

  // Q = a I - b Y Y^T; Z <- Q^n Z; Y <- Q^m Y except at the last step. Leaves Z.
  __device__ __forceinline__ void coupled(Rows& z) {
    Rows y;
    combine_rows(y, 1.0f, z, 0.0f, z);
#pragma unroll 1
    for (int index = 0; index < Kernel::STEPS; index++) {
      this->publish(y, 0);
      Kept kept;
      float squares = 0.0f;
      this->gram(y, kept, squares);
      const float a = Kernel::coefficient(index, 0), b = Kernel::coefficient(index, 1);
#pragma unroll 1
      for (int i = 0; i < Kernel::COUPLED_N; i++) multiply_by_q(z, kept, a, b);
      if (index + 1 == Kernel::STEPS) break;
#pragma unroll 1
      for (int i = 0; i < Kernel::COUPLED_M; i++) multiply_by_q(y, kept, a, b);
    }
  }

  __device__ __forceinline__ void multiply_by_q(Rows& rows, const Kept& kept, float a, float b) {
    publish_combined(-b, rows, 0.0f, rows);
    combine_rows(rows, a, rows, 0.0f, rows);
    add_product(rows, kept);
  }
};

// The map of the kernel's recurrence on X with ||X||_F = 1. False: the criterion does not hold, and x is as it
// was. Returns in `factor` what the result is to be multiplied by.
template <class Kernel>
HIMUON_DEVICE bool map_rows(const Resident<Kernel>& site, typename NewtonSchulz<Kernel>::Rows& x, u32 rank, float& factor) {
  factor = Kernel::OUTPUT_SCALE;
  if constexpr (Kernel::RECURRENCE == RECURRENCE_ODD) {
    NewtonSchulz<Kernel> map(site);
    return map.iterate(x, rank);
  } else if constexpr (Kernel::RECURRENCE == RECURRENCE_FITTED) {
    PowerMap<Kernel> map(site);
    const float nu = map.fitted(x);
    if (Kernel::RESCALE) factor = nu > 0.0f ? powf(nu, Kernel::POWER) : 0.0f;
  } else if constexpr (Kernel::RECURRENCE == RECURRENCE_COUPLED) {
    PowerMap<Kernel> map(site);
    map.coupled(x);
  }
  return true;
}

}  // namespace himuon
