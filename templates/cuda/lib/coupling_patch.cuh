#pragma once
// What the coarse part does to the numbers of a matrix, patch by patch of 64 x 64: it is taken out before the tiles are mapped,
// and added when they are.
//
// A thread has 4 x 4 numbers of a patch. Products of the two factors pass through shared memory, 32 columns at a time.
#include "skinny_product.cuh"
#include "master_quad.cuh"  //: master weights

namespace himuon {

static constexpr u32 PATCH_STRIDE = PATCH + 4u;  // rows of 16 bytes
static constexpr u32 PATCH_DEPTH = 32u;

union PatchShared {
  struct {
    float left[PATCH_DEPTH * PATCH_STRIDE];  // [k][row]
    float right[PATCH_DEPTH * PATCH_STRIDE];
  };
  u32 largest[PATCH * PATCH];  // by tile of the patch
};

using PatchSums = float[4][4];

// A patch of a matrix, and the 4 x 4 numbers of this thread.
struct Patch {
  u32 row, column;              // of the patch
  u32 thread_row, thread_column;  // in the patch
  HIMUON_DEVICE Patch of(const Coupled& matrix, u32 number) {
    const u32 across = (matrix.columns - 1u) / PATCH + 1u;
    return {number / across * PATCH, number % across * PATCH, 4u * (threadIdx.x >> 4), 4u * (threadIdx.x & 15u)};
  }
  __device__ __forceinline__ u32 first_row() const { return row + thread_row; }
  __device__ __forceinline__ u32 first_column() const { return column + thread_column; }
};

// sums += factor left right^T on a patch; both have the matrix's rank.
HIMUON_DEVICE void add_product(PatchShared& shared, const Coupled& matrix, const Patch& patch, const float* left,
                               const float* right, float factor, PatchSums& sums) {
  for (u32 base = 0; base < matrix.rank; base += PATCH_DEPTH) {
    __syncthreads();
#pragma unroll
    for (u32 i = 0; i < PATCH * PATCH_DEPTH / COUPLING_THREADS; i++) {
      const u32 number = i * COUPLING_THREADS + threadIdx.x;
      const u32 k = number % PATCH_DEPTH, r = number / PATCH_DEPTH;
      const bool in_rank = base + k < matrix.rank;
      const bool has_row = in_rank && patch.row + r < matrix.rows, has_column = in_rank && patch.column + r < matrix.columns;
      shared.left[k * PATCH_STRIDE + r] = has_row ? factor * left[u64(patch.row + r) * matrix.stride + base + k] : 0.0f;
      shared.right[k * PATCH_STRIDE + r] = has_column ? right[u64(patch.column + r) * matrix.stride + base + k] : 0.0f;
    }
    __syncthreads();
#pragma unroll 8
    for (u32 k = 0; k < PATCH_DEPTH; k++) {
      const float4 l4 = *reinterpret_cast<const float4*>(shared.left + k * PATCH_STRIDE + patch.thread_row);
      const float4 r4 = *reinterpret_cast<const float4*>(shared.right + k * PATCH_STRIDE + patch.thread_column);
      const float l[4] = {l4.x, l4.y, l4.z, l4.w}, r[4] = {r4.x, r4.y, r4.z, r4.w};
#pragma unroll
      for (u32 i = 0; i < 4u; i++)
#pragma unroll
        for (u32 j = 0; j < 4u; j++) sums[i][j] = __fmaf_rn(l[i], r[j], sums[i][j]);
    }
  }
}

// The tiles of a patch.
struct PatchTiles {
  u32 first_row, first_column, across;
  HIMUON_DEVICE PatchTiles of(const Coupled& matrix, const Patch& patch) {
    const u32 last = smaller(patch.column + PATCH, matrix.columns) - 1u;
    const u32 first_column = patch.column / matrix.tile_columns;
    return {patch.row / matrix.tile_rows, first_column, last / matrix.tile_columns - first_column + 1u};
  }
  __device__ __forceinline__ u32 place(u32 tile_row, u32 tile_column) const {
    return (tile_row - first_row) * across + tile_column - first_column;
  }
};

// fine <- M - captured, and the largest |m| of each tile. Where the coarse part is all there is, zeros (a number that is not
// finite stays so: its tile is left alone).
template <class Kernel>
HIMUON_DEVICE void remainder_patch(PatchShared& shared, const Coupled& matrix, const Group& group, u32 number) {
  using Gradient = typename Kernel::Gradient;
  using Momentum = typename Kernel::Momentum;
  const Patch patch = Patch::of(matrix, number);
  const bool captured = is_captured(matrix);
  const bool alone = captured && (matrix.flags & COUPLED_ALONE) != 0u;
  PatchSums held = {};
  if (captured && !alone) add_product(shared, matrix, patch, matrix.captured, matrix.right, 1.0f, held);
  __syncthreads();  // every thread has read the factors
  for (u32 index = threadIdx.x; index < PATCH * PATCH; index += COUPLING_THREADS) shared.largest[index] = 0u;
  __syncthreads();
  const PatchTiles tiles = PatchTiles::of(matrix, patch);
  const u32 column = patch.first_column();
  // Four neighbours are in one tile where its columns are a multiple of four.
  const bool quads = matrix.tile_columns % 4u == 0u;
  u32 tile_columns[4];
#pragma unroll
  for (u32 e = 0; e < 4u; e++) tile_columns[e] = (column + e) / matrix.tile_columns;
#pragma unroll
  for (u32 i = 0; i < 4u; i++) {
    const u32 row = patch.first_row() + i, wanted = inside_bits(matrix, row, column);
    if (wanted == 0u) continue;
    float g[4], b[4];
    decode(load_neighbours<Gradient>(matrix.gradient, u64(row) * matrix.gradient_leading + column, wanted), g);
    decode(load_neighbours<Momentum>(matrix.momentum, u64(row) * matrix.columns + column, wanted), b);
    float rest[4];
    u32 largest = 0;
    const u32 tile_row = row / matrix.tile_rows;
#pragma unroll
    for (u32 e = 0; e < 4u; e++) {
      const float m = update_direction(group, g[e], next_momentum(group, g[e], b[e]));
      rest[e] = alone ? m - m : m - held[i][e];
      const u32 size = (wanted >> e) & 1u ? magnitude(m) : 0u;
      largest = larger(largest, size);
      if (captured && !quads && ((wanted >> e) & 1u))
        atomicMax(&shared.largest[tiles.place(tile_row, tile_columns[e])], size);
    }
    if (captured && quads) atomicMax(&shared.largest[tiles.place(tile_row, tile_columns[0])], largest);
    store_neighbours<F32>(u64(matrix.fine), u64(row) * matrix.columns + column, encode<F32>(rest), wanted);
  }
  if (!captured) return;
  __syncthreads();
  const u32 matrix_across = (matrix.columns - 1u) / matrix.tile_columns + 1u;
  for (u32 index = threadIdx.x; index < PATCH * PATCH; index += COUPLING_THREADS) {
    if (shared.largest[index] == 0u) continue;
    const u32 tile = (tiles.first_row + index / tiles.across) * matrix_across + tiles.first_column + index % tiles.across;
    atomicMax(&matrix.largest[tile], shared.largest[index]);
  }
}

// sums += the coarse part of a patch, and what the projection of the fine part takes away.
HIMUON_DEVICE void add_coarse_part(PatchShared& shared, const Coupled& matrix, const Group& group, const Patch& patch,
                                   PatchSums& sums) {
  const bool projected = (matrix.flags & COUPLED_PROJECTED) != 0u;
  const float scale = projected ? 1.0f : coarse_scale(group, matrix);
  add_product(shared, matrix, patch, matrix.added, matrix.right, scale, sums);
  if (projected) add_product(shared, matrix, patch, matrix.left, matrix.spare_right, -1.0f, sums);
}

// Where rows are normalised: fine <- coarse part + scaled tiles, zeros for tiles that are left alone, and the sums of the squares of
// this patch's rows.
HIMUON_DEVICE void sum_patch(PatchShared& shared, const Coupled& matrix, const Group& group, const TileReport* reports,
                             u32 number) {
  const Patch patch = Patch::of(matrix, number);
  PatchSums update = {};
  if (is_captured(matrix)) add_coarse_part(shared, matrix, group, patch, update);
  const u32 column = patch.first_column();
  FineTile tile = {0xffffffffu, false, 0.0f};
#pragma unroll
  for (u32 i = 0; i < 4u; i++) {
    const u32 row = patch.first_row() + i, wanted = inside_bits(matrix, row, column);
    const u64 place = u64(row) * matrix.columns + column;
    float fine[4];
    decode(load_neighbours<F32>(u64(matrix.fine), place, wanted), fine);
    double squares = 0.0;
#pragma unroll
    for (u32 e = 0; e < 4u; e++) {
      if (((wanted >> e) & 1u) == 0u) continue;
      if (tile_number(matrix, row, column + e) != tile.number) tile = fine_tile(group, matrix, reports, row, column + e);
      const float mapped = tile.factor == 0.0f ? 0.0f : tile.factor * fine[e];
      fine[e] = tile.left_alone ? 0.0f : update[i][e] + mapped;
      squares += double(fine[e]) * double(fine[e]);
    }
    store_neighbours<F32>(u64(matrix.fine), place, encode<F32>(fine), wanted);
    // Sixteen neighbouring lanes have the row.
#pragma unroll
    for (int mask = 8; mask > 0; mask >>= 1) squares += __shfl_xor_sync(0xffffffffu, squares, mask);
    if (patch.thread_column == 0u && row < matrix.rows)
      matrix.row_squares[u64(patch.column / PATCH) * matrix.rows + row] = squares;
  }
}

// buf <- mu buf + c g - captured_decay captured; W <- (1 - lr wd) W - lr (coarse part + scaled tiles).
template <class Kernel>
HIMUON_DEVICE void finish_patch(PatchShared& shared, const Coupled& matrix, const Group& group, const TileReport* reports,
                                u32 number) {
  using Gradient = typename Kernel::Gradient;
  using Momentum = typename Kernel::Momentum;
  using Weight = typename Kernel::Weight;
  const Patch patch = Patch::of(matrix, number);
  const bool captured = is_captured(matrix), alone = (matrix.flags & COUPLED_ALONE) != 0u;
  const bool normalised = (matrix.flags & COUPLED_NORMALISED) != 0u;
  PatchSums update = {}, held = {};
  if (captured && !normalised) add_coarse_part(shared, matrix, group, patch, update);
  if (captured && !alone && matrix.captured_decay != 0.0f)
    add_product(shared, matrix, patch, matrix.captured, matrix.right, matrix.captured_decay, held);
  const float keep = 1.0f - group.learning_rate * group.weight_decay;
  const u32 column = patch.first_column();
  const u32 across = (matrix.columns - 1u) / matrix.tile_columns + 1u;
  u32 tile_columns[4];
#pragma unroll
  for (u32 e = 0; e < 4u; e++) tile_columns[e] = (column + e) / matrix.tile_columns;
  FineTile tile = {0xffffffffu, false, 0.0f};
#pragma unroll
  for (u32 i = 0; i < 4u; i++) {
    const u32 row = patch.first_row() + i;
    u32 wanted = inside_bits(matrix, row, column);
    if (wanted == 0u) continue;
    const u64 place = u64(row) * matrix.columns + column;
    const u64 gradient_place = u64(row) * matrix.gradient_leading + column;
    const u64 weight_place = u64(row) * matrix.weight_leading + column;
    float g[4], b[4], w[4], fine[4];
    decode(load_neighbours<Gradient>(matrix.gradient, gradient_place, wanted), g);
    decode(load_neighbours<Momentum>(matrix.momentum, place, wanted), b);
    decode(load_neighbours<F32>(u64(matrix.fine), place, wanted), fine);
    Quad<Weight> weights = load_neighbours<Weight>(matrix.weight, weight_place, wanted);
    decode(weights, w);
    Quad<Bf16> remainders = load_neighbours<Bf16>(matrix.remainder, place, wanted);  //: master weights
    join_masters(weights, remainders, w);  //: master weights
#pragma unroll
    for (u32 e = 0; e < 4u; e++) b[e] = next_momentum(group, g[e], b[e]);
    // Rounded before it loses what is held, as where tile and coarse part are one pass.
    decode(encode<Momentum>(b), b);
    const u32 down = row / matrix.tile_rows * across;
    const float row_factor = normalised ? matrix.row_factors[row] : 0.0f;
#pragma unroll
    for (u32 e = 0; e < 4u; e++) {
      if (((wanted >> e) & 1u) == 0u) continue;
      if (down + tile_columns[e] != tile.number) tile = fine_tile(group, matrix, reports, row, column + e);
      if (tile.left_alone) wanted &= ~(1u << e);
      const float factor = normalised ? row_factor : tile.factor;
      const float mapped = factor == 0.0f ? 0.0f : factor * fine[e];
      w[e] = __fmaf_rn(keep, w[e], -group.learning_rate * (update[i][e] + mapped));
      b[e] -= held[i][e];
    }
    weights = encode<Weight>(w);
    split_masters(w, weights, remainders);  //: master weights
    store_neighbours<Bf16>(matrix.remainder, place, remainders, wanted);  //: master weights
    store_neighbours<Weight>(matrix.weight, weight_place, weights, wanted);
    store_neighbours<Momentum>(matrix.momentum, place, encode<Momentum>(b), wanted);
  }
}

}  // namespace himuon
