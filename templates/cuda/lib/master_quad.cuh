#pragma once
// Master weights, four at a time.
#include "element.cuh"
#include "master_weight.cuh"

namespace himuon {

HIMUON_DEVICE void join_masters(const Quad<Bf16>& weights, const Quad<Bf16>& remainders, float (&masters)[4]) {
#pragma unroll
  for (int i = 0; i < 2; i++) {
    masters[2 * i] = master_of(weights.word[i] & 0xffffu, remainders.word[i]);
    masters[2 * i + 1] = master_of(weights.word[i] >> 16, remainders.word[i] >> 16);
  }
}
HIMUON_DEVICE void split_masters(const float (&masters)[4], Quad<Bf16>& weights, Quad<Bf16>& remainders) {
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const u32 low = master_bits(masters[2 * i]), high = master_bits(masters[2 * i + 1]);
    weights.word[i] = rounded_half(low) | (rounded_half(high) << 16);
    remainders.word[i] = (low & 0xffffu) | (high << 16);
  }
}

}  // namespace himuon
