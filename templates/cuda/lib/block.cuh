#pragma once
// Work shared by the threads of a block. Reductions have a fixed order: the same bits on every run.
#include "instruction.cuh"

namespace himuon {

// Combines one number of every thread of the block; every thread gets the result.
template <class Combine>
HIMUON_DEVICE float over_block(float value, Combine combine) {
  __shared__ float parts[32];
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) value = combine(value, shuffle_xor(value, mask));
  __syncthreads();  // the previous use has been read
  if (threadIdx.x % 32u == 0u) parts[threadIdx.x / 32u] = value;
  __syncthreads();
  value = parts[0];
  for (u32 warp = 1; warp < blockDim.x / 32u; warp++) value = combine(value, parts[warp]);
  return value;
}
HIMUON_DEVICE float sum_over_block(float value) {
  return over_block(value, [](float a, float b) { return a + b; });
}
HIMUON_DEVICE float largest_over_block(float value) {
  return over_block(value, [](float a, float b) { return a > b ? a : b; });
}

}  // namespace himuon
