#pragma once
// Tiles too large for one block: their matrices lie in a workspace in global memory, and a step is a sequence of
// launches over all tiles together. A table says where each tile's workspace and its share of every launch begin.
#include "criterion.cuh"
#include "launch.cuh"
#include "number.cuh"
#include "operand.cuh"

namespace himuon {

// One tile of the launches, 64 bytes. `himuon_layout` fills the upper part, once for a table of matrices; the
// entry behind the last tile holds the totals. The steps write the lower part.
struct StreamedTile {
  u64 workspace;      // bytes of the workspace before this tile's
  u32 matrix;         // index in the table of matrices
  u32 rows, columns;  // of X: rows <= columns, the transpose of a tall tile
  u32 patch;          // elementwise work of earlier tiles, in patches of 64 x 128 numbers
  u32 triangle;       // blocks of one triangle of the Gram matrices of earlier tiles
  u32 block;          // blocks of X of earlier tiles
  u32 state;
  float root, power;    // the norm
  float nu_squared;     // ||X X^T||_F, where the recurrence rescales by its root
  float inner_product;  // <X, O>
  float mapped_norm_squared;
  u32 unused[2];
};
static constexpr u32 STATE_NON_FINITE = 1u;
static constexpr u32 STATE_UNMAPPED = 2u;          // the criterion was decided before the map
static constexpr u32 STATE_UNORTHOGONALISED = 4u;  // it does not hold

// What every launch hands to its blocks.
struct StreamedLaunch {
  Matrix* matrices;
  u32 matrix_count;
  const Group* groups;  // null: the map alone, of the gradient into the weight
  TileReport* reports;  // null: not wanted
  u32 first_tile;       // of this sequence of launches
  u32 tile_count;
  StreamedTile* tiles;
  u8* workspace;
  u32* counters;  // null: not wanted
  u32 index;      // step of the recurrence
  u32 turn;       // which product of a step, or which decision
};

static constexpr u32 PATCH_ROWS = 64u;
static constexpr u32 PATCH_COLUMNS = 128u;
// Every elementwise launch.
static constexpr u32 PATCH_THREADS = 256u;

HIMUON_DEVICE u32 parts(u32 extent, u32 part) { return (extent + part - 1u) / part; }
HIMUON_DEVICE u64 aligned128(u64 bytes) { return (bytes + 127u) & ~u64(127); }

// How much work and workspace a tile is; the same sums as `Streamed::tile` in `variant/streamed.rs`.
template <class Kernel>
struct Extent {
  using Operand = typename Kernel::Operand;
  u32 rows, columns;
  u32 x_leading, gram_leading;  // rows of matrices are padded with zeros to 16 numbers

  HIMUON_DEVICE Extent of(u32 rows, u32 columns) {
    return {rows, columns, (columns + 15u) & ~15u, (rows + 15u) & ~15u};
  }
  __device__ __forceinline__ u32 patches() const {
    return parts(rows, PATCH_ROWS) * parts(x_leading, PATCH_COLUMNS);
  }
  __device__ __forceinline__ u32 triangle() const {
    const u32 edge = parts(rows, Kernel::BLOCK);
    return edge * (edge + 1u) / 2u;
  }
  __device__ __forceinline__ u32 blocks() const {
    return parts(rows, Kernel::BLOCK) * parts(x_leading, Kernel::BLOCK);
  }

  // Offsets in the tile's workspace: X in f32, operands, Gram matrices, two words for each part of a reduction, one
  // factor for each row.
  __device__ __forceinline__ u64 master(u32 which) const { return which * aligned128(4ull * rows * x_leading); }
  __device__ __forceinline__ u64 operand(u32 which) const {
    return master(Kernel::MASTERS) + which * aligned128(u64(Operand::BYTES) * rows * x_leading);
  }
  __device__ __forceinline__ u64 gram(u32 which) const {
    return operand(Kernel::OPERANDS) + which * aligned128(u64(Operand::BYTES) * rows * gram_leading);
  }
  __device__ __forceinline__ u64 sums() const { return gram(Kernel::GRAMS); }
  __device__ __forceinline__ u64 row_factors() const {
    return sums() + aligned128(8ull * larger(patches(), triangle()));
  }
  __device__ __forceinline__ u64 bytes() const {
    return row_factors() + (Kernel::TURBO ? aligned128(4ull * rows) : 0u);
  }
};

// The results of one part of a reduction.
struct PartialSums {
  float first, second;
};

// A tile that a block works on.
template <class Kernel>
struct StreamedWork : Extent<Kernel> {
  StreamedTile& entry;
  u32 tile;
  u8* memory;

