#pragma once
// The start of a step: momentum, the check for NaN and infinity, the norm.
#include "fragment.cuh"
#include "number.cuh"

namespace himuon {

template <class Kernel>
struct Prologue {
  using Site = Resident<Kernel>;
  using Access = Fragment<Kernel>;
  using Gradient = typename Kernel::Gradient;
  using Momentum = typename Kernel::Momentum;
  using Rows = Accumulator[Site::ROW_BLOCKS][Site::COLUMN_BLOCKS];

  // buf <- mu buf + c g, m <- alpha g + beta buf before buf is rounded to its own type.
  HIMUON_DEVICE void momentum_quad(const Group& group, const Quad<Gradient>& gradient, Quad<Momentum>& buffer,
                                   float (&m)[4]) {
    float g[4], b[4];
    decode(gradient, g);
    decode(buffer, b);
#pragma unroll
    for (int e = 0; e < 4; e++) b[e] = next_momentum(group, g[e], b[e]);
#pragma unroll
    for (int e = 0; e < 4; e++) m[e] = update_direction(group, g[e], b[e]);
    buffer = encode<Momentum>(b);
  }

  // m from the gradient and the momentum that a step has already written: a 16-bit buffer's rounding is in it.
  HIMUON_DEVICE void update_quad(const Group& group, const Quad<Gradient>& gradient,
                                 const Quad<Momentum>& buffer, float (&m)[4]) {
    float g[4], b[4];
    decode(gradient, g);
    decode(buffer, b);
#pragma unroll
    for (int e = 0; e < 4; e++) m[e] = update_direction(group, g[e], b[e]);
  }

  // Divides X by its norm. `largest`: the largest magnitude in the tile, as bits.
  static __device__ __forceinline__ Norm normalise(const Site& site, Rows& x, u32 largest, int use) {
    Norm norm;
    norm.power = power_below(largest);
    const float down = reciprocal_of_power(norm.power);
    float sum = 0.0f;
#pragma unroll
    for (int m = 0; m < Site::ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < Site::COLUMN_BLOCKS; n++)
#pragma unroll
        for (int c = 0; c < 2; c++)
#pragma unroll
          for (int i = 0; i < 4; i++) {
            float& value = x[m][n].value[c][i];
            value *= down;
            sum = __fmaf_rn(value, value, sum);
          }
    norm.root = square_root(site.sum(sum, use));
    const float divisor = Kernel::REFERENCE ? norm.root + 1e-7f * down : norm.root;
    const float inverse = divisor > 0.0f ? 1.0f / divisor : 0.0f;
#pragma unroll
    for (int m = 0; m < Site::ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < Site::COLUMN_BLOCKS; n++) scale(x[m][n], inverse);
    return norm;
  }

  HIMUON_DEVICE void round_to_bf16(float (&value)[4]) {
    const Quad<Bf16> rounded = encode<Bf16>(value);
    decode(rounded, value);
  }
  // The rounding points of the published code: what is stored is bfloat16.
  HIMUON_DEVICE void round_rows(Rows& x) {
#pragma unroll
    for (int m = 0; m < Site::ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < Site::COLUMN_BLOCKS; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) round_to_bf16(x[m][n].value[c]);
  }
};

}  // namespace himuon
