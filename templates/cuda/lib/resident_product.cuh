#pragma once
// The product of two factors of a few columns on a tile in registers: X += L R^T, in f32.
//
// Both factors pass through shared memory, where X lies as an operand else, GROUPS x 4 columns at a time. A lane has the rows
// g x 2 ROW_BLOCKS + slot of its warp and the columns 16 n + 4 t + j, see fragment.cuh; in shared memory they lie in the order of
// (slot, g) and (n, j, t), so that what lanes read together are neighbours. The groups of four columns of a row are permuted by an
// exclusive or with bits of the row's place, as in shared_tile.cuh.
#include "coupling_table.cuh"
#include "fragment.cuh"

namespace himuon {

template <class Kernel>
struct TileProduct {
  using Site = Resident<Kernel>;
  static constexpr int ROW_BLOCKS = Site::ROW_BLOCKS;
  static constexpr int COLUMN_BLOCKS = Site::COLUMN_BLOCKS;
  using Rows = Accumulator[ROW_BLOCKS][COLUMN_BLOCKS];
  static constexpr u32 HEIGHT = 16u * Site::STRIPS;
  static constexpr u32 LINES = HEIGHT + 16u * COLUMN_BLOCKS;
  // As many groups of four columns as find room, 1, 2, 4 or 8.
  static constexpr u32 ROOM = u32(Site::WORK_BYTES) / (16u * LINES);
  static constexpr u32 GROUPS = ROOM >= 8u ? 8u : ROOM >= 4u ? 4u : ROOM >= 2u ? 2u : 1u;
  static_assert(ROOM > 0u, "X as an operand takes no less than four columns of both factors");

  // The tiles of a block read the same rows of a factor, which then come from the L1 cache; else copies pass it by.
  static constexpr bool SHARES_ROWS = Site::TILES_PER_BLOCK > 1;

  const Site& site;
  // Of the rows and the columns of X, from the tile's first.
  const float* rows;
  const float* columns;
  const Window& window;
  u32 stride;  // numbers from one row of a factor to the next, a multiple of four, with zeros beyond the rank

  // Calls use(x) for each number.
  template <class Use>
  static __device__ __forceinline__ void each(Rows& x, Use use) {
#pragma unroll
    for (int m = 0; m < ROW_BLOCKS; m++)
#pragma unroll
      for (int n = 0; n < COLUMN_BLOCKS; n++)
#pragma unroll
        for (int i = 0; i < 8; i++) use(x[m][n].value[i / 4][i % 4]);
  }

  // How the groups of a line are permuted, by its place's lower three bits.
  HIMUON_DEVICE u32 permutation(u32 place) { return (place & 7u) * GROUPS / 8u; }
  HIMUON_DEVICE u32 line(u32 place) { return place * (GROUPS * 16u); }

  // Columns `first` .. first + 4 GROUPS - 1 of both factors, zeros outside of the tile and beyond the rank.
  __device__ __forceinline__ void stage(u32 first) const {
#pragma unroll 4
    for (u32 number = site.warp * 32u + site.lane; number < LINES * GROUPS; number += 32u * Site::WARPS) {
      const u32 group = number % GROUPS, place = number / GROUPS, column = first + 4u * group;
      const bool of_rows = place < HEIGHT;
      u32 index;
      if (of_rows) {
        const u32 within = place % (16u * ROW_BLOCKS);
        index = place - within + within % 8u * (2u * ROW_BLOCKS) + within / 8u;
      } else {
        const u32 within = place % 16u;
        index = place - HEIGHT - within + within % 4u * 4u + within / 4u;
      }
      const float* factor = of_rows ? rows : columns;
      const bool wanted = column < stride && index < (of_rows ? window.rows : window.columns);
      const u32 to = site.shared + line(place) + 16u * (group ^ permutation(place));
      if constexpr (SHARES_ROWS) {
        u32 a, b, c, d;
        load_global4(a, b, c, d, factor + u64(index) * stride + column, wanted);
        store_shared4(to, a, b, c, d);
      } else {
        copy_to_shared(to, factor + u64(index) * stride + column, wanted);
      }
    }
    if constexpr (!SHARES_ROWS) {
      close_copies();
      await_copies<0>();
    }
  }

  // Calls use(x, l, r) for each number of X and each term of the product there, columns in ascending order.
  template <class Use>
  __device__ __forceinline__ void each_term(Rows& x, Use use) const {
    const u32 g = site.lane >> 2, t = site.lane & 3u;
    const u32 own_rows = site.shared + line(site.first_strip * 16u + g), own_columns = site.shared + line(HEIGHT + t);
#pragma unroll 1
    for (u32 first = 0; first < stride; first += 4u * GROUPS) {
      Site::barrier();
      stage(first);
      Site::barrier();
#pragma unroll 1
      for (u32 group = 0; group < GROUPS && first + 4u * group < stride; group++) {
        float left[2 * ROW_BLOCKS][4];
#pragma unroll
        for (u32 slot = 0; slot < 2u * ROW_BLOCKS; slot++)
          load_four(left[slot], own_rows + line(8u * slot) + 16u * (group ^ permutation(g)));
#pragma unroll
        for (u32 n = 0; n < u32(COLUMN_BLOCKS); n++)
#pragma unroll
          for (u32 j = 0; j < 4u; j++) {
            float right[4];
            load_four(right, own_columns + line(16u * n + 4u * j) + 16u * (group ^ permutation(4u * (j % 2u) + t)));
#pragma unroll
            for (u32 slot = 0; slot < 2u * ROW_BLOCKS; slot++)
#pragma unroll
              for (u32 k = 0; k < 4u; k++) use(x[slot / 2][n].value[j / 2][2 * (slot % 2) + j % 2], left[slot][k], right[k]);
          }
      }
    }
    Site::barrier();
  }

  HIMUON_DEVICE void load_four(float (&value)[4], u32 address) {
    u32 word[4];
    load_shared4(word[0], word[1], word[2], word[3], address);
#pragma unroll
    for (int i = 0; i < 4; i++) value[i] = float_of(word[i]);
  }
};

}  // namespace himuon
