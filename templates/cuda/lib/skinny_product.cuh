#pragma once
// Products of a large matrix with one of a few columns, in f32: M V by blocks of rows, M^T P by blocks of columns. M is made
// from gradient and momentum on the fly, or a factor, which is multiplied with a rank x rank matrix.
//
// A thread block computes 64 rows and 32 columns of the result, a thread two rows and four columns of them. Every number
// is one chain of fused multiply-adds in ascending order.
#include "coupling_table.cuh"

namespace himuon {

static constexpr u32 SKINNY_ROWS = 64u;
static constexpr u32 SKINNY_COLUMNS = 32u;
static constexpr u32 SKINNY_DEPTH = 32u;

// M, from gradient and momentum as they are before the step.
template <class Kernel>
struct MomentumSource {
  const Coupled& matrix;
  const Group group;

  __device__ __forceinline__ u32 rows() const { return matrix.rows; }
  __device__ __forceinline__ u32 columns() const { return matrix.columns; }
  // Four neighbours of a row; zeros for those beyond the matrix.
  __device__ __forceinline__ void values(u32 row, u32 column, float (&m)[4]) const {
    const u32 wanted = inside_bits(matrix, row, column);
    using Gradient = typename Kernel::Gradient;
    using Momentum = typename Kernel::Momentum;
    float g[4], b[4];
    decode(load_neighbours<Gradient>(matrix.gradient, u64(row) * matrix.gradient_leading + column, wanted), g);
    decode(load_neighbours<Momentum>(matrix.momentum, u64(row) * matrix.columns + column, wanted), b);
#pragma unroll
    for (u32 e = 0; e < 4u; e++) m[e] = update_direction(group, g[e], next_momentum(group, g[e], b[e]));
  }
};

// The scaled mapped tiles.
struct FineSource {
  const Coupled& matrix;
  const Group group;
  const TileReport* reports;

  __device__ __forceinline__ u32 rows() const { return matrix.rows; }
  __device__ __forceinline__ u32 columns() const { return matrix.columns; }
  __device__ __forceinline__ void values(u32 row, u32 column, float (&m)[4]) const {
    const u32 wanted = inside_bits(matrix, row, column);
    decode(load_neighbours<F32>(u64(matrix.fine), u64(row) * matrix.columns + column, wanted), m);
    FineTile tile = {0xffffffffu, false, 0.0f};
    const bool one = matrix.tile_columns % 4u == 0u;
#pragma unroll
    for (u32 e = 0; e < 4u; e++) {
      if (((wanted >> e) & 1u) == 0u) continue;
      if (e == 0u || !one) tile = fine_tile(group, matrix, reports, row, column + e);
      // A tile that was left alone holds what is not finite.
      m[e] = tile.factor == 0.0f ? 0.0f : tile.factor * m[e];
    }
  }
};

// Units of work of 64 rows of a result.
HIMUON_DEVICE u32 skinny_chunks(u32 rank) { return (rank + SKINNY_COLUMNS - 1u) / SKINNY_COLUMNS; }

// A factor of so many rows.
struct FactorSource {
  const Coupled& matrix;
  const float* factor;
  u32 height;

