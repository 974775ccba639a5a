#pragma once
// Products with a rank x rank matrix by one thread block, in f32.
#include "coupling_table.cuh"

namespace himuon {

// Calls use(i, j) for every place of a rows x columns matrix, a row by a warp.
template <class Use>
HIMUON_DEVICE void each_place(u32 rows, u32 columns, Use use) {
  for (u32 i = threadIdx.x >> 5; i < rows; i += COUPLING_THREADS / 32u)
    for (u32 j = threadIdx.x & 31u; j < columns; j += 32u) use(i, j);
}

// output <- finish(row, column, sum of left[row][k] small[k][column]), for four neighbours at a time; all have `stride` numbers
// a row, and the output is another matrix. A thread computes four rows and four columns.
template <class Finish>
HIMUON_DEVICE void small_product(const float* left, const float* small, float* output, u32 rows, u32 rank, u32 stride,
                                 Finish finish) {
  const u32 across = stride / 4u, blocks = (rows + 3u) / 4u * across;
  for (u32 block = threadIdx.x; block < blocks; block += COUPLING_THREADS) {
    const u32 row = 4u * (block / across), column = 4u * (block % across);
    float sums[4][4] = {};
#pragma unroll 2
    for (u32 k = 0; k < rank; k++) {
      const float4 r = *reinterpret_cast<const float4*>(small + k * stride + column);
      const float values[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
      for (u32 i = 0; i < 4u; i++) {
        const float l = row + i < rows ? left[u64(row + i) * stride + k] : 0.0f;
#pragma unroll
        for (u32 j = 0; j < 4u; j++) sums[i][j] = __fmaf_rn(l, values[j], sums[i][j]);
      }
    }
#pragma unroll
    for (u32 i = 0; i < 4u; i++) {
      if (row + i >= rows) continue;
      float* place = output + u64(row + i) * stride + column;
#pragma unroll
      for (u32 j = 0; j < 4u; j++) sums[i][j] = finish(row + i, column + j, sums[i][j]);
      *reinterpret_cast<float4*>(place) = make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
    }
  }
  __syncthreads();
}

HIMUON_DEVICE void small_product(const float* left, const float* small, float* output, u32 rows, u32 rank, u32 stride) {
  small_product(left, small, output, rows, rank, stride, [](u32, u32, float sum) { return sum; });
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
