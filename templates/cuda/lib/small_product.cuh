#pragma once
// What one thread block does with rank x rank matrices.
#include "coupling_table.cuh"

namespace himuon {

// Calls use(i, j) for every place of a rows x columns matrix, a row by a warp.
template <class Use>
HIMUON_DEVICE void each_place(u32 rows, u32 columns, Use use) {
  for (u32 i = threadIdx.x >> 5; i < rows; i += COUPLING_THREADS / 32u)
    for (u32 j = threadIdx.x & 31u; j < columns; j += 32u) use(i, j);
}

// small[i][j] <- element(i, j) within the rank, zeros beyond its columns.
template <class Element>
HIMUON_DEVICE void fill_small(float* small, u32 rank, u32 stride, Element element) {
  each_place(rank, stride, [&](u32 i, u32 j) { small[i * stride + j] = j < rank ? element(i, j) : 0.0f; });
  __syncthreads();
}

// The sum of a number of each thread of the block, in a fixed order.
HIMUON_DEVICE double block_sum(double value) {
  __shared__ double parts[COUPLING_THREADS];
  __syncthreads();
  parts[threadIdx.x] = value;
  __syncthreads();
  for (u32 half = COUPLING_THREADS / 2u; half > 0u; half /= 2u) {
    if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    __syncthreads();
  }
  return parts[0];
}

}  // namespace himuon
