#pragma once
// How one tile X (rows <= columns) lives on a group of warps, and how they work together.
//
// The rows are cut into STRIPS strips of 16. A warp owns ROW_BLOCKS neighbouring strips over all
// columns, as f32 accumulators. Shared memory holds X once more, as an operand, and the Gram matrix.
//
// Symmetric matrices: strip i computes its 16 x 16 blocks (i, i + e mod STRIPS) for e = 0..REACH only.
// Any other block is the transpose of one that another strip computed. With REACH = STRIPS - 1 every
// strip computes its whole row of blocks and nothing is mirrored. All offsets e are compile-time
// constants; only addresses depend on the warp.
#include "shared_tile.cuh"

namespace himuon {

template <class Kernel>
struct Resident {
  using Operand = typename Kernel::Operand;
  static constexpr int ROW_BLOCKS = Kernel::ROW_BLOCKS;
  static constexpr int WARPS = Kernel::WARPS;
  static constexpr int STRIPS = ROW_BLOCKS * WARPS;
  static constexpr int COLUMN_BLOCKS = Kernel::COLUMN_BLOCKS;
  static constexpr int REACH = Kernel::SYMMETRIC ? STRIPS / 2 : STRIPS - 1;
  static constexpr bool MIRRORED = REACH < STRIPS - 1;
  // Offsets, from a warp's first strip, of the block columns that it computes.
  static constexpr int SPAN = MIRRORED ? ROW_BLOCKS + REACH : STRIPS;
  // Block columns worked on at a time; more need more registers.
  static constexpr int CHUNK = Kernel::CHUNK < SPAN ? Kernel::CHUNK : SPAN;
  // A single warp without mirroring has the whole Gram matrix in its registers.
  static constexpr bool GRAM_SHARED = WARPS > 1 || MIRRORED;
  static constexpr int TILES_PER_BLOCK = WARPS == 1 ? Kernel::TILES_PER_BLOCK : 1;
  static constexpr int THREADS = 32 * WARPS * TILES_PER_BLOCK;
  static constexpr int BUFFERS = Kernel::DOUBLE_BUFFER ? 2 : 1;

  using TileX = SharedTile<Operand, 16 * COLUMN_BLOCKS>;
  using TileGram = SharedTile<Operand, 16 * STRIPS>;

  // Shared memory of one tile, in bytes.
  static constexpr int X_BYTES = 16 * STRIPS * TileX::STRIDE;
  static constexpr int GRAM_BYTES = GRAM_SHARED ? 16 * STRIPS * TileGram::STRIDE : 0;
  static constexpr int STAGE_BYTES = Kernel::STAGE_MOMENTUM ? Kernel::Momentum::BYTES * 256 * STRIPS * COLUMN_BLOCKS : 0;
  static constexpr int WORK_BYTES = BUFFERS * X_BYTES + GRAM_BYTES;
  static constexpr int REDUCTIONS = 8;
  static constexpr int SCRATCH_BYTES = WARPS > 1 ? (REDUCTIONS * WARPS * 4 + 127) / 128 * 128 : 0;
  static constexpr int TILE_BYTES = (WORK_BYTES > STAGE_BYTES ? WORK_BYTES : STAGE_BYTES) + SCRATCH_BYTES;
  static constexpr int SHARED_BYTES = TILE_BYTES * TILES_PER_BLOCK;

  // Is block (strip m of this warp, offset r from its first strip) computed here?
  static __device__ constexpr bool computed(int m, int r) {
    return !MIRRORED || (r >= m && r - m <= REACH);
  }
  // Offset along the row of blocks of strip m.
  static __device__ constexpr int offset(int m, int r) { return (r - m + 2 * STRIPS) % STRIPS; }
  // Is a block at this offset read by another strip as its mirror image?
  static __device__ constexpr bool mirrored_elsewhere(int e) {
    return MIRRORED && e >= 1 && e <= STRIPS - 1 - REACH;
  }

  u32 warp;         // of this tile
  u32 lane;
  u32 first_strip;  // of this warp
  u32 shared;       // this tile's shared memory
  u32 scratch;

  HIMUON_DEVICE Resident at(u32 shared_base) {
    Resident site;
    const u32 thread = threadIdx.x;
    site.lane = thread & 31u;
    site.warp = WARPS == 1 ? 0u : thread >> 5;
    const u32 slot = WARPS == 1 ? thread >> 5 : 0u;
    site.first_strip = site.warp * ROW_BLOCKS;
    site.shared = shared_base + slot * TILE_BYTES;
    site.scratch = site.shared + TILE_BYTES - SCRATCH_BYTES;
    return site;
  }

  // The strip r places after this warp's first one, cyclically.
  __device__ __forceinline__ u32 strip(int r) const {
    if constexpr (WARPS == 1) return u32(r) % STRIPS;
    const u32 s = first_strip + u32(r);
    if (r < ROW_BLOCKS) return s;
    if constexpr ((STRIPS & (STRIPS - 1)) == 0) return s & (STRIPS - 1);
    return s >= STRIPS ? s - STRIPS : s;
  }

  // All warps of the tile: what was written to shared memory before is readable after.
  HIMUON_DEVICE void barrier() {
    if constexpr (WARPS == 1)
      __syncwarp();
    else
      __syncthreads();
  }

  // Reductions over the tile in a fixed order; `use` numbers the uses, each has words of its own.
  template <class Combine>
  __device__ __forceinline__ u32 reduce(u32 word, int use, Combine combine) const {
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) word = combine(word, shuffle_xor(word, mask));
    if constexpr (WARPS > 1) {
      const u32 words = scratch + use * WARPS * 4;
      if (lane == 0) store_shared(words + warp * 4, word);
      barrier();
      word = load_shared(words);
#pragma unroll
      for (int w = 1; w < WARPS; w++) word = combine(word, load_shared(words + 4 * w));
    }
    return word;
  }
  __device__ __forceinline__ float sum(float value, int use) const {
    return float_of(
        reduce(bits_of(value), use, [](u32 a, u32 b) { return bits_of(float_of(a) + float_of(b)); }));
  }
  __device__ __forceinline__ u32 maximum(u32 word, int use) const {
    return reduce(word, use, [](u32 a, u32 b) { return a > b ? a : b; });
  }
};

}  // namespace himuon