  __device__ __forceinline__ u32 rows() const { return height; }
  __device__ __forceinline__ u32 columns() const { return matrix.rank; }
  __device__ __forceinline__ void values(u32 row, u32 column, float (&m)[4]) const {
    float4 quad = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (row < height && column < matrix.stride)
      quad = *reinterpret_cast<const float4*>(factor + u64(row) * matrix.stride + column);
    m[0] = quad.x, m[1] = quad.y, m[2] = quad.z, m[3] = quad.w;
  }
  // Of a product with it.
  __device__ __forceinline__ u32 units() const { return ((height - 1u) / SKINNY_ROWS + 1u) * skinny_chunks(matrix.rank); }
};

struct SkinnyShared {
  float matrix[SKINNY_DEPTH * (SKINNY_ROWS + 4u)];  // [depth][row of the result]
  float right[SKINNY_DEPTH * SKINNY_COLUMNS];
};

// output <- finish(row, column, sum) of M right, or M^T right where ACROSS: unit `unit` of it.
template <bool ACROSS, class Source, class Finish>
HIMUON_DEVICE void skinny_product(SkinnyShared& shared, const Source& source, u32 unit, const float* right, float* output,
                                  Finish finish) {
  const Coupled& matrix = source.matrix;
  const u32 chunks = skinny_chunks(matrix.rank);
  const u32 first = unit / chunks * SKINNY_ROWS, first_column = unit % chunks * SKINNY_COLUMNS;
  const u32 outer = ACROSS ? source.columns() : source.rows(), depth = ACROSS ? source.rows() : source.columns();
  const u32 thread = threadIdx.x;
  const u32 row = thread >> 3, column = 4u * (thread & 7u);
  // Four neighbours in memory are four rows of the result, stored at once, or four steps of the depth, stored without conflicts.
  constexpr u32 STRIDE = ACROSS ? SKINNY_ROWS + 4u : SKINNY_ROWS + 1u;
  constexpr u32 QUADS = (ACROSS ? SKINNY_ROWS : SKINNY_DEPTH) / 4u;
  float sums[2][4] = {};
  for (u32 base = 0; base < depth; base += SKINNY_DEPTH) {
    __syncthreads();
#pragma unroll
    for (u32 i = 0; i < SKINNY_DEPTH * SKINNY_ROWS / 4u / COUPLING_THREADS; i++) {
      const u32 number = i * COUPLING_THREADS + thread;
      const u32 line = number / QUADS, quad = 4u * (number % QUADS);
      const u32 in_row = ACROSS ? base + line : first + line, in_column = ACROSS ? first + quad : base + quad;
      float m[4];
      source.values(in_row, in_column, m);
      if (ACROSS) {
        *reinterpret_cast<float4*>(shared.matrix + line * STRIDE + quad) = make_float4(m[0], m[1], m[2], m[3]);
      } else {
#pragma unroll
        for (u32 e = 0; e < 4u; e++) shared.matrix[(quad + e) * STRIDE + line] = m[e];
      }
    }
#pragma unroll
    for (u32 i = 0; i < SKINNY_DEPTH * SKINNY_COLUMNS / COUPLING_THREADS; i++) {
      const u32 number = i * COUPLING_THREADS + thread;
      const u32 k = number / SKINNY_COLUMNS, c = first_column + number % SKINNY_COLUMNS;
      shared.right[number] = base + k < depth && c < matrix.rank ? right[u64(base + k) * matrix.stride + c] : 0.0f;
    }
    __syncthreads();
#pragma unroll 8
    for (u32 k = 0; k < SKINNY_DEPTH; k++) {
      const float4 r = *reinterpret_cast<const float4*>(shared.right + k * SKINNY_COLUMNS + column);
      const float values[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
      for (u32 i = 0; i < 2u; i++) {
        const float m = shared.matrix[k * STRIDE + row + 32u * i];
#pragma unroll
        for (u32 j = 0; j < 4u; j++) sums[i][j] = __fmaf_rn(m, values[j], sums[i][j]);
      }
    }
  }
#pragma unroll
  for (u32 i = 0; i < 2u; i++) {
    const u32 r = first + row + 32u * i;
    if (r >= outer || first_column + column >= matrix.stride) continue;
#pragma unroll
    for (u32 j = 0; j < 4u; j++) sums[i][j] = finish(r, first_column + column + j, sums[i][j]);
    *reinterpret_cast<float4*>(output + u64(r) * matrix.stride + first_column + column) =
        make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
  }
}

template <bool ACROSS, class Source>
HIMUON_DEVICE void skinny_product(SkinnyShared& shared, const Source& source, u32 unit, const float* right, float* output) {
  skinny_product<ACROSS>(shared, source, unit, right, output, [](u32, u32, float sum) { return sum; });
}

// output <- from, both as tall as the matrix is wide: unit `unit` of it.
HIMUON_DEVICE void copy_skinny(const Coupled& matrix, u32 unit, const float* from, float* output) {
  const u32 chunks = skinny_chunks(matrix.rank);
  const u32 first = unit / chunks * SKINNY_ROWS, first_column = unit % chunks * SKINNY_COLUMNS;
  for (u32 number = threadIdx.x; number < SKINNY_ROWS * SKINNY_COLUMNS; number += COUPLING_THREADS) {
    const u32 row = first + number / SKINNY_COLUMNS, column = first_column + number % SKINNY_COLUMNS;
    const u64 place = u64(row) * matrix.stride + column;
    if (row < matrix.columns && column < matrix.stride) output[place] = from[place];
  }
}

}  // namespace himuon