  __device__ __forceinline__ StreamedWork(const StreamedLaunch& launch, u32 index)
      : Extent<Kernel>(Extent<Kernel>::of(launch.tiles[index].rows, launch.tiles[index].columns)),
        entry(launch.tiles[index]),
        tile(launch.first_tile + index),
        memory(launch.workspace + launch.tiles[index].workspace) {}

  __device__ __forceinline__ u8* masters(u32 which) const { return memory + this->master(which); }
  __device__ __forceinline__ u8* operands(u32 which) const { return memory + this->operand(which); }
  __device__ __forceinline__ u8* grams(u32 which) const { return memory + this->gram(which); }
  __device__ __forceinline__ PartialSums* partial_sums() const {
    return reinterpret_cast<PartialSums*>(memory + this->sums());
  }
  __device__ __forceinline__ float* row_factor() const { return reinterpret_cast<float*>(memory + this->row_factors()); }

  // X as the norm leaves it and as odd polynomials iterate it, exact: in f32 beside its operand, or as the operand,
  // which then alternates between two places.
  __device__ __forceinline__ u8* exact(u32 parity) const { return Kernel::SEPARATE ? masters(0) : operands(parity); }
};

// The tile that item `item` of a launch belongs to; FIRST counts the items of earlier tiles. Where all tiles have as many as the first,
// as a rule, it is where it is expected; else it is searched for.
template <u32 StreamedTile::*FIRST>
HIMUON_DEVICE u32 tile_of_item(const StreamedTile* tiles, u32 count, u32 item) {
  const u32 expected = item / (tiles[1].*FIRST);
  if (expected < count && tiles[expected].*FIRST <= item && item < tiles[expected + 1u].*FIRST) return expected;
  u32 low = 0, high = count;
  while (high - low > 1u) {
    const u32 middle = (low + high) >> 1;
    if (tiles[middle].*FIRST <= item)
      low = middle;
    else
      high = middle;
  }
  return low;
}

// Calls body(work, item of this tile) for this block's share of the tiles that are not in one of the `left_out` states.
template <class Kernel, u32 StreamedTile::*FIRST, class Body>
HIMUON_DEVICE void each_item(const StreamedLaunch& launch, u32 left_out, Body body) {
  const u32 end = launch.tiles[launch.tile_count].*FIRST;
#pragma unroll 1
  for (u32 item = blockIdx.x; item < end; item += gridDim.x) {
    const u32 index = tile_of_item<FIRST>(launch.tiles, launch.tile_count, item);
    const StreamedWork<Kernel> work(launch, index);
    if ((work.entry.state & left_out) == 0u) body(work, item - work.entry.*FIRST);
  }
}

// Fills the table: one block. It is launched when the matrices change, not at every step.
template <class Kernel>
HIMUON_DEVICE void lay_out(const StreamedLaunch& launch) {
  __shared__ StreamedTile share[PATCH_THREADS];
  __shared__ StreamedTile total;
  if (threadIdx.x == 0) total = {};
  for (u32 first = 0; first < launch.tile_count; first += PATCH_THREADS) {
    const u32 index = first + threadIdx.x;
    const u32 count = smaller(PATCH_THREADS, launch.tile_count - first);
    StreamedTile entry = {};
    if (index < launch.tile_count) {
      const u32 tile = launch.first_tile + index;
      entry.matrix = matrix_of(launch.matrices, launch.matrix_count, tile);
      const Place place = place_of(launch.matrices[entry.matrix], tile, Kernel::TILE_ROWS, Kernel::TILE_COLUMNS);
      entry.rows = smaller(place.rows, place.columns);
      entry.columns = larger(place.rows, place.columns);
      const auto extent = Extent<Kernel>::of(entry.rows, entry.columns);
      entry.workspace = extent.bytes();
      entry.patch = extent.patches();
      entry.triangle = extent.triangle();
      entry.block = extent.blocks();
      share[threadIdx.x] = entry;
    }
    __syncthreads();
    if (threadIdx.x == 0) {  // each entry's own share becomes what lies before it
      for (u32 i = 0; i < count; i++) {
        const StreamedTile own = share[i];
        share[i].workspace = total.workspace;
        share[i].patch = total.patch;
        share[i].triangle = total.triangle;
        share[i].block = total.block;
        total.workspace += own.workspace;
        total.patch += own.patch;
        total.triangle += own.triangle;
        total.block += own.block;
      }
    }
    __syncthreads();
    if (index < launch.tile_count) launch.tiles[index] = share[threadIdx.x];
    __syncthreads();
  }
  if (threadIdx.x == 0) launch.tiles[launch.tile_count] = total;
}

}  // namespace himuon
