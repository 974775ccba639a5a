#pragma once
// Operands of the matrix products: 16 x 16 blocks spread over the 32 lanes of a warp.
//
// Lane 4 g + t (g = 0..7, t = 0..3) of a block holds, in `pair[column half][row half]`, the two
// neighbours (row 8 r + g, columns 8 c + 2 t and 8 c + 2 t + 1). This is the layout in which the
// tensor cores return an accumulator, take a left operand and take the transpose of a right operand,
// so that a result becomes either operand of the next product without leaving its registers.
#include "instruction.cuh"

namespace himuon {

// 16 x 16 sums: value[column half][2 * row half + column of the pair].
struct Accumulator {
  float value[2][4];
};

HIMUON_DEVICE void clear(Accumulator& acc) {
#pragma unroll
  for (int c = 0; c < 2; c++)
#pragma unroll
    for (int i = 0; i < 4; i++) acc.value[c][i] = 0.0f;
}
HIMUON_DEVICE void scale(Accumulator& acc, float factor) {
#pragma unroll
  for (int c = 0; c < 2; c++)
#pragma unroll
    for (int i = 0; i < 4; i++) acc.value[c][i] *= factor;
}

#if __CUDA_ARCH__ >= 800
struct OperandBf16 {
  using Pair = u32;
  static constexpr int BYTES = 2;
  HIMUON_DEVICE Pair pack(float low, float high) { return pack_bf16(low, high); }
  HIMUON_DEVICE float low(Pair pair) { return low_bf16(pair); }
  HIMUON_DEVICE float high(Pair pair) { return high_bf16(pair); }
  HIMUON_DEVICE void multiply(float (&acc)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
    mma_bf16(acc, a0, a1, a2, a3, b0, b1);
  }
};
#endif

struct OperandF16 {
  using Pair = u32;
  static constexpr int BYTES = 2;
  HIMUON_DEVICE Pair pack(float low, float high) { return pack_f16(low, high); }
  HIMUON_DEVICE float low(Pair pair) { return low_f16(pair); }
  HIMUON_DEVICE float high(Pair pair) { return high_f16(pair); }
  HIMUON_DEVICE void multiply(float (&acc)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
    mma_f16(acc, a0, a1, a2, a3, b0, b1);
  }
};

#if __CUDA_ARCH__ >= 800
struct WidePair {
  u32 first, second;
};

// One TF32 term. The k index of the products is permuted (2 t and 2 t + 1 for t and t + 4), alike in
// both operands, so that pairs of neighbours serve as they are.
struct OperandTf32 {
  using Pair = WidePair;
  static constexpr int BYTES = 4;
  HIMUON_DEVICE Pair pack(float low, float high) { return {round_tf32(low), round_tf32(high)}; }
  HIMUON_DEVICE float low(Pair pair) { return float_of(pair.first); }
  HIMUON_DEVICE float high(Pair pair) { return float_of(pair.second); }
  HIMUON_DEVICE void multiply(float (&acc)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
    mma_tf32(acc, a0.first, a1.first, a0.second, a1.second, b0.first, b0.second);
    mma_tf32(acc, a2.first, a3.first, a2.second, a3.second, b1.first, b1.second);
  }
};

// Full f32 by three TF32 terms: x = high + low, and high high + high low + low high.
//
// Tensor cores cut off what lies below an accumulator's last places, so that a long sum drifts towards zero. Hence 16 columns are
// summed from zero, and added to the sum so far in f32, rounded to nearest (Ootomo, Yokota, arXiv 2203.03341).
struct OperandF32 {
  using Pair = WidePair;
  static constexpr int BYTES = 4;
  HIMUON_DEVICE Pair pack(float low, float high) { return {bits_of(low), bits_of(high)}; }
  HIMUON_DEVICE float low(Pair pair) { return float_of(pair.first); }
  HIMUON_DEVICE float high(Pair pair) { return float_of(pair.second); }
  HIMUON_DEVICE u32 upper(u32 word) { return round_tf32(float_of(word)); }
  HIMUON_DEVICE u32 rest(u32 word) { return round_tf32(float_of(word) - float_of(upper(word))); }
  HIMUON_DEVICE void multiply8(float (&acc)[4], Pair a0, Pair a1, Pair b) {
    const u32 h0 = upper(a0.first), h1 = upper(a1.first), h2 = upper(a0.second), h3 = upper(a1.second);
    const u32 g0 = upper(b.first), g1 = upper(b.second);
    mma_tf32(acc, rest(a0.first), rest(a1.first), rest(a0.second), rest(a1.second), g0, g1);
    mma_tf32(acc, h0, h1, h2, h3, rest(b.first), rest(b.second));
    mma_tf32(acc, h0, h1, h2, h3, g0, g1);
  }
  HIMUON_DEVICE void multiply(float (&acc)[4], Pair a0, Pair a1, Pair a2, Pair a3, Pair b0, Pair b1) {
    float columns[4] = {};
    multiply8(columns, a0, a1, b0);
    multiply8(columns, a2, a3, b1);
#pragma unroll
    for (int i = 0; i < 4; i++) acc[i] += columns[i];
  }
};
#endif

// A 16 x 16 operand.
template <class Operand>
struct Block {
  typename Operand::Pair pair[2][2];
};

template <class Operand>
HIMUON_DEVICE Block<Operand> pack(const Accumulator& acc) {
  Block<Operand> block;
#pragma unroll
  for (int c = 0; c < 2; c++)
#pragma unroll
    for (int r = 0; r < 2; r++)
      block.pair[c][r] = Operand::pack(acc.value[c][2 * r], acc.value[c][2 * r + 1]);
  return block;
}

template <class Operand>
HIMUON_DEVICE Accumulator unpack(const Block<Operand>& block) {
  Accumulator acc;
#pragma unroll
  for (int c = 0; c < 2; c++)
#pragma unroll
    for (int r = 0; r < 2; r++) {
      acc.value[c][2 * r] = Operand::low(block.pair[c][r]);
      acc.value[c][2 * r + 1] = Operand::high(block.pair[c][r]);
    }
  return acc;
}

// acc += a b^T.
template <class Operand>
HIMUON_DEVICE void multiply_add(Accumulator& acc, const Block<Operand>& a, const Block<Operand>& b) {
#pragma unroll
  for (int n = 0; n < 2; n++)
    Operand::multiply(acc.value[n], a.pair[0][0], a.pair[0][1], a.pair[1][0], a.pair[1][1],
                      b.pair[0][n], b.pair[1][n]);
}

}  // namespace himuon
